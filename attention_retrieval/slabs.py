"""Slabs: encoded rows of several heads, appended and never moved.

Rows lie in slabs of 4,096, so a step copies one row per head and nothing else (a concatenated tensor is copied whole).
A kernel finds row `i` of a head at `addresses[i // 4096]`. A row is stored as fp32, bf16, int8 or int4 (`rounding.py`);
the last two have one scale a token, or one a channel of a block of 128 tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from fovea.attention_retrieval.rounding import BITS, CODES, Dtype, decode, decode_codes, width

By = Literal["token", "channel"]
SLAB = 4096
"""Rows of a slab; kernels shift by 12 and mask by 4,095."""
BLOCK = 128
"""Rows that share a scale a channel; kernels shift by 7."""
SPAN = 16 << 20
"""Bytes that a long table asks of the system at once. NumPy has tables of over 4 MB lie in huge pages where the system
offers them: rows gathered from all over come in two thirds of the time."""


class Slabs:
    """Encoded rows of `heads` tables, each row `width` numbers; by channel they come in whole blocks."""

    def __init__(self, heads: int, d: int, dtype: Dtype, by: By) -> None:
        self.heads, self.d, self.dtype, self.by = heads, d, dtype, by
        self.bits, self.width = BITS.get(dtype, 0), width(d, dtype)
        self.blocked = bool(self.bits) and by == "channel"
        self.rows_a_scale = BLOCK if self.blocked else 1
        self.like: np.ndarray = np.empty(0, CODES[dtype])
        self.codes: list[np.ndarray] = []
        """(heads, 4096, width) each."""
        self.scales: list[np.ndarray] = []
        """bf16 pairs of each slab: (heads, 4096, 2) by token, (heads, 32, 2, d) by channel; none for fp32 and bf16."""
        self.spare: list[np.ndarray] = []
        """Slabs to come, in one table; memory that is not written to is not taken."""
        self.addresses = np.zeros((heads, 0), np.uint64)
        self.scale_addresses = np.zeros((heads, 0), np.uint64)
        self.rows = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the rows that are filled, and of their scales."""
        pair = 4 * (self.d if self.blocked else 1) if self.bits else 0
        return self.heads * (self.rows * self.width * self.like.itemsize + self.rows // self.rows_a_scale * pair)

    def append(self, codes: np.ndarray, scales: np.ndarray | None) -> None:
        """Add rows (heads, rows, width) as `encode` gives them; without scales for fp32 and bf16."""
        done, shared = 0, self.rows_a_scale
        while done < codes.shape[1]:
            at = self.rows % SLAB
            slab, scale = self._slab(self.rows // SLAB)
            take = min(SLAB - at, codes.shape[1] - done)
            slab[:, at : at + take] = codes[:, done : done + take]
            if scale is not None and scales is not None:
                scale[:, at // shared : (at + take) // shared] = scales[:, done // shared : (done + take) // shared]
            done, self.rows = done + take, self.rows + take

    def crop(self, rows: int) -> None:
        """Forget the rows from `rows` on."""
        self.rows, keep = rows, -(-rows // SLAB)
        del self.codes[keep:], self.scales[keep:]
        self.addresses = np.ascontiguousarray(self.addresses[:, :keep])  # as ever: kernels are compiled for a layout
        self.scale_addresses = np.ascontiguousarray(self.scale_addresses[:, :keep])

    def adopt(self, codes: Sequence[np.ndarray], scales: Sequence[np.ndarray], rows: int) -> None:
        """Take over slabs of `rows` that lie in a mapped file; one that is written to later is copied first."""
        self.codes, self.scales, self.rows = list(codes), list(scales), rows
        self.addresses, self.scale_addresses = addresses(self.codes, self.heads), addresses(self.scales, self.heads)

    def pieces(self, start: int, stop: int, heads: slice) -> list[np.ndarray]:
        """Rows `start` to `stop` as float32, (heads, rows, d) of each slab."""
        slabs = range(start // SLAB, -(-stop // SLAB))
        return [self._rows(n, np.arange(max(start - n * SLAB, 0), min(stop - n * SLAB, SLAB)), heads) for n in slabs]

    def take(self, ids: np.ndarray, head: int) -> np.ndarray:
        """The rows `ids` of one head as float32, (ids, d)."""
        out, slab, at = np.empty((len(ids), self.d), np.float32), ids // SLAB, ids % SLAB
        for n in np.unique(slab):
            out[slab == n] = self._rows(n, at[slab == n], slice(head, head + 1))[0]
        return out

    def copied(self, heads: np.ndarray, rows: int) -> Slabs:
        """The first `rows` rows of some heads by themselves, or as many of them as are whole blocks."""
        twin, shared = Slabs(len(heads), self.d, self.dtype, self.by), self.rows_a_scale
        rows = min(self.rows, rows // shared * shared)
        for n, slab in enumerate(self.codes[: -(-rows // SLAB)]):
            filled = min(SLAB, rows - n * SLAB)
            twin.append(slab[heads, :filled], self.scales[n][heads, : filled // shared] if self.bits else None)
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Slabs:
        """Slabs of its own, so addresses of its own: those of this one would be read after it is gone."""
        twin = Slabs(self.heads, self.d, self.dtype, self.by)
        twin.adopt([slab.copy() for slab in self.codes], [scale.copy() for scale in self.scales], self.rows)
        return twin

    def _rows(self, n: int, at: np.ndarray, heads: slice) -> np.ndarray:
        """Rows `at` of slab `n` as float32, (heads, rows, d)."""
        codes = self.codes[n][heads, at]
        if not self.bits:
            return decode(codes)
        pairs = decode(self.scales[n][heads, at // self.rows_a_scale])
        low, scale = (pairs[:, :, 0], pairs[:, :, 1]) if self.blocked else (pairs[..., :1], pairs[..., 1:])
        return decode_codes(codes, low, scale, self.bits, self.d)

    def _slab(self, n: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Slab `n`, made or copied out of a file if need be."""
        new = n == len(self.codes)
        if new or not self.codes[n].flags.writeable:
            slab = self._fresh()
            pairs = (SLAB // BLOCK, 2, self.d) if self.blocked else (SLAB, 2)
            scale = np.empty((self.heads, *pairs), np.uint16) if self.bits else None
            if new:
                self.codes.append(slab)
            else:
                slab[:], self.codes[n] = self.codes[n], slab
            if scale is not None:
                if new:
                    self.scales.append(scale)
                else:
                    scale[:], self.scales[n] = self.scales[n], scale
            self.addresses, self.scale_addresses = addresses(self.codes, self.heads), addresses(self.scales, self.heads)
        return self.codes[n], self.scales[n] if self.scales else None

    def _fresh(self) -> np.ndarray:
        """A slab to write to: of a table of as many as there are already, up to SPAN bytes of them."""
        if not self.spare:
            size = self.heads * SLAB * self.width * self.like.itemsize
            count = max(min(len(self.codes), SPAN // size), 1)
            self.spare = list(np.empty((count, self.heads, SLAB, self.width), self.like.dtype))
        return self.spare.pop()


def addresses(arrays: Sequence[np.ndarray], heads: int) -> np.ndarray:
    """Where each head begins in each array, (heads, arrays) uint64."""
    found = [[array.ctypes.data + head * array.strides[0] for array in arrays] for head in range(heads)]
    return np.array(found, np.uint64).reshape(heads, len(arrays))
