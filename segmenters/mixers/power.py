"""PowerAttention: a block of queries reads the first block of keys, the last few, and those a power of two before it.

    with x = block of the query - block of the key >= 0: seen where x < near, x & (x - 1) = 0, or the key's is the first
    state  2 kv_heads d tokens: any block may be a power of two before a later one,  d = width / heads

A token reaches any other in about log2(T / block) layers. O(T block log T) read, all kept. Rotary positions. L. Chen et
al., "PowerAttention: exponentially scaling of receptive fields for effective sparse attention" (2025).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fovea.rag.mixer import Few, Some, State
from fovea.segmenters.mixers.softmax import SoftmaxMixer

if TYPE_CHECKING:
    from torch import Tensor


class PowerMixer(SoftmaxMixer, name="power"):
    """Softmax attention over blocks at distances that double."""

    block: Some = 16
    """Tokens of a block; 256 in the paper."""
    near: Few = 5
    """Blocks that are read whatever their number, the own among them."""

    def blocks(self, number: int) -> list[int]:
        """The blocks that block `number` reads, rising, itself the last."""
        gaps = {*range(self.near), *(1 << n for n in range(number.bit_length())), number}
        return sorted(number - gap for gap in gaps if gap <= number)

    def chunk(self, net: Any, x: Tensor, state: State) -> tuple[Tensor, State]:
        """A block of queries at a time, against its own blocks of keys alone."""
        import torch

        from fovea.segmenters.mixing.attend import attend, grown, join, places, rotate, split

        d, at, past = net.width // self.heads, places(state.seen, x), state.kept or (None, None)
        q, k = (rotate(split(part(x), d), at) for part in (net.query, net.key))
        k, v = grown(past[0], k), grown(past[1], split(net.value(x), d))
        made, start, end = [], state.seen, state.seen + x.shape[1]
        while start < end:
            number = start // self.block
            stop = min(end, (number + 1) * self.block)
            seen = [torch.arange(b * self.block, min(stop, (b + 1) * self.block)) for b in self.blocks(number)]
            rows = torch.cat(seen).to(x.device)
            made.append(attend(q[:, :, start - state.seen : stop - state.seen], k[:, :, rows], v[:, :, rows]))
            start = stop
        return net.write(join(torch.cat(made, dim=2))), State(end, (k, v))
