"""Combiner: full attention at a part of its cost, since what is far is heard through summaries that queries made.

    fixed  segments of B tokens; one softmax over the tokens of the own segment so far and one entry an earlier segment
    axial  rows of B tokens; one softmax over the tokens of the own row so far and one entry a column of earlier rows

An entry's key is the mean of its keys; its value is what the mean of its own queries hears among its values. It counts
once, however many tokens it stands for. Rotary positions turn queries and keys inside of a segment, not summaries.

    state  fixed: 2 width floor(tokens / B) + 3 width (tokens mod B)
           axial: 3 width tokens: a column's summary changes with each row, and is made anew of all of it

O(T B + T^2 / B). In the fixed form the summaries are kept; of the paper's axial forms this is the vertical one. H. Ren
et al., "Combiner: full attention transformer with sparse computation cost" (2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import PositiveInt

from fovea.rag.mixer import Mixer, Some, State

if TYPE_CHECKING:
    from torch import Tensor, nn


class CombinerMixer(Mixer, name="combiner"):
    """The own segment token by token, all before it by summaries."""

    heads: PositiveInt = 4
    """Of the attention."""
    segment: Some = 16
    """Tokens B of a segment, or of a row."""
    form: Literal["fixed", "axial"] = "fixed"
    """What a summary stands for: an earlier segment, or a column of earlier rows."""

    def parts(self, width: int) -> Mapping[str, nn.Module | Tensor]:
        """Four maps."""
        from fovea.segmenters.mixing.attend import head_width, linear

        head_width(width, self.heads)
        return {name: linear(width, width) for name in ("query", "key", "value", "write")}

    def chunk(self, net: Any, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Whole segments side by side, behind what is open of the last."""
        import torch
        from torch.nn import functional as F

        from fovea.segmenters.mixing.attend import join, split

        size, skip = self.segment, state.seen % self.segment
        d = net.width // self.heads
        new = torch.stack([split(part(x), d) for part in (net.query, net.key, net.value)], dim=1)
        entries, opened = state.kept or (self._none(new), new[..., :0, :])
        if self.form == "axial":
            entries, opened = entries[..., : entries.shape[-2] - skip, :], entries[..., entries.shape[-2] - skip :, :]
        rows = torch.cat([opened, new], dim=-2)
        whole, rest = divmod(rows.shape[-2], size)
        rows = F.pad(rows, (0, 0, 0, -rows.shape[-2] % size)).unflatten(-2, (-1, size))
        done, left = rows[..., :whole, :, :], rows[..., whole:, :rest, :].flatten(-3, -2)
        if self.form == "fixed":
            entries = torch.cat([entries, summaries(done)], dim=-2)
            y, kept = self._fixed(rows, entries, entries.shape[-2] - whole), (entries, left)
        else:
            y = self._axial(rows, entries)
            kept = (torch.cat([entries, done.flatten(-3, -2), left], dim=-2), left[..., :0, :])
        y = y.flatten(2, 3)[:, :, skip : skip + x.shape[1]]
        return net.write(join(y)), State(state.seen + x.shape[1], kept)

    def _none(self, new: Tensor) -> Tensor:
        return new[:, : 2 if self.form == "fixed" else 3, ..., :0, :]

    def _fixed(self, rows: Tensor, entries: Tensor, first: int) -> Tensor:
        """Segments `(B, 3, H, n, B, d)`, the first of which is number `first`, among entries `(B, 2, H, m, d)`."""
        import torch

        far = torch.arange(entries.shape[-2], device=rows.device)
        seen = far < first + torch.arange(rows.shape[3], device=rows.device)[:, None]
        return among(rows, entries[:, :, :, None], seen[:, None])

    def _axial(self, rows: Tensor, past: Tensor) -> Tensor:
        """Rows `(B, 3, H, n, B, d)` behind all tokens of earlier rows, `(B, 3, H, m, d)`."""
        import torch

        grid = torch.cat([past.unflatten(-2, (-1, self.segment)), rows], dim=3)
        made = []
        for row in range(grid.shape[3] - rows.shape[3], grid.shape[3]):
            entries = summaries(grid[:, :, :, :row].transpose(3, 4)) if row else grid[:, :2, :, 0, :0]
            seen = torch.ones(1, 1, entries.shape[-2], dtype=torch.bool, device=rows.device)
            made.append(among(grid[:, :, :, row : row + 1], entries[:, :, :, None], seen))
        return torch.cat(made, dim=2)

    def state_size(self, width: int, tokens: int) -> int:
        """Fixed 2 width floor(tokens / B) + 3 width (tokens mod B), axial 3 width tokens."""
        if self.form == "axial":
            return 3 * width * tokens
        whole, rest = divmod(tokens, self.segment)
        return width * (2 * whole + 3 * rest)


def summaries(groups: Tensor) -> Tensor:
    """One key and value a group of tokens: q, k, v `(B, 3, H, n, B, d)` to `(B, 2, H, n, d)`."""
    import torch

    q, k, v = groups.unbind(dim=1)
    asks = q.mean(dim=-2, keepdim=True) / q.shape[-1] ** 0.5
    value = ((asks @ k.transpose(-1, -2)).softmax(dim=-1) @ v).squeeze(-2)
    return torch.stack([k.mean(dim=-2), value], dim=1)


def among(rows: Tensor, entries: Tensor, seen: Tensor) -> Tensor:
    """One softmax over the tokens of each row so far and the entries `(B, 2, H, 1, m, d)` that are `seen`."""
    import torch

    from fovea.segmenters.mixing.attend import before, rotate

    (q, k, v), (far_k, far_v) = rows.unbind(dim=1), entries.unbind(dim=1)
    size, at = q.shape[-2], torch.arange(q.shape[-2], device=q.device)
    near = rotate(q, at) @ rotate(k, at).transpose(-1, -2)
    near = near.masked_fill(~before(size, size, q), -torch.inf)
    far = (q @ far_k.transpose(-1, -2)).masked_fill(~seen, -torch.inf)
    weights = (torch.cat([far, near], dim=-1) / q.shape[-1] ** 0.5).softmax(dim=-1)
    m = far_k.shape[-2]
    return weights[..., :m] @ far_v + weights[..., m:] @ v
