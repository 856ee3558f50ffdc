"""Vectors: the keys or the values of one layer, appended token by token and never moved.

Tokens lie in slabs of 4,096, so a step copies one row per head and nothing else (a concatenated tensor is copied
whole). A kernel finds row `i` of a head at `addresses[i // 4096]`. A row is stored as

    fp32   4 bytes a number
    bf16   2: the upper half of a float32, rounded to nearest even
    int8   1, and one float32 a row: code = round(x / scale), scale = max |x| / 127
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from fovea.rag.errors import ModelError

SLAB = 4096
"""Rows of a slab; kernels shift by 12 and mask by 4,095."""
SPAN = 16 << 20
"""Bytes that a long table asks of the system at once. NumPy has tables of over 4 MB lie in huge pages where the system
offers them: rows gathered from all over come in two thirds of the time."""

Dtype = Literal["fp32", "bf16", "int8"]
CODES: dict[str, type] = {"fp32": np.float32, "bf16": np.uint16, "int8": np.int8}


class Stored(NamedTuple):
    """The rows of one head as compiled code sees them; good until rows are appended."""

    addresses: np.ndarray
    """Where the rows of each slab begin, (slabs,) uint64."""
    scales: np.ndarray
    """Where the scales of each slab begin, (slabs,) uint64; empty unless int8."""
    like: np.ndarray
    """An empty array of the stored type: it tells how to read a number."""
    d: int


class Table(NamedTuple):
    """The rows of all heads as compiled code sees them; good until rows are appended."""

    addresses: np.ndarray
    """(heads, slabs) uint64."""
    scales: np.ndarray
    """(heads, slabs) uint64; no slabs unless int8."""
    like: np.ndarray
    d: int


class Vectors:
    """Rows of `heads` tables, each `(tokens, d)`; slabs are arrays `(heads, 4096, d)`."""

    def __init__(self, heads: int, d: int, dtype: Dtype) -> None:
        self.heads, self.d, self.dtype = heads, d, dtype
        self.like: np.ndarray = np.empty(0, CODES[dtype])
        self.slabs: list[np.ndarray] = []
        self.spare: list[np.ndarray] = []
        """Slabs to come, in one table; memory that is not written to is not taken."""
        self.scales: list[np.ndarray] = []
        self.addresses = np.zeros((heads, 0), np.uint64)
        self.scale_addresses = np.zeros((heads, 0), np.uint64)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def nbytes(self) -> int:
        """Bytes of the rows that are filled."""
        row = self.d * np.dtype(CODES[self.dtype]).itemsize + (4 if self.dtype == "int8" else 0)
        return self._length * self.heads * row

    def append(self, rows: np.ndarray) -> None:
        """Add `rows` of shape (heads, tokens, d): float32, or uint16 that are bf16 already.

        Raises ModelError for a number that is not finite: it would make every later answer NaN.
        """
        self.append_codes(*encode(rows, self.dtype))

    def append_codes(self, codes: np.ndarray, scales: np.ndarray | None) -> None:
        """Add rows that are encoded already."""
        done = 0
        while done < codes.shape[1]:
            at = self._length % SLAB
            slab, scale = self._slab(self._length // SLAB)
            take = min(SLAB - at, codes.shape[1] - done)
            slab[:, at : at + take] = codes[:, done : done + take]
            if scale is not None and scales is not None:
                scale[:, at : at + take] = scales[:, done : done + take]
            self._length, done = self._length + take, done + take

    def crop(self, length: int) -> None:
        """Forget the rows from `length` on."""
        self._length = min(self._length, length)
        keep = -(-self._length // SLAB)
        del self.slabs[keep:], self.scales[keep:]
        self.addresses, self.scale_addresses = self.addresses[:, :keep], self.scale_addresses[:, :keep]

    def block(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop` of every head as float32, (heads, stop - start, d)."""
        parts = []
        for n in range(start // SLAB, -(-stop // SLAB)):
            low, high = max(start - n * SLAB, 0), min(stop - n * SLAB, SLAB)
            scale = self.scales[n][:, low:high] if self.scales else None
            parts.append(decode(self.slabs[n][:, low:high], scale))
        return np.concatenate(parts, axis=1) if parts else np.zeros((self.heads, 0, self.d), np.float32)

    @property
    def table(self) -> Table:
        """What a kernel for all heads is given."""
        return Table(self.addresses, self.scale_addresses, self.like, self.d)

    def head(self, head: int) -> Rows:
        """One head's rows, as they grow."""
        return Rows(self, head)

    def some(self, heads: np.ndarray) -> Vectors:
        """The rows of some heads, as they grow: to be read, not to be added to."""
        return Some(self, heads)

    def take(self, ids: np.ndarray) -> np.ndarray:
        """The rows `ids` (heads, n), or (1, n) for every head, as float32 (heads, n, d)."""
        each = np.broadcast_to(ids, (self.heads, ids.shape[1]))
        return np.stack([self.head(head).take(mine) for head, mine in enumerate(each)])

    def adopt(self, slabs: list[np.ndarray], scales: list[np.ndarray], length: int) -> None:
        """Take over slabs that lie in a mapped file; a slab that is written to later is copied first."""
        self.slabs, self.scales, self._length = list(slabs), list(scales), length
        self.addresses, self.scale_addresses = _addresses(slabs, self.heads), _addresses(scales, self.heads)

    def __deepcopy__(self, memo: dict[int, Any]) -> Vectors:
        """Slabs of its own, so addresses of its own: those of this one would be read after it is gone."""
        twin = Vectors(self.heads, self.d, self.dtype)
        memo[id(self)] = twin
        twin.adopt([slab.copy() for slab in self.slabs], [scale.copy() for scale in self.scales], len(self))
        return twin

    def _slab(self, n: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Slab `n`, made or copied out of a file if need be."""
        new = n == len(self.slabs)
        if new or not self.slabs[n].flags.writeable:
            slab = self._fresh()
            scale = np.empty((self.heads, SLAB), np.float32) if self.dtype == "int8" else None
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
            size = self.heads * SLAB * self.d * np.dtype(CODES[self.dtype]).itemsize
            count = max(min(len(self.slabs), SPAN // size), 1)
            self.spare = list(np.empty((count, self.heads, SLAB, self.d), CODES[self.dtype]))
        return self.spare.pop()


class Some(Vectors):
    """Some heads of other vectors, in an order of their own."""

    def __init__(self, vectors: Vectors, heads: np.ndarray) -> None:
        self.all, self.of, self.like = vectors, np.asarray(heads, np.int64), vectors.like
        self.heads, self.d, self.dtype = len(heads), vectors.d, vectors.dtype

    def __len__(self) -> int:
        return len(self.all)

    @property
    def table(self) -> Table:
        """What a kernel for these heads is given."""
        whole = self.all.table
        return whole._replace(addresses=whole.addresses[self.of], scales=whole.scales[self.of])

    def head(self, head: int) -> Rows:
        """One head's rows, as they grow."""
        return self.all.head(int(self.of[head]))

    def block(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop` of these heads as float32, (heads, stop - start, d)."""
        return np.stack([self.head(head).block(start, stop) for head in range(self.heads)])

    def append_codes(self, codes: np.ndarray, scales: np.ndarray | None) -> None:
        """Not possible: the other heads would lack these rows."""
        raise TypeError("rows are added to all heads together")


class Rows:
    """The rows of one head: what engines are built over and kernels read."""

    def __init__(self, vectors: Vectors, head: int) -> None:
        self.vectors, self.head, self.d = vectors, head, vectors.d
        self.like: np.ndarray = np.empty(0, CODES[vectors.dtype])

    @classmethod
    def of(cls, rows: np.ndarray, dtype: Dtype = "fp32") -> Rows:
        """A table by itself, of float32 rows (tokens, d)."""
        vectors = Vectors(1, rows.shape[1], dtype)
        vectors.append(rows[None])
        return vectors.head(0)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def stored(self) -> Stored:
        """What a kernel is given."""
        vectors = self.vectors
        return Stored(vectors.addresses[self.head], vectors.scale_addresses[self.head], self.like, self.d)

    @property
    def row_bytes(self) -> int:
        """Bytes a kernel reads for one row."""
        return self.d * self.like.itemsize + (4 if self.vectors.dtype == "int8" else 0)

    def block(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop` as float32, (stop - start, d)."""
        parts = []
        for n in range(start // SLAB, -(-stop // SLAB)):
            low, high = max(start - n * SLAB, 0), min(stop - n * SLAB, SLAB)
            scale = self.vectors.scales[n][self.head, low:high] if self.vectors.scales else None
            parts.append(decode(self.vectors.slabs[n][self.head, low:high], scale))
        return np.concatenate(parts) if parts else np.zeros((0, self.d), np.float32)

    def take(self, ids: np.ndarray) -> np.ndarray:
        """The rows `ids` as float32, (ids, d); the reference for the gathering kernels."""
        slab, at = np.asarray(ids) // SLAB, np.asarray(ids) % SLAB
        out = np.empty((len(slab), self.d), np.float32)
        for n in np.unique(slab):
            here = slab == n
            scale = self.vectors.scales[n][self.head, at[here]] if self.vectors.scales else None
            out[here] = decode(self.vectors.slabs[n][self.head, at[here]], scale)
        return out


def encode(rows: np.ndarray, dtype: Dtype) -> tuple[np.ndarray, np.ndarray | None]:
    """Codes of `rows`, and for int8 their scales; raises ModelError where a number is not finite."""
    ready = rows.dtype == np.uint16
    finite = bool(((rows & 0x7F80) != 0x7F80).all()) if ready else bool(np.isfinite(rows).all())
    if not finite:
        raise ModelError(
            "the model made a key or value that is NaN or infinite: the cache did not take it",
            fix="check the prompt's attention mask and the model's weights, or load the model with dtype float32",
        )
    if dtype == "bf16":
        return (rows, None) if ready else (to_bf16(rows), None)
    wide = decode(rows) if ready else np.asarray(rows, np.float32)
    if dtype == "fp32":
        return wide, None
    scales = np.abs(wide).max(axis=-1) / 127
    codes = np.rint(wide / np.where(scales > 0, scales, 1)[..., None]).astype(np.int8)
    return codes, scales.astype(np.float32)


def decode(codes: np.ndarray, scales: np.ndarray | None = None) -> np.ndarray:
    """The float32 that codes stand for."""
    if codes.dtype == np.uint16:
        return (codes.astype(np.uint32) << 16).view(np.float32)
    wide = codes.astype(np.float32)
    return wide if scales is None else wide * scales[..., None]


def to_bf16(rows: np.ndarray) -> np.ndarray:
    """float32 to the codes of bf16, rounded to nearest even."""
    bits = np.ascontiguousarray(rows, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _addresses(slabs: list[np.ndarray], heads: int) -> np.ndarray:
    """Where each head begins in each slab, (heads, slabs)."""
    found = [[slab.ctypes.data + head * slab.strides[0] for slab in slabs] for head in range(heads)]
    return np.array(found, np.uint64).reshape(heads, len(slabs))
