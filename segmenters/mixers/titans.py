"""Titans, memory as context: a small network learns the text while it is read, and segments attend to what it recalls.

    M(k) = k + silu(k W_1) W_2, whose weights are the state;  k, q of unit length, v of unit mean square
    loss of a token  |M(k_t) - v_t|^2 / m,  gradients of a segment all at the weights M_0 of its start
    S_t = eta S_{t-1} - theta_t grad_t;  M_t = (1 - alpha) M_{t-1} + S_t
    y    one softmax over [persistent tokens, M_0(q_j) for j <= t, the tokens of the segment up to t]
    state  16 memory^2 + width (tokens mod segment)

theta is a sigmoid of the token, eta and alpha of the segment's mean, which is known when it ends: a segment reads the
memory of the segments before it, never its own. Weights at the end of a segment are linear in its gradients, so that
one weighted product does for the recurrence. Rotary positions inside of a segment. O(T segment). A. Behrouz, P. Zhong,
V. Mirrokni, "Titans: learning to memorize at test time" (2024); residual, norms and first rates are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PositiveInt

from fovea.rag.mixer import MOST, Mixer, Some, State

if TYPE_CHECKING:
    from torch import Tensor, nn

EXPAND = 4
"""Channels inside of the memory, of its width."""
FIRST = (-2.0, 0.0, -4.0)
"""Biases of theta, eta and alpha at first: small steps, and little forgotten."""


class TitansMixer(Mixer, name="titans"):
    """Attention inside of segments, and a memory that is trained at reading for what lies before."""

    heads: PositiveInt = 4
    """Of the attention."""
    segment: Some = 16
    """Tokens of a segment."""
    memory: Some = 32
    """Width m of the memory's input and output."""
    persistent: Annotated[int, Field(ge=0, le=MOST)] = 4
    """Tokens that are learned, not read, and always seen."""

    def parts(self, width: int) -> Mapping[str, nn.Module | Tensor]:
        """Of the attention, of the memory at first, of what goes in and out of it, and of its three rates."""
        import torch
        from torch import nn

        from fovea.segmenters.mixing.attend import head_width, linear

        head_width(width, self.heads)
        m, inner = self.memory, EXPAND * self.memory
        rates = nn.Linear(width, 3)
        nn.init.zeros_(rates.weight)
        rates.bias = nn.Parameter(torch.tensor(FIRST))
        first = {"first": nn.Parameter(torch.randn(m, inner) * m**-0.5)}
        second = {"second": nn.Parameter(torch.randn(inner, m) * inner**-0.5)}
        own = {"persistent": nn.Parameter(torch.randn(self.persistent, width))} if self.persistent else {}
        maps = {name: linear(width, width) for name in ("query", "key", "value", "write")}
        memory = {name: linear(width, m) for name in ("ask", "learn", "what")}
        return {**maps, **memory, "recall": linear(m, width), "rates": rates, **first, **second, **own}

    def chunk(self, net: Any, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Segment by segment, the open one with what was read of it before."""
        import torch

        memory, opened = state.kept[:4], state.kept[4] if state.kept else x[:, :0]
        if not memory:
            weights = [each.expand(len(x), -1, -1) for each in (net.first, net.second)]
            memory = (*weights, *(torch.zeros_like(each) for each in weights))
        made, tokens, skip = [], torch.cat([opened, x], dim=1), opened.shape[1]
        for part in tokens.split(self.segment, dim=1):
            made.append(self.read(net, part, memory))
            if part.shape[1] == self.segment:
                memory = self.learned(net, part, memory)
        whole = tokens.shape[1] // self.segment * self.segment
        return torch.cat(made, dim=1)[:, skip:], State(state.seen + x.shape[1], (*memory, tokens[:, whole:]))

    def read(self, net: Any, x: Tensor, memory: tuple[Tensor, ...]) -> Tensor:
        """A segment, or its beginning `(B, n, width)`, by a memory of what was before it."""
        import torch
        from torch.nn import functional as F

        from fovea.segmenters.mixing.attend import attend, before, join, rotate, split

        d, at = net.width // self.heads, torch.arange(x.shape[1], device=x.device)
        ask = F.normalize(net.ask(x), dim=-1)
        recalled = net.recall(ask + F.silu(ask @ memory[0]) @ memory[1])
        own = net.persistent.expand(len(x), -1, -1) if self.persistent else x[:, :0]
        seen = torch.cat([own, recalled, x], dim=1)
        k, v = split(net.key(seen), d), split(net.value(seen), d)
        turned = [rotate(each, at) for each in k[:, :, self.persistent :].chunk(2, dim=2)]
        k = torch.cat([k[:, :, : self.persistent], *turned], dim=2)
        past = before(len(at), len(at), x)
        allowed = torch.cat([past.new_ones(len(at), self.persistent), past, past], dim=1)
        return net.write(join(attend(rotate(split(net.query(x), d), at), k, v, allowed)))

    def learned(self, net: Any, x: Tensor, memory: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """W_1, W_2 and their S after a whole segment."""
        import torch
        from torch.nn import functional as F

        one, two, s_one, s_two = memory
        theta = net.rates(x)[..., :1].sigmoid()
        eta, keep = net.rates(x.mean(dim=1))[:, 1:, None, None].sigmoid().unbind(dim=1)
        keep, size = 1 - keep, x.shape[1]
        k, v = F.normalize(net.learn(x), dim=-1), net.what(x)
        v = F.rms_norm(v, v.shape[-1:], eps=1e-6)
        h = k @ one
        miss = 2 * (k + F.silu(h) @ two - v) / self.memory
        gate = h.sigmoid()
        back = (miss @ two.transpose(-1, -2)) * gate * (1 + h * (1 - gate))

        def gradients(weights: Tensor) -> tuple[Tensor, Tensor]:
            each = weights * theta
            return (k * each).transpose(-1, -2) @ back, (F.silu(h) * each).transpose(-1, -2) @ miss

        # w_i = sum over t >= i of keep^(n - t) eta^(t - i);  M_n = keep^n M_0 + eta w_1 S_0 - sum_i w_i theta_i g_i
        ends = [torch.ones_like(eta)]
        for n in range(1, size):
            ends.append(keep**n + eta * ends[-1])
        weights = torch.cat(ends[::-1], dim=1)
        late = torch.cat([eta ** (size - 1 - n) for n in range(size)], dim=1)
        moved, surprise, first = gradients(weights), gradients(late), eta * ends[-1]
        new = [keep**size * m + first * s - g for m, s, g in zip((one, two), (s_one, s_two), moved)]
        return (*new, *(eta**size * s - g for s, g in zip((s_one, s_two), surprise)))

    def state_size(self, width: int, tokens: int) -> int:
        """16 memory^2 + width (tokens mod segment)."""
        return 4 * EXPAND * self.memory**2 + width * (tokens % self.segment)
