"""S2-Attention: every head reads the last blocks, and of earlier ones its own strided share, so that heads cover all.

    head h sees key block b where (b + h step) mod stride = 0, or b is one of the last `near` blocks, the own included
    step = max(1, floor(stride / kv_heads))
    state  2 d times the tokens kept, summed over kv_heads,  d = width / heads

Strides count blocks from the start of the text, not from the query: a block that a head skips once it is no longer near
is never read again, and is dropped. O(T^2 / stride). Rotary positions. The paper has layers of full attention among
these. X. Lin et al., "S2-Attention: hardware-aware context sharding among attention heads" (2024).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveInt

from fovea.rag.mixer import Some, State
from fovea.segmenters.mixers.softmax import SoftmaxMixer

if TYPE_CHECKING:
    from torch import Tensor


class S2Mixer(SoftmaxMixer, name="s2"):
    """Softmax attention over near blocks and each head's own share of the far ones."""

    piece: ClassVar[int] = 512

    kv_heads: PositiveInt = 4
    """Of keys and values, each with a share of its own."""
    block: Some = 16
    """Tokens of a block."""
    stride: Some = 4
    """One of so many far blocks is a head's."""
    near: Some = 4
    """Blocks that every head reads, the own among them."""

    def chunk(self, net: Any, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Head by head, each with the rows that it keeps."""
        import torch

        from fovea.segmenters.mixing.attend import attend, grown, join, places, rotate, split

        d, at = net.width // self.heads, places(state.seen, x)
        q, k = (rotate(split(part(x), d), at) for part in (net.query, net.key))
        v, end, made, kept = split(net.value(x), d), state.seen + x.shape[1], [], []
        for h, ask in enumerate(q.chunk(self.kv_heads, dim=1)):
            past = state.kept[2 * h : 2 * h + 2] or (None, None)
            keys, values = grown(past[0], k[:, h : h + 1]), grown(past[1], v[:, h : h + 1])
            rows = torch.cat([self.rows(h, state.seen, at), at])
            blocks, here = rows // self.block, at[:, None] // self.block
            allowed = ((blocks > here - self.near) | self.own(h, blocks)) & (rows <= at[:, None])
            made.append(attend(ask, keys, values, allowed))
            stay = (blocks > end // self.block - self.near) | self.own(h, blocks)
            kept += [keys[:, :, stay], values[:, :, stay]]
        return net.write(join(torch.cat(made, dim=1))), State(end, tuple(kept))

    def own(self, h: int, blocks: Tensor) -> Tensor:
        """Whether blocks are of the share of head h."""
        return (blocks + h * max(1, self.stride // self.kv_heads)) % self.stride == 0

    def rows(self, h: int, seen: int, like: Tensor) -> Tensor:
        """Positions of what head h keeps after so many tokens, rising."""
        import torch

        rows = torch.arange(seen, device=like.device)
        blocks = rows // self.block
        return rows[(blocks > seen // self.block - self.near) | self.own(h, blocks)]

    def state_size(self, width: int, tokens: int) -> int:
        """2 d sum over heads of the tokens in near blocks, near the next token, and in the head's own."""
        import torch

        d, one = width // self.heads, torch.zeros(0)
        return sum(2 * d * len(self.rows(h, tokens, one)) for h in range(self.kv_heads))

    def parallel(self, net: Any, x: Tensor) -> Tensor:
        """In pieces."""
        return super(SoftmaxMixer, self).parallel(net, x)
