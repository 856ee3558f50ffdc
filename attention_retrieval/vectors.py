"""Vectors: the keys or the values of one layer, appended token by token and never moved.

Tokens lie in slabs of 4,096, so a step copies one row per head and nothing else (a concatenated tensor is copied
whole). A kernel finds row `i` of a head at `addresses[i // 4096]`. A row is stored as fp32, bf16, int8 or int4
(`rounding.py`); the last two have one scale a token, or one a channel of a block of 128 tokens. A block is rounded once
it is full and `RECENT` tokens have come behind it; until then its rows are plain, as the first `FIRST` stay for good:

    row     0       FIRST                    coded                    length
            | plain | slabs, blocks of 128   | plain, up to 255 rows  |
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from fovea.attention_retrieval.rounding import (
    BITS,
    CODES,
    Dtype,
    check_finite,
    decode,
    decode_codes,
    encode,
    to_bf16,
    width,
)

By = Literal["token", "channel"]
SLAB = 4096
"""Rows of a slab; kernels shift by 12 and mask by 4,095."""
BLOCK = 128
"""Rows that share a scale a channel; kernels shift by 7."""
FIRST, RECENT = 128, 128
"""Rows that are not rounded by channel: the first ones, which every token attends to, and the last ones."""
PLAIN: dict[str, type] = {"int8": np.float32, "int4": np.uint16}
"""What these are kept as, fp32 or bf16: beside what int4 rounds, bf16 costs nothing; before int8 it would cost more
than int8 does (an output moves by .0014 of its norm by int8, .0040 by bf16 and .0043 by both)."""
SPAN = 16 << 20
"""Bytes that a long table asks of the system at once. NumPy has tables of over 4 MB lie in huge pages where the system
offers them: rows gathered from all over come in two thirds of the time."""


class Stored(NamedTuple):
    """The rows of one head as compiled code sees them; good until rows are appended."""

    addresses: np.ndarray
    """Where the rows of each slab begin, (slabs,) uint64."""
    scales: np.ndarray
    """Where the pairs (low, scale) of each slab begin, (slabs,) uint64; empty for fp32 and bf16."""
    like: np.ndarray
    """An empty array of the stored type: it tells how to read a number."""
    d: int
    bits: int
    """Of a code; 0 for fp32 and bf16."""
    blocked: bool
    """Whether a pair is of a channel, or of a token."""
    plain: np.uint64
    """Where the rows before `first` and from `coded` on lie, as `PLAIN` says."""
    first: int
    coded: int


class Table(NamedTuple):
    """The rows of all heads as compiled code sees them; good until rows are appended."""

    addresses: np.ndarray
    """(heads, slabs) uint64."""
    scales: np.ndarray
    """(heads, slabs) uint64; no slabs for fp32 and bf16."""
    like: np.ndarray
    d: int
    bits: int
    blocked: bool
    plain: np.ndarray
    """(heads,) uint64."""
    first: int
    coded: np.ndarray
    """(heads,) int64."""


class Vectors:
    """Rows of `heads` tables, each `(tokens, d)`; slabs are arrays `(heads, 4096, width)`.

    What rows are rounded to does not depend on the pieces that they come in. Rounding is not undone: where `crop` cuts
    a block that was rounded by channel, its rows before the cut are rounded a second time when it is full again.
    """

    def __init__(self, heads: int, d: int, dtype: Dtype, by: By = "token") -> None:
        self.heads, self.d, self.dtype = heads, d, dtype
        self.bits, self.width = BITS.get(dtype, 0), width(d, dtype)
        self.blocked = bool(self.bits) and by == "channel"
        self.rows_a_scale = BLOCK if self.blocked else 1
        self.like: np.ndarray = np.empty(0, CODES[dtype])
        self.slabs: list[np.ndarray] = []
        self.spare: list[np.ndarray] = []
        """Slabs to come, in one table; memory that is not written to is not taken."""
        self.scales: list[np.ndarray] = []
        """bf16 pairs of each slab: (heads, 4096, 2) by token, (heads, 32, 2, d) by channel; none for fp32 and bf16."""
        self.first = self.coded = FIRST if self.blocked else 0
        self.plain: np.ndarray = np.empty(
            (heads, FIRST + RECENT + BLOCK if self.blocked else 0, d), PLAIN.get(dtype, np.float32)
        )
        """The rows before `first`, then those from `coded` on, as `PLAIN` says."""
        self.cut = self.first, np.empty((heads, 0, d), np.float32)
        """Where a block begins that `crop` cut, and its rows before the cut: they may have been rounded again since."""
        self.addresses = np.zeros((heads, 0), np.uint64)
        self.scale_addresses = np.zeros((heads, 0), np.uint64)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def unrounded(self) -> np.ndarray:
        """The plain rows there are, (heads, rows, d), as `PLAIN` says."""
        return self.plain[:, : self._place(self._length)]

    @property
    def nbytes(self) -> int:
        """Bytes of the rows that are filled, and of their scales."""
        coded, pair = self.coded - self.first, 4 * (self.d if self.blocked else 1) if self.bits else 0
        rows = coded * self.width * self.like.itemsize + coded // self.rows_a_scale * pair
        return self.heads * rows + self.unrounded.nbytes

    def append(self, rows: np.ndarray) -> None:
        """Add `rows` of shape (heads, tokens, d): float32, or uint16 that are bf16 already.

        Raises ModelError for a number that is not finite: it would make every later answer NaN.
        """
        check_finite(rows)
        if self.blocked:
            self.append_plain(self._as_plain(rows))
        elif self.bits:
            self.append_codes(*encode(decode(rows), self.bits, -1))
        elif self.dtype == "bf16":
            self.append_codes(rows if rows.dtype == np.uint16 else to_bf16(rows), None)
        else:
            self.append_codes(decode(rows), None)

    def append_codes(self, codes: np.ndarray, scales: np.ndarray | None) -> None:
        """Add rows that are encoded already, by token or not at all."""
        self._write(codes, scales)
        self._length = self.coded = self.coded + codes.shape[1]

    def append_plain(self, rows: np.ndarray) -> None:
        """Add rows of the type of `plain` where they wait, and round the blocks for which it is time."""
        held, length = self._place(self._length), self._length + rows.shape[1]
        if held + rows.shape[1] < self.plain.shape[1]:
            self.plain[:, held : held + rows.shape[1]] = rows
            self._length = length
            return
        whole = np.concatenate([self.plain[:, :held], rows], axis=1)
        end = FIRST + (whole.shape[1] - FIRST - RECENT) // BLOCK * BLOCK
        blocks = whole[:, FIRST:end].reshape(self.heads, -1, BLOCK, self.d)
        parts = [encode(decode(blocks[:, n : n + 32]), self.bits, -2) for n in range(0, blocks.shape[1], 32)]
        codes, scales = (np.concatenate(each, axis=1) for each in zip(*parts))
        self._write(codes.reshape(self.heads, -1, self.width), scales)
        rest, plain = whole[:, end:], np.empty_like(self.plain)
        plain[:, :FIRST], plain[:, FIRST : FIRST + rest.shape[1]] = whole[:, :FIRST], rest
        self.plain, self.coded, self._length = plain, self.coded + end - FIRST, length

    def crop(self, length: int) -> None:
        """Forget the rows from `length` on."""
        length = min(self._length, length)
        start, rows = self.cut[0], self.cut[1][:, : max(length - self.cut[0], 0)]
        if length < self.coded:
            coded = self.first + max(length - self.first, 0) // BLOCK * BLOCK if self.blocked else length
            if start != coded or rows.shape[1] != length - coded:
                rows = self.block(coded, length)
            self.plain[:, self.first : self.first + rows.shape[1]] = self._as_plain(rows)
            start, self.coded = coded, coded
        self._length, self.cut = length, (start, rows)
        keep = -(-(self.coded - self.first) // SLAB)
        del self.slabs[keep:], self.scales[keep:]
        self.addresses = np.ascontiguousarray(self.addresses[:, :keep])  # as ever: kernels are compiled for a layout
        self.scale_addresses = np.ascontiguousarray(self.scale_addresses[:, :keep])

    def block(self, start: int, stop: int, heads: slice = slice(None)) -> np.ndarray:
        """Rows `start` to `stop` of the heads as float32, (heads, stop - start, d)."""
        parts = [decode(self.plain[heads, start : min(stop, self.first)])]
        low, high = max(start, self.first) - self.first, min(stop, self.coded) - self.first
        for n in range(low // SLAB, -(-high // SLAB)):
            parts.append(self.rounded(n, np.arange(max(low - n * SLAB, 0), min(high - n * SLAB, SLAB)), heads))
        parts.append(decode(self.plain[heads, self._place(max(start, self.coded)) : self._place(stop)]))
        return np.concatenate(parts, axis=1)

    def last(self, rows: int) -> np.ndarray:
        """The last rows of every head as float32, (heads, rows, d)."""
        return self.block(len(self) - rows, len(self))

    @property
    def table(self) -> Table:
        """What a kernel for all heads is given."""
        plain = _addresses([self.plain], self.heads)[:, 0]
        slabs = self.addresses, self.scale_addresses, self.like
        coded = np.full(self.heads, self.coded, np.int64)
        return Table(*slabs, self.d, self.bits, self.blocked, plain, self.first, coded)

    @property
    def parts(self) -> list[Vectors]:
        """Tables of heads that hold equally many rows: this one."""
        return [self]

    @property
    def owners(self) -> np.ndarray:
        """Which of `parts` each head is in, and where there, (heads, 2) int64."""
        return np.stack([np.zeros(self.heads, np.int64), np.arange(self.heads)], axis=1)

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each head, (heads,) int64."""
        return np.full(self.heads, len(self), np.int64)

    def head_bytes(self, head: int) -> int:
        """Bytes of one head's rows."""
        return self.nbytes // self.heads

    def head(self, head: int) -> Rows:
        """One head's rows, as they grow."""
        return Rows(self, head)

    def some(self, heads: np.ndarray) -> Vectors:
        """The rows of some heads, as they grow: to be read, not to be added to."""
        return Some(self, heads)

    def like_these(self) -> Vectors:
        """Others, that keep rows as these do, without any yet."""
        return Vectors(self.heads, self.d, self.dtype, "channel" if self.blocked else "token")

    def take(self, ids: np.ndarray) -> np.ndarray:
        """The rows `ids` (heads, n), or (1, n) for every head, as float32 (heads, n, d)."""
        each = np.broadcast_to(ids, (self.heads, ids.shape[1]))
        return np.stack([self.head(head).take(mine) for head, mine in enumerate(each)])

    def copied(self, heads: np.ndarray, rows: int) -> Vectors:
        """The first `rows` rows of some heads by themselves, as they are stored: nothing is rounded again, but for a
        block that is cut.
        """
        twin = Vectors(len(heads), self.d, self.dtype, "channel" if self.blocked else "token")
        whole = self.rows_a_scale
        coded = min(self.coded, self.first + max(rows - self.first, 0) // whole * whole) - self.first
        for n, slab in enumerate(self.slabs[: -(-coded // SLAB)]):
            filled = min(SLAB, coded - n * SLAB)
            scales = self.scales[n][heads, : filled // whole] if self.bits else None
            twin._write(slab[heads, :filled], scales)
            twin._length = twin.coded = twin.coded + filled
        if self.blocked:
            first = decode(self.plain[heads, : min(rows, self.first)])
            rest = [self.head(int(head)).block(twin.coded, rows) for head in heads] if rows > twin.coded else []
            twin.adopt_plain(np.concatenate([first, np.stack(rest)], axis=1) if rest else first)
        return twin

    def adopt(self, slabs: list[np.ndarray], scales: list[np.ndarray], rows: int) -> None:
        """Take over slabs of `rows` that lie in a mapped file; one that is written to later is copied first."""
        self.slabs, self.scales, self._length = list(slabs), list(scales), self.first + rows
        self.coded = self._length
        self.addresses, self.scale_addresses = _addresses(slabs, self.heads), _addresses(scales, self.heads)

    def adopt_plain(self, rows: np.ndarray) -> None:
        """Take the plain rows (heads, rows, d) in that belong to the slabs there are, as `append` takes rows."""
        self.plain[:, : rows.shape[1]], self._length = self._as_plain(rows), self.coded - self.first + rows.shape[1]

    def rounded(self, n: int, at: np.ndarray, heads: slice) -> np.ndarray:
        """Rows `at` of slab `n` as float32, (heads, rows, d)."""
        codes = self.slabs[n][heads, at]
        if not self.bits:
            return decode(codes)
        if self.blocked:
            pairs = decode(self.scales[n][heads, at // BLOCK])
            return decode_codes(codes, pairs[:, :, 0], pairs[:, :, 1], self.bits, self.d)
        pairs = decode(self.scales[n][heads, at])
        return decode_codes(codes, pairs[..., :1], pairs[..., 1:], self.bits, self.d)

    def __deepcopy__(self, memo: dict[int, Any]) -> Vectors:
        """Slabs of its own, so addresses of its own: those of this one would be read after it is gone."""
        twin = self.like_these()
        memo[id(self)] = twin
        twin.adopt(
            [slab.copy() for slab in self.slabs], [scale.copy() for scale in self.scales], self.coded - self.first
        )
        if self.blocked:
            twin.adopt_plain(self.unrounded)
            twin.cut = self.cut
        return twin

    def _as_plain(self, rows: np.ndarray) -> np.ndarray:
        """Rows, fp32 or bf16, as those are kept that are not rounded by channel."""
        if self.plain.dtype == np.float32:
            return decode(rows)
        return rows if rows.dtype == np.uint16 else to_bf16(rows)

    def _place(self, row: int) -> int:
        """How many rows before `row` are plain."""
        return min(row, self.first) + max(row - self.coded, 0)

    def _write(self, codes: np.ndarray, scales: np.ndarray | None) -> None:
        """Write rows behind those that are encoded; `coded` does not move yet."""
        start, done, shared = self.coded - self.first, 0, self.rows_a_scale
        while done < codes.shape[1]:
            at = (start + done) % SLAB
            slab, scale = self._slab((start + done) // SLAB)
            take = min(SLAB - at, codes.shape[1] - done)
            slab[:, at : at + take] = codes[:, done : done + take]
            if scale is not None and scales is not None:
                scale[:, at // shared : (at + take) // shared] = scales[:, done // shared : (done + take) // shared]
            done += take

    def _slab(self, n: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Slab `n`, made or copied out of a file if need be."""
        new = n == len(self.slabs)
        if new or not self.slabs[n].flags.writeable:
            slab = self._fresh()
            pairs = (SLAB // BLOCK, 2, self.d) if self.blocked else (SLAB, 2)
            scale = np.empty((self.heads, *pairs), np.uint16) if self.bits else None
            if new:
                self.slabs.append(slab)
            else:
                slab[:], self.slabs[n] = self.slabs[n], slab
            if scale is not None:
                if new:
                    self.scales.append(scale)
                else:
                    scale[:], self.scales[n] = self.scales[n], scale
            self.addresses = _addresses(self.slabs, self.heads)
            self.scale_addresses = _addresses(self.scales, self.heads)
        return self.slabs[n], self.scales[n] if self.scales else None

    def _fresh(self) -> np.ndarray:
        """A slab to write to: of a table of as many as there are already, up to SPAN bytes of them."""
        if not self.spare:
            size = self.heads * SLAB * self.width * self.like.itemsize
            count = max(min(len(self.slabs), SPAN // size), 1)
            self.spare = list(np.empty((count, self.heads, SLAB, self.width), self.like.dtype))
        return self.spare.pop()


class Some(Vectors):
    """Some heads of other vectors, in an order of their own: to be read."""

    def __init__(self, vectors: Vectors, heads: np.ndarray) -> None:
        super().__init__(0, vectors.d, vectors.dtype, "channel" if vectors.blocked else "token")
        self.all, self.of, self.heads = vectors, np.asarray(heads, np.int64), len(heads)

    def __len__(self) -> int:
        return len(self.all)

    @property
    def table(self) -> Table:
        """What a kernel for these heads is given."""
        whole = self.all.table
        mine = {name: getattr(whole, name)[self.of] for name in ("addresses", "scales", "plain", "coded")}
        return whole._replace(**mine)

    def head(self, head: int) -> Rows:
        """One head's rows, as they grow."""
        return self.all.head(int(self.of[head]))

    def block(self, start: int, stop: int, heads: slice = slice(None)) -> np.ndarray:
        """Rows `start` to `stop` of these heads as float32, (heads, stop - start, d)."""
        return np.stack([self.all.head(int(head)).block(start, stop) for head in self.of[heads]])

    def append(self, rows: np.ndarray) -> None:
        """Not possible: the other heads would lack these rows."""
        raise TypeError("rows are added to all heads together")

    def __deepcopy__(self, memo: dict[int, Any]) -> Some:
        """The same heads of a copy of the others."""
        return Some(copy.deepcopy(self.all, memo), self.of)


class Rows:
    """The rows of one head: what engines are built over and kernels read."""

    def __init__(self, vectors: Vectors, head: int) -> None:
        self.vectors, self.head, self.d = vectors, head, vectors.d
        self._mine = slice(head, head + 1)

    @classmethod
    def of(cls, rows: np.ndarray, dtype: Dtype = "fp32", by: By = "token") -> Rows:
        """A table by itself, of float32 rows (tokens, d)."""
        vectors = Vectors(1, rows.shape[1], dtype, by)
        vectors.append(rows[None])
        return vectors.head(0)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def stored(self) -> Stored:
        """What a kernel is given."""
        where, scales, like, d, bits, blocked, plain, first, coded = self.vectors.table
        mine = self.head
        return Stored(where[mine], scales[mine], like, d, bits, blocked, plain[mine], first, int(coded[mine]))

    @property
    def row_bytes(self) -> int:
        """Bytes a kernel reads for one row that is in no other's block, and its scale where it has one of its own."""
        vectors = self.vectors
        return vectors.width * vectors.like.itemsize + (4 if vectors.bits and not vectors.blocked else 0)

    def block(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop` as float32, (stop - start, d)."""
        return self.vectors.block(start, stop, self._mine)[0]

    def take(self, ids: np.ndarray) -> np.ndarray:
        """The rows `ids` as float32, (ids, d); the reference for the gathering kernels."""
        vectors, ids = self.vectors, np.asarray(ids, np.int64)
        out = np.empty((len(ids), self.d), np.float32)
        coded = (ids >= vectors.first) & (ids < vectors.coded)
        places = np.where(ids < vectors.first, ids, ids - vectors.coded + vectors.first)[~coded]
        out[~coded] = decode(vectors.plain[self.head, places])
        slab, at = (ids - vectors.first) // SLAB, (ids - vectors.first) % SLAB
        for n in np.unique(slab[coded]):
            here = coded & (slab == n)
            out[here] = vectors.rounded(n, at[here], self._mine)[0]
        return out


def _addresses(slabs: Sequence[np.ndarray], heads: int) -> np.ndarray:
    """Where each head begins in each slab, (heads, slabs)."""
    found = [[slab.ctypes.data + head * slab.strides[0] for slab in slabs] for head in range(heads)]
    return np.array(found, np.uint64).reshape(heads, len(slabs))
