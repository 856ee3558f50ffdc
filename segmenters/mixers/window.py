"""Sliding-window attention: every token looks at itself and the `window - 1` tokens before it.

    y_t = sum_j softmax_j(q_t k_j / sqrt d) v_j  over t - window < j <= t,  rotary positions
    state  2 kv_heads d min(tokens, window - 1)

O(T window). R. Child et al., "Generating long sequences with sparse transformers" (2019); I. Beltagy, M. Peters, A.
Cohan, "Longformer" (2020).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveInt

from fovea.rag.mixer import State
from fovea.segmenters.mixers.softmax import SoftmaxMixer

if TYPE_CHECKING:
    from torch import Tensor


class WindowMixer(SoftmaxMixer, name="window"):
    """Softmax attention over the last tokens only."""

    piece: ClassVar[int] = 256

    window: PositiveInt = 64
    """Tokens seen, the token itself among them."""

    def chunk(self, net: Any, x: Tensor, state: State) -> tuple[Tensor, State]:
        """A piece against itself and the window - 1 rows before it."""
        from fovea.segmenters.mixing.attend import attend, before, grown, join, last, places, rotate, split

        d, at = net.width // self.heads, places(state.seen, x)
        q, k = (rotate(split(part(x), d), at) for part in (net.query, net.key))
        past = state.kept or (None, None)
        k, v = grown(past[0], k), grown(past[1], split(net.value(x), d))
        allowed = before(q.shape[2], k.shape[2], q).triu(k.shape[2] - q.shape[2] - self.window + 1)
        kept = tuple(last(each, self.window - 1) for each in (k, v))
        return net.write(join(attend(q, k, v, allowed))), State(state.seen + x.shape[1], kept)

    def state_size(self, width: int, tokens: int) -> int:
        """2 kv_heads d min(tokens, window - 1)."""
        return super().state_size(width, min(tokens, self.window - 1))

    def parallel(self, net: Any, x: Tensor) -> Tensor:
        """In pieces."""
        return super(SoftmaxMixer, self).parallel(net, x)
