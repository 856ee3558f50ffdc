"""What every vector store outside of the library's own files does in the same way: follow the journal.

Rows are written first and the position after them, so a crash between the two writes the same rows again, under the
same numbers. A store that holds another library's rows, or is ahead of this one, is emptied and filled anew.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fovea.rag import progress, trace
from fovea.rag.corpus import Rows, Truth
from fovea.rag.errors import StoreError
from fovea.rag.filters import Filter
from fovea.rag.types import Scalar

if TYPE_CHECKING:
    import numpy as np

BATCH = 1000
BATCH_BYTES = 1 << 22
"""Bytes of vectors written at once: as JSON they are five times as many, and servers take 32 to 40 MiB a request."""
EXACT_INTEGER = 2**53
"""Larger integers are not exact as floating-point numbers, which the stores compare by."""
TOLERANCE = 1e-5
RECORD = 2
"""Raise it when other fields of a chunk are written: 2 brought source, path, suffix, title, media_type and page."""


@dataclass(frozen=True)
class Position:
    """How far a store has followed which library (`Follower._held`), and the fields it could not take all values of."""

    uuid: str
    sequence: int
    unfit: tuple[str, ...] = ()


class Follower(ABC):
    """An index in another engine. Subclasses say how rows, positions and filters are written there."""

    label = ""

    def __init__(self, truth: Truth, where: str, *, read_only: bool) -> None:
        self._truth, self._where, self._read_only = truth, where, read_only
        self._known: Position | None = None

    @property
    def _held(self) -> str:
        """Names the library and what is written of each chunk; a store that holds another is filled anew."""
        return f"{self._truth.uuid}/{RECORD}"

    @property
    def _batch(self) -> int:
        """Rows written at once."""
        return max(1, min(BATCH, BATCH_BYTES // (4 * max(1, self._truth.dim))))

    @abstractmethod
    def _position(self) -> Position | None:
        """How far the store is, or None if it holds nothing."""

    @abstractmethod
    def _set_position(self, position: Position) -> None:
        """Remember that, durably, beside the rows."""

    @abstractmethod
    def _empty(self) -> None:
        """Throw all rows away and make room for vectors of the library's length."""

    @abstractmethod
    def _write(self, rows: Rows, metadata: Sequence[dict[str, Scalar]]) -> None:
        """Write rows over those of the same numbers; the metadata have only values that fit."""

    @abstractmethod
    def _delete(self, nos: Sequence[int]) -> None:
        """Delete rows; ones that are not there are no error."""

    @abstractmethod
    def _query(self, vector: np.ndarray, k: int, where: Filter | None, unfit: Sequence[str]) -> list[tuple[int, float]]:
        """At most `k` rows with their inner products, in any order; raises QueryError for what it cannot compare."""

    @abstractmethod
    def _stored(self, nos: Sequence[int]) -> dict[int, np.ndarray]:
        """The vectors of those rows that are there."""

    @abstractmethod
    def _count(self) -> int:
        """How many rows there are."""

    def sync(self) -> int:
        """Bring the store up to the library's last sequence number; returns how many rows were written or deleted."""
        if self._read_only:
            raise StoreError("this index was opened for reading only", where=self._where)
        position, self._known = self._position(), None
        if position is None or position.uuid != self._held or position.sequence > self._truth.sequence:
            self._empty()
            self._set_position(position := Position(self._held, 0))
        if position.sequence == self._truth.sequence:
            return 0
        return self._follow(position)

    def _follow(self, position: Position) -> int:
        now, unfit, written = self._truth.sequence, set(position.unfit), 0
        with progress.bar(f"write to {self.label}") as bar:
            for rows in self._truth.added(position.sequence, self._batch):
                fitting = [fit(metadata, unfit) for metadata in rows.metadata]
                self._write(rows, fitting)
                written += len(rows.nos)
                bar.advance(len(rows.nos))
        gone = [int(no) for no in self._truth.removed(position.sequence)] if position.sequence else []
        for at in range(0, len(gone), BATCH):
            self._delete(gone[at : at + BATCH])
        for field in sorted(unfit - set(position.unfit)):
            trace.warn(f"{self.label} cannot take every value of {field!r}; filters on it will be refused")
        self._set_position(Position(position.uuid, now, tuple(sorted(unfit))))
        return written + len(gone)

    def search(self, vector: np.ndarray, k: int, where: Filter | None = None) -> list[tuple[int, float]]:
        """The `(no, inner product)` of about the `k` nearest chunks, best first; equal scores by rising `no`."""
        import numpy as np

        position = self._known = self._latest()
        if position is None or position.uuid != self._held:
            if self._truth.count:
                raise StoreError(
                    f"{self.label} does not hold this library yet",
                    where=self._where,
                    fix="fovea rebuild PIPELINE.yaml fills it; nothing is encoded",
                )
            return []
        if position.sequence != self._truth.sequence:
            trace.warn(f"{self.label} is behind the library: the last changes are not searched until the next ingest")
        if k < 1:
            return []
        found = self._query(np.ascontiguousarray(vector, np.float32), k, where, position.unfit)
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:k]

    def _latest(self) -> Position | None:
        """The position; read again only while the store is known to be behind."""
        known = self._known
        if known is not None and (known.uuid, known.sequence) == (self._held, self._truth.sequence):
            return known
        return self._position()

    def check(self) -> list[str]:
        """What differs from the library, in sentences."""
        position = self._position()
        if position is None or position.uuid != self._held:
            return [f"{self.label} does not hold this library: run fovea rebuild"] if self._truth.count else []
        if position.sequence != self._truth.sequence:
            return [f"{self.label} is behind the library: run fovea ingest or fovea rebuild"]
        return list(self._differences())

    def _differences(self) -> Iterator[str]:
        import numpy as np

        if (held := self._count()) != self._truth.count:
            yield f"{self.label} has {held} rows, the library {self._truth.count}"
        for rows in self._truth.added(0, self._batch):
            stored = self._stored([int(no) for no in rows.nos])
            for no, vector in zip(rows.nos, rows.vectors):
                if int(no) not in stored:
                    yield f"{self.label} lacks chunk {no}"
                elif not np.allclose(stored[int(no)], vector, atol=TOLERANCE):
                    yield f"{self.label} has another vector for chunk {no}"

    def rebuild(self) -> None:
        """Empty the store and fill it anew from the library."""
        if self._read_only:
            raise StoreError("this index was opened for reading only", where=self._where)
        self._empty()
        self._set_position(Position(self._held, 0))
        self._known = None
        self.sync()

    def describe(self) -> dict[str, Scalar]:
        """Engine, place, rows."""
        position = self._position()
        return {
            "back-end": self.label,
            "place": self._where,
            "rows": self._count() if position else 0,
            "behind": self._truth.sequence - (position.sequence if position else 0),
        }


def fit(metadata: Mapping[str, Scalar], unfit: set[str]) -> dict[str, Scalar]:
    """The metadata that compare in any engine as they do in Python; the fields of the others are added to `unfit`."""
    kept = {field: value for field, value in metadata.items() if nameable(field) and comparable(value)}
    unfit.update(metadata.keys() - kept.keys())
    return kept


def nameable(field: str) -> bool:
    """Whether a field can be named in any engine's paths."""
    return comparable(field) and field != "" and '"' not in field


def comparable(value: Scalar) -> bool:
    """Whether a value is a truth value, a finite number exact in double precision, or a text without surrogates."""
    if isinstance(value, str):
        return not any("\ud800" <= c <= "\udfff" or c == "\0" for c in value)
    return (
        isinstance(value, bool)
        or -EXACT_INTEGER <= value <= EXACT_INTEGER
        or (isinstance(value, float) and value - value == 0.0)
    )
