"""Vectors: the keys or the values of one layer, appended token by token.

Rows lie in slabs (`slabs.py`), encoded as they come; those that share a scale a channel are rounded by blocks. A block
is rounded once it is full and `RECENT` tokens have come behind it; until then its rows are plain, as the first `FIRST`
stay for good:

    row     0       FIRST                    coded                    length
            | plain | slabs, blocks of 128   | plain, up to 255 rows  |
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from fovea.attention_retrieval.rounding import Dtype, check_finite, decode, encode, to_bf16
from fovea.attention_retrieval.slabs import BLOCK, By, Slabs, addresses
from fovea.attention_retrieval.stored import Stored, Table

FIRST, RECENT = 128, 128
"""Rows that are not rounded by channel: the first ones, which every token attends to, and the last ones."""
PLAIN: dict[str, type] = {"int8": np.float32, "int4": np.uint16}
"""What these are kept as, fp32 or bf16: beside what int4 rounds, bf16 costs nothing; before int8 it would cost more
than int8 does (an output moves by .0014 of its norm by int8, .0040 by bf16 and .0043 by both)."""


class Vectors:
    """Rows of `heads` tables, each `(tokens, d)`.

    What rows are rounded to does not depend on the pieces that they come in. Rounding is not undone: where `crop` cuts
    a block that was rounded by channel, its rows before the cut are rounded a second time when it is full again.
    """

    def __init__(self, heads: int, d: int, dtype: Dtype, by: By = "token") -> None:
        self.heads, self.d, self.dtype, self.by = heads, d, dtype, by
        self.slabs = Slabs(heads, d, dtype, by)
        self.blocked = self.slabs.blocked
        self.first = FIRST if self.blocked else 0
        self.plain: np.ndarray = np.empty(
            (heads, FIRST + RECENT + BLOCK if self.blocked else 0, d), PLAIN.get(dtype, np.float32)
        )
        """The rows before `first`, then those from `coded` on, as `PLAIN` says."""
        self.cut = self.first, np.empty((heads, 0, d), np.float32)
        """Where a block begins that `crop` cut, and its rows before the cut: they may have been rounded again since."""
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def coded(self) -> int:
        """The row behind those in slabs."""
        return self.first + self.slabs.rows

    @property
    def unrounded(self) -> np.ndarray:
        """The plain rows there are, (heads, rows, d), as `PLAIN` says."""
        return self.plain[:, : self._place(self._length)]

    @property
    def nbytes(self) -> int:
        """Bytes of the rows that are filled, and of their scales."""
        return self.slabs.nbytes + self.unrounded.nbytes

    def append(self, rows: np.ndarray) -> None:
        """Add `rows` of shape (heads, tokens, d): float32, or uint16 that are bf16 already.

        Raises ModelError for a number that is not finite: it would make every later answer NaN.
        """
        check_finite(rows)
        if self.blocked:
            self.append_plain(self._as_plain(rows))
        elif bits := self.slabs.bits:
            self.append_codes(*encode(decode(rows), bits, -1))
        elif self.dtype == "bf16":
            self.append_codes(rows if rows.dtype == np.uint16 else to_bf16(rows), None)
        else:
            self.append_codes(decode(rows), None)

    def append_codes(self, codes: np.ndarray, scales: np.ndarray | None) -> None:
        """Add rows that are encoded already, by token or not at all."""
        self.slabs.append(codes, scales)
        self._length = self.coded

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
        parts = [encode(decode(blocks[:, n : n + 32]), self.slabs.bits, -2) for n in range(0, blocks.shape[1], 32)]
        codes, scales = (np.concatenate(each, axis=1) for each in zip(*parts))
        self.slabs.append(codes.reshape(self.heads, end - FIRST, -1), scales)
        rest, plain = whole[:, end:], np.empty_like(self.plain)
        plain[:, :FIRST], plain[:, FIRST : FIRST + rest.shape[1]] = whole[:, :FIRST], rest
        self.plain, self._length = plain, length

    def crop(self, length: int) -> None:
        """Forget the rows from `length` on."""
        length = min(self._length, length)
        start, rows = self.cut[0], self.cut[1][:, : max(length - self.cut[0], 0)]
        if length < self.coded:
            coded = self.first + max(length - self.first, 0) // BLOCK * BLOCK if self.blocked else length
            if start != coded or rows.shape[1] != length - coded:
                rows = self.block(coded, length)
            self.plain[:, self.first : self.first + rows.shape[1]] = self._as_plain(rows)
            start = coded
            self.slabs.crop(coded - self.first)
        self._length, self.cut = length, (start, rows)

    def block(self, start: int, stop: int, heads: slice = slice(None)) -> np.ndarray:
        """Rows `start` to `stop` of the heads as float32, (heads, stop - start, d)."""
        parts = [decode(self.plain[heads, start : min(stop, self.first)])]
        parts += self.slabs.pieces(max(start - self.first, 0), min(stop, self.coded) - self.first, heads)
        parts.append(decode(self.plain[heads, self._place(max(start, self.coded)) : self._place(stop)]))
        return np.concatenate(parts, axis=1)

    def last(self, rows: int) -> np.ndarray:
        """The last rows of every head as float32, (heads, rows, d)."""
        return self.block(len(self) - rows, len(self))

    @property
    def table(self) -> Table:
        """What a kernel for all heads is given."""
        slabs, plain = self.slabs, addresses([self.plain], self.heads)[:, 0]
        where, coded = (slabs.addresses, slabs.scale_addresses), np.full(self.heads, self.coded, np.int64)
        return Table(*where, slabs.like, self.d, slabs.bits, self.blocked, plain, self.first, coded)

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

    def like_these(self) -> Vectors:
        """Others, that keep rows as these do, without any yet."""
        return Vectors(self.heads, self.d, self.dtype, self.by)

    def take(self, ids: np.ndarray) -> np.ndarray:
        """The rows `ids` (heads, n), or (1, n) for every head, as float32 (heads, n, d)."""
        each = np.broadcast_to(ids, (self.heads, ids.shape[1]))
        return np.stack([self.head(head).take(mine) for head, mine in enumerate(each)])

    def copied(self, heads: np.ndarray, rows: int) -> Vectors:
        """The first `rows` rows of some heads by themselves, as they are stored: nothing is rounded again, but for a
        block that is cut.
        """
        twin = Vectors(len(heads), self.d, self.dtype, self.by)
        twin.slabs = self.slabs.copied(heads, max(rows - self.first, 0))
        twin._length = twin.coded if twin.slabs.rows else 0
        if self.blocked:
            first = decode(self.plain[heads, : min(rows, self.first)])
            rest = [self.head(int(head)).block(twin.coded, rows) for head in heads] if rows > twin.coded else []
            twin.adopt_plain(np.concatenate([first, np.stack(rest)], axis=1) if rest else first)
        return twin

    def adopt(self, slabs: Slabs) -> None:
        """Take over slabs of rows."""
        self.slabs, self._length = slabs, self.first + slabs.rows

    def adopt_plain(self, rows: np.ndarray) -> None:
        """Take the plain rows (heads, rows, d) in that belong to the slabs there are, as `append` takes rows."""
        self.plain[:, : rows.shape[1]], self._length = self._as_plain(rows), self.slabs.rows + rows.shape[1]

    def __deepcopy__(self, memo: dict[int, Any]) -> Vectors:
        twin = self.like_these()
        memo[id(self)] = twin
        twin.adopt(copy.deepcopy(self.slabs, memo))
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


class Rows:
    """The rows of one head: what engines are built over and kernels read."""

    def __init__(self, vectors: Vectors, head: int) -> None:
        self.vectors, self.head, self.d = vectors, head, vectors.d

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
        slabs = self.vectors.slabs
        return slabs.width * slabs.like.itemsize + (4 if slabs.bits and not slabs.blocked else 0)

    def block(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop` as float32, (stop - start, d)."""
        return self.vectors.block(start, stop, slice(self.head, self.head + 1))[0]

    def take(self, ids: np.ndarray) -> np.ndarray:
        """The rows `ids` as float32, (ids, d); the reference for the gathering kernels."""
        vectors, ids = self.vectors, np.asarray(ids, np.int64)
        out = np.empty((len(ids), self.d), np.float32)
        coded = (ids >= vectors.first) & (ids < vectors.coded)
        out[coded] = vectors.slabs.take(ids[coded] - vectors.first, self.head)
        places = np.where(ids < vectors.first, ids, ids - vectors.coded + vectors.first)[~coded]
        out[~coded] = decode(vectors.plain[self.head, places])
        return out
