"""Based: linear attention by the second-order Taylor series of exp, beside exact attention over a short window.

    phi(x) = [1, x / f^(1/4), (x outer x) / (sqrt 2 sqrt f)],  so  phi(q) phi(k) = 1 + z + z^2 / 2,  z = q k / sqrt f
    S = sum phi(k) v^T,  n = sum phi(k);  o_t = phi(q_t) S_t / (phi(q_t) n_t + 1e-12)
    state  heads / 2 ((1 + f + f^2) (d + 1) + 2 d min(tokens, window - 1)),  d = width / heads

Half of the heads are of the one kind and half of the other, in every layer; the paper has layers of either kind by
turns, and layers of short convolutions. O(T). S. Arora et al., "Simple linear attention language models balance the
recall-throughput tradeoff" (2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PositiveInt

from fovea.rag.mixer import Few, Mixer, State

if TYPE_CHECKING:
    from torch import Tensor, nn


class BasedMixer(Mixer, name="based"):
    """Taylor features for what is far, a window for what is near."""

    piece: ClassVar[int] = 256

    heads: Annotated[int, Field(ge=2, multiple_of=2)] = 4
    """Half of them linear, half of the window."""
    feature: Few = 16
    """Channels f of a linear head's queries and keys, of which 1 + f + f^2 features are made."""
    window: PositiveInt = 64
    """Tokens that the other heads see."""

    def parts(self, width: int) -> Mapping[str, nn.Module | Tensor]:
        """Queries and keys of f channels for linear heads; all else for half the width each."""
        from fovea.segmenters.mixing.attend import head_width, linear

        head_width(width, self.heads)
        far = self.heads // 2 * self.feature
        near = {"near_" + name: linear(width, width // 2) for name in ("query", "key", "value")}
        read = {"query": linear(width, far), "key": linear(width, far), "value": linear(width, width // 2)}
        return {**read, **near, "write": linear(width, width)}

    def chunk(self, net: Any, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Both halves, side by side."""
        import torch

        from fovea.segmenters.mixing import attend as at

        d, here, past = net.width // self.heads, at.places(state.seen, x), state.kept or (None, None, None)
        far, memory = self.far(net, x, past[0])
        q, k = (at.rotate(at.split(part(x), d), here) for part in (net.near_query, net.near_key))
        k, v = at.grown(past[1], k), at.grown(past[2], at.split(net.near_value(x), d))
        allowed = at.before(q.shape[2], k.shape[2], q).triu(k.shape[2] - q.shape[2] - self.window + 1)
        y = net.write(at.join(torch.cat([far, at.attend(q, k, v, allowed)], dim=1)))
        kept = (memory, at.last(k, self.window - 1), at.last(v, self.window - 1))
        return y, State(state.seen + x.shape[1], kept)

    def far(self, net: Any, x: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        """The linear heads; the normaliser n is S for a value of one, its last column."""
        import torch
        from torch.nn import functional as F

        from fovea.segmenters.mixing.attend import split
        from fovea.segmenters.mixing.decayed import scan

        q, k = (split(part(x), self.feature) for part in (net.query, net.key))
        v = F.pad(split(net.value(x), net.width // self.heads), (0, 1), value=1.0)
        if memory is None:
            memory = v.new_zeros(*v.shape[:2], 1 + self.feature + self.feature**2, v.shape[-1])
        o, memory = scan(q, k, v, memory, torch.ones(q.shape[1], device=x.device), taylor, features)
        return o[..., :-1] / (o[..., -1:] + 1e-12), memory

    def state_size(self, width: int, tokens: int) -> int:
        """heads / 2 ((1 + f + f^2) (d + 1) + 2 d min(tokens, window - 1))."""
        d, f = width // self.heads, self.feature
        return self.heads // 2 * ((1 + f + f * f) * (d + 1) + 2 * d * min(tokens, self.window - 1))


def features(x: Tensor) -> Tensor:
    """phi, `(..., f)` to `(..., 1 + f + f^2)`."""
    import torch

    f = x.shape[-1]
    pairs = (x[..., :, None] * x[..., None, :]).flatten(-2)
    return torch.cat([torch.ones_like(x[..., :1]), x / f**0.25, pairs / (2 * f) ** 0.5], dim=-1)


def taylor(q: Tensor, k: Tensor) -> Tensor:
    """phi(q) phi(k) of all pairs, without the features: never below one half."""
    z = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return 1 + z + z * z / 2
