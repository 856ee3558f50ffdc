"""DiffQKV: queries, keys and values with numbers of heads of their own; keys, which bear it better, have the fewest.

    query head i reads key head floor(i key_heads / heads) and value head floor(i value_heads / heads)
    q = W_b silu(W_a x), W_a to widen * width channels
    state  (key_heads + value_heads) d tokens,  d = width / heads

The paper widens queries to 1.5 of the width; that this is a map of two layers is our reading. Rotary positions. O(T^2).
Z. Lin et al., "Sigma: differential rescaling of query, key and value for efficient language models" (2025).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PositiveInt

from fovea.rag.mixer import Mixer, State

if TYPE_CHECKING:
    from torch import Tensor, nn


class DiffQKVMixer(Mixer, name="diff_qkv"):
    """Softmax attention with fewer heads of keys than of values."""

    heads: PositiveInt = 4
    """Of queries."""
    key_heads: PositiveInt = 1
    """Of keys, each for as many queries in a row."""
    value_heads: PositiveInt = 2
    """Of values, each for as many queries in a row."""
    widen: Annotated[float, Field(gt=0, le=16)] = 1.5
    """Channels of which queries are made, of the width."""

    def parts(self, width: int) -> Mapping[str, nn.Module | Tensor]:
        """Five maps."""
        from fovea.segmenters.mixing.attend import grouped, head_width, linear

        d, inner = head_width(width, self.heads), max(1, round(self.widen * width))
        grouped(self.heads, self.key_heads, "key_heads")
        grouped(self.heads, self.value_heads, "value_heads")
        return {
            "widen": linear(width, inner),
            "query": linear(inner, width),
            "key": linear(width, self.key_heads * d),
            "value": linear(width, self.value_heads * d),
            "write": linear(width, width),
        }

    def chunk(self, net: Any, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The piece behind all keys and values."""
        from torch.nn import functional as F

        from fovea.segmenters.mixing.attend import attend, grown, join, places, rotate, split

        d, at, past = net.width // self.heads, places(state.seen, x), state.kept or (None, None)
        q, k = rotate(split(net.query(F.silu(net.widen(x))), d), at), rotate(split(net.key(x), d), at)
        k, v = grown(past[0], k), grown(past[1], split(net.value(x), d))
        return net.write(join(attend(q, k, v))), State(state.seen + x.shape[1], (k, v))

    def state_size(self, width: int, tokens: int) -> int:
        """(key_heads + value_heads) d tokens."""
        return (self.key_heads + self.value_heads) * (width // self.heads) * tokens
