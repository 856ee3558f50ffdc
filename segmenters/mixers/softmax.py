"""Grouped softmax attention: every token looks at all before it, and query heads share heads of keys and values.

    y_t = sum_j softmax_j(q_t k_j / sqrt d) v_j  over j <= t,  rotary positions on q and k
    state  2 kv_heads d tokens                                d = width / heads

O(T^2). J. Ainslie et al., "GQA: training generalized multi-query transformer models" (2023); with as many kv_heads as
heads it is A. Vaswani et al., "Attention is all you need" (2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import PositiveInt

from fovea.rag.mixer import Mixer, State

if TYPE_CHECKING:
    from torch import Tensor, nn


class SoftmaxMixer(Mixer, name="softmax"):
    """Softmax attention over all tokens so far."""

    heads: PositiveInt = 4
    """Of queries."""
    kv_heads: PositiveInt = 2
    """Of keys and values, each shared by heads / kv_heads of the queries."""

    def parts(self, width: int) -> Mapping[str, nn.Module | Tensor]:
        """Four maps."""
        from fovea.segmenters.mixing.attend import grouped, head_width, linear

        d, _ = head_width(width, self.heads), grouped(self.heads, self.kv_heads, "kv_heads")
        few = d * self.kv_heads
        return {
            "query": linear(width, width),
            "key": linear(width, few),
            "value": linear(width, few),
            "write": linear(width, width),
        }

    def chunk(self, net: Any, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Keys are kept as they are turned: their positions never change."""
        from fovea.segmenters.mixing.attend import attend, grown, join, places, rotate, split

        d, at = net.width // self.heads, places(state.seen, x)
        q, k = (rotate(split(part(x), d), at) for part in (net.query, net.key))
        past = state.kept or (None, None)
        k, v = grown(past[0], k), grown(past[1], split(net.value(x), d))
        return net.write(join(attend(q, k, v))), State(state.seen + x.shape[1], (k, v))

    def state_size(self, width: int, tokens: int) -> int:
        """2 kv_heads d tokens."""
        return 2 * self.kv_heads * (width // self.heads) * tokens

    def parallel(self, net: Any, x: Tensor) -> Tensor:
        """In one go: the kernel itself keeps no matrix of T by T."""
        return self.chunk(net, x, State())[0]
