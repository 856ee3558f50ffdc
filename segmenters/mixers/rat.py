"""RAT: a gated recurrence inside of chunks, softmax attention over the last states of chunks.

    k~_t = g_t k~_{t-1} + (1 - g_t) k_t,  v~ alike, per channel; k~ = v~ = 0 before the first token of each chunk
    y_t = W_o (sigmoid(W_z x_t) * softmax([q_t k~_(end of chunk 1), ..., q_t k~_(end of chunk c - 1), q_t k~_t]) v~)
    state  2 width ceil(tokens / chunk)

g = sigmoid(W_g x + b), b drawn as log U(1, chunk - 1). Queries and keys have `groups` heads, laid side by side as often
as it takes: head h has those of h mod groups. Rotary positions are numbers of chunks. A sequence need not be whole
chunks. O(T^2 / chunk). X. Wei et al., "RAT: bridging RNN efficiency and attention accuracy via chunk-based sequence
modeling" (2025).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PositiveInt

from fovea.rag.mixer import MOST, Mixer, State

if TYPE_CHECKING:
    from torch import Tensor, nn


class RATMixer(Mixer, name="rat"):
    """One running summary a chunk, of which the last token's stands for it."""

    heads: PositiveInt = 4
    """Of the attention over chunks."""
    groups: PositiveInt = 2
    """Of queries and keys before the gates make them differ."""
    chunk_tokens: Annotated[int, Field(ge=2, le=MOST)] = 16
    """Tokens of a chunk."""

    def parts(self, width: int) -> Mapping[str, nn.Module | Tensor]:
        """Maps of queries, keys, values and both gates; the bias of g lets channels remember 1 to chunk - 1 tokens."""
        import torch
        from torch import nn

        from fovea.segmenters.mixing.attend import grouped, head_width, linear

        d, _ = head_width(width, self.heads), grouped(self.heads, self.groups, "groups")
        few = self.groups * d
        spans = torch.empty(width).uniform_(1, max(1, self.chunk_tokens - 1))
        return {
            "query": linear(width, few),
            "key": linear(width, few),
            "value": linear(width, width),
            "gate": linear(width, width),
            "bias": nn.Parameter(spans.log()),
            "out": linear(width, width),
            "write": linear(width, width),
        }

    def chunk(self, net: Any, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Running states of the piece, then one softmax over the ends of chunks and the running state itself."""
        import torch

        from fovea.segmenters.mixing.attend import join, places, rotate, split

        d, size, tokens = net.width // self.heads, self.chunk_tokens, x.shape[1]
        here = places(state.seen, x) // size
        g = (net.gate(x) + net.bias).sigmoid()
        tiled = net.key(x).repeat(1, 1, self.heads // self.groups)
        past = state.kept[0] if state.kept else None
        running, ends = self._run(g, torch.stack([tiled, net.value(x)]), past, state.seen)
        k, v = (split(each, d) for each in running)
        q = rotate(split(net.query(x), d), here).repeat(1, self.heads // self.groups, 1, 1)
        of_ends = torch.arange(ends.shape[2], device=x.device)
        far_k, far_v = (split(each, d) for each in ends)
        far = q @ rotate(far_k, of_ends).transpose(-1, -2)
        far = far.masked_fill(of_ends >= here[:, None], -torch.inf)
        near = (q * rotate(k, here)).sum(dim=-1, keepdim=True)
        weights = (torch.cat([far, near], dim=-1) / d**0.5).softmax(dim=-1)
        heard = join(weights[..., :-1] @ far_v + weights[..., -1:] * v)
        return net.write(net.out(x).sigmoid() * heard), State(state.seen + tokens, (ends.transpose(0, 1),))

    def _run(self, g: Tensor, kv: Tensor, past: Tensor | None, seen: int) -> tuple[Tensor, Tensor]:
        """k~ and v~ of the piece, `(2, B, T, width)`, and of the last token of each chunk so far, the open one's too.

        The piece is filled up to whole chunks, in front by tokens that pass on what the open chunk has said.
        """
        import torch
        from torch.nn import functional as F

        size, skip = self.chunk_tokens, seen % self.chunk_tokens
        rest = -(skip + kv.shape[2]) % size
        kv = F.pad(kv * (1 - g), (0, 0, skip, rest)).unflatten(2, (-1, size))
        g = F.pad(F.pad(g, (0, 0, skip, 0), value=1.0), (0, 0, 0, rest)).unflatten(1, (-1, size))
        last = torch.zeros_like(kv[..., 0, :])
        kept = kv.new_zeros(2, kv.shape[1], 0, kv.shape[-1])
        if past is not None:
            kept = past.transpose(0, 1)
            if skip:
                last = torch.cat([kept[:, :, -1:], last[:, :, 1:]], dim=2)
                kept = kept[:, :, :-1]
        states = []
        for n in range(size):
            last = g[..., n, :] * last + kv[..., n, :]
            states.append(last)
        every = torch.stack(states, dim=3)
        ends = every[:, :, :, -1]
        if rest:
            ends = torch.cat([ends[:, :, :-1], every[:, :, -1:, size - 1 - rest]], dim=2)
        running = every.flatten(2, 3)
        return running[:, :, skip : running.shape[2] - rest], torch.cat([kept, ends], dim=2)

    def state_size(self, width: int, tokens: int) -> int:
        """2 width ceil(tokens / chunk)."""
        return 2 * width * -(-tokens // self.chunk_tokens)
