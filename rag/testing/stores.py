"""What every vector store must do, as tests that a store's author can run.

    from fovea.rag.testing.stores import StoreSuite

    class TestMine(StoreSuite):
        recall = 0.95

        def store(self, path):
            return MyStore(path=path)

pytest finds the methods of the subclass. Nothing but numpy is needed: the library that the store follows is
`MemoryTruth`, and what is right is computed by comparing with every vector and by `fovea.rag.filters.matches`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import numpy as np

from fovea.rag.corpus import Rows, VectorIndex, VectorStore
from fovea.rag.errors import FoveaError, QueryError
from fovea.rag.filters import All, Compare, Filter, Not, Operator, Some, matches
from fovea.rag.types import Scalar

Pairs = list[tuple[int, float]]
DIM = 16
TOLERANCE = 1e-5
OPERATORS: tuple[Operator, ...] = (
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "in",
    "not in",
    "contains",
    "starts_with",
    "exists",
)


class MemoryTruth:
    """A library in memory: rows come and go, each change with its sequence number, as `fovea.rag.corpus.Truth` says."""

    def __init__(self, dim: int = DIM) -> None:
        self.uuid, self.sequence, self.dim = uuid4().hex, 0, dim
        self._next = 1
        self.rows: dict[int, tuple[np.ndarray, Mapping[str, Scalar], int]] = {}
        self._removed: dict[int, int] = {}
        self._matching: dict[str, np.ndarray] = {}

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    def add(self, vectors: np.ndarray, metadata: Sequence[Mapping[str, Scalar]]) -> list[int]:
        """Commit rows; returns their numbers."""
        self.sequence += 1
        nos = list(range(self._next, self._next + len(vectors)))
        self._next += len(vectors)
        self.rows.update((no, (v, m, self.sequence)) for no, v, m in zip(nos, vectors, metadata))
        return nos

    def remove(self, nos: Sequence[int]) -> None:
        """Commit that rows are gone."""
        self.sequence += 1
        for no in nos:
            del self.rows[no]
            self._removed[no] = self.sequence

    def added(self, since: int, batch: int = 4096) -> Iterator[Rows]:
        """Rows added after `since`, in order of `no`."""
        found = [(no, row) for no, row in self.rows.items() if row[2] > since]
        for at in range(0, len(found), batch):
            part = found[at : at + batch]
            vectors = np.stack([row[0] for _, row in part]).astype(np.float32)
            yield Rows(np.array([no for no, _ in part], np.int64), vectors, [row[1] for _, row in part])

    def removed(self, since: int) -> np.ndarray:
        """Numbers removed after `since`."""
        return np.array(sorted(no for no, at in self._removed.items() if at > since), np.int64)

    def matching(self, where: Filter) -> np.ndarray:
        """Numbers of the rows whose metadata match."""
        key = f"{self.sequence} {len(self.rows)} {where!r}"  # Of equal filters, one may have 1 and another True.
        if key not in self._matching:
            nos = [no for no, row in self.rows.items() if matches(where, row[1])]
            self._matching[key] = np.array(nos, np.int64)
        return self._matching[key]

    def nearest(self, vector: np.ndarray, k: int, where: Filter | None = None) -> Pairs:
        """What a search should find, by comparing with every row."""
        kept: Iterable[tuple[int, float]] = self.scores(vector).items()
        if where is not None:
            wanted = set(self.matching(where).tolist())
            kept = [(no, score) for no, score in kept if no in wanted]
        return sorted(kept, key=lambda pair: (-pair[1], pair[0]))[:k]

    def scores(self, vector: np.ndarray) -> dict[int, float]:
        """The inner product of every row with `vector`, by number, of float64."""
        vectors = [row[0] for row in self.rows.values()]
        products = (np.array(vectors, np.float64).reshape(-1, len(vector)) * vector.astype(np.float64)).sum(axis=1)
        return dict(zip(self.rows, products.tolist()))


class StoreSuite:
    """Derive from it, name the class `Test...`, and give `store`."""

    rows: ClassVar[int] = 300
    """Rows in most tests: enough for an index to be more than one block of memory."""
    recall: ClassVar[float] = 1.0
    """The least share of the nearest rows that a search finds; 1 stands for exact search, to the last rank."""
    refused: ClassVar[frozenset[Operator]] = frozenset()
    """Operators that the store says it lacks for some values, by QueryError."""
    each: ClassVar[int] = 1
    """Of the filters, every how many-th is asked: 2 asks all operators too, in half the time."""
    detects_damage: ClassVar[bool] = False
    """Whether damaged files never lead to wrong answers. If not, they must still be mended by `rebuild`."""
    has_files: ClassVar[bool] = True
    """Whether what the store holds lies in files under its `path`."""

    def store(self, path: Path) -> VectorStore:
        """The store to test, with its files under `path`."""
        raise NotImplementedError

    # Searching

    def test_an_empty_library_has_no_neighbours(self, tmp_path: Path) -> None:
        """Nothing in, nothing out."""
        truth = MemoryTruth()
        with self._open(tmp_path, truth) as index:
            assert index.sync() == 0
            assert index.search(unit(np.ones(DIM)), 5) == []
            assert index.check() == []

    def test_search_finds_the_nearest(self, tmp_path: Path) -> None:
        """As brute force does, for few and many neighbours, and for more than there are."""
        truth = filled(self.rows)
        with self._open(tmp_path, truth) as index:
            assert index.sync() == self.rows
            for k in (1, 5, 50, self.rows + 10):
                self._agrees(index, truth, k)
            assert index.search(queries()[0], 0) == []

    def test_equal_scores_come_by_rising_number(self, tmp_path: Path) -> None:
        """The same text many times is the same vector many times."""
        truth = MemoryTruth()
        vectors = unit(np.repeat(np.random.default_rng(5).standard_normal((4, DIM)), 6, axis=0))
        truth.add(vectors, [{}] * len(vectors))
        with self._open(tmp_path, truth) as index:
            index.sync()
            found = index.search(vectors[7], 6)
            assert [no for no, _ in found] == [7, 8, 9, 10, 11, 12]

    def test_the_same_question_has_the_same_answer(self, tmp_path: Path) -> None:
        """Searching changes nothing."""
        truth = filled(self.rows)
        with self._open(tmp_path, truth) as index:
            index.sync()
            for query in queries():
                assert index.search(query, 9) == index.search(query, 9)

    # Following the library

    def test_rows_come_and_go(self, tmp_path: Path) -> None:
        """After each sync the store holds what the library holds; a second sync has nothing to do."""
        truth, rng = filled(self.rows), random.Random(3)
        with self._open(tmp_path, truth) as index:
            index.sync()
            for step in range(3):
                gone = rng.sample(sorted(truth.rows), len(truth.rows) // 4)
                truth.remove(gone)
                truth.add(*random_rows(self.rows // 10, seed=50 + step))
                index.sync()
                self._agrees(index, truth, 10)
                assert index.check() == []
                found = index.search(queries()[0], truth.count)
                assert not {no for no, _ in found} & set(gone)
            truth.remove(sorted(truth.rows))
            index.sync()
            assert index.search(queries()[0], 5) == []
            assert index.check() == []

    def test_many_small_changes(self, tmp_path: Path) -> None:
        """One row at a time ends in the same place."""
        truth = filled(self.rows // 3)
        with self._open(tmp_path, truth) as index:
            for step in range(12):
                truth.add(*random_rows(1, seed=100 + step))
                if step % 3 == 0:
                    truth.remove([min(truth.rows)])
                index.sync()
            self._agrees(index, truth, 10)
            assert index.check() == []

    def test_it_opens_again(self, tmp_path: Path) -> None:
        """What was synced is there for a reader in the same place."""
        truth = filled(self.rows)
        with self._open(tmp_path, truth) as index:
            index.sync()
        with self._open(tmp_path, truth, read_only=True) as index:
            self._agrees(index, truth, 10)
            assert index.check() == []
            assert index.describe()

    def test_a_reader_does_not_write(self, tmp_path: Path) -> None:
        """`sync` and `rebuild` of an index that was opened for reading are refused."""
        truth = filled(20)
        with self._open(tmp_path, truth) as index:
            index.sync()
        with self._open(tmp_path, truth, read_only=True) as index:
            for action in (index.sync, index.rebuild):
                try:
                    action()
                except FoveaError:
                    continue
                raise AssertionError(f"{action.__name__} was not refused")

    def test_rebuild(self, tmp_path: Path) -> None:
        """Made anew, it answers as before."""
        truth = filled(self.rows)
        with self._open(tmp_path, truth) as index:
            index.sync()
            index.rebuild()
            self._agrees(index, truth, 10)
            assert index.check() == []

    def test_another_library_in_the_same_place(self, tmp_path: Path) -> None:
        """Rows of the old library are never found in the new one."""
        old, new = filled(self.rows), filled(self.rows // 2, seed=77)
        with self._open(tmp_path, old) as index:
            index.sync()
        with self._open(tmp_path, new) as index:
            index.sync()
            self._agrees(index, new, 10)
            assert index.check() == []

    def test_an_older_copy_of_the_library(self, tmp_path: Path) -> None:
        """A library put back from a copy knows less than the index: the index follows it."""
        truth, copy = filled(self.rows), filled(self.rows)
        copy.uuid = truth.uuid
        truth.add(*random_rows(5, seed=9))
        with self._open(tmp_path, truth) as index:
            index.sync()
        with self._open(tmp_path, copy) as index:
            index.sync()
            self._agrees(index, copy, 10)
            assert index.check() == []

    # Filters

    def test_filters_mean_what_the_language_says(self, tmp_path: Path) -> None:
        """Every operator, alone, negated and combined, against `fovea.rag.filters.matches`; or QueryError where
        declared."""
        truth, asked, refused = filled(self.rows), set(), set()
        with self._open(tmp_path, truth) as index:
            index.sync()
            for where in filters()[:: self.each]:
                asked |= operators(where)
                try:
                    self._agrees(index, truth, truth.count, where, queries()[:1])
                except QueryError as error:
                    if not operators(where) & self.refused:
                        raise AssertionError(f"{where} was refused") from error
                    refused |= operators(where)
        assert asked == set(OPERATORS)
        assert refused >= self.refused, f"never refused: {self.refused - refused}"

    # Damage

    def test_damaged_files(self, tmp_path: Path) -> None:
        """A truncated or altered file ends in right answers or a clear error, and `rebuild` mends it."""
        if not self.has_files:
            return
        for how in (truncate, flip):
            folder = tmp_path / how.__name__
            truth = filled(self.rows)
            with self._open(folder, truth) as index:
                index.sync()
            names = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file() and p.stat().st_size)
            for name in names:
                if (folder / name).is_file():
                    how(folder / name)
                    self._survives(folder, truth)

    def _survives(self, folder: Path, truth: MemoryTruth) -> None:
        try:
            with self._open(folder, truth, read_only=True) as index:
                found = index.search(queries()[0], 10)
            assert not self.detects_damage or close(found, truth.nearest(queries()[0], 10), self.recall)
        except FoveaError:
            assert not self.detects_damage, "an index that is a cache of the library answers all the same"
        with self._open(folder, truth) as index:
            index.rebuild()
            self._agrees(index, truth, 10)
            assert index.check() == []

    # Tools

    @contextmanager
    def _open(self, path: Path, truth: MemoryTruth, *, read_only: bool = False) -> Iterator[VectorIndex]:
        path.mkdir(parents=True, exist_ok=True)
        index = self.store(path).open(truth, read_only=read_only)
        try:
            yield index
        finally:
            index.close()

    def _agrees(
        self,
        index: VectorIndex,
        truth: MemoryTruth,
        k: int,
        where: Filter | None = None,
        asked: np.ndarray | None = None,
    ) -> None:
        """Found is what should be found: exactly, or to the promised recall over all the questions."""
        asked = queries() if asked is None else asked
        hits = wanted = 0
        for query in asked:
            found, right = index.search(query, k, where), truth.nearest(query, k, where)
            scores = truth.scores(query)
            assert len(found) == len({no for no, _ in found}), "a row came twice"
            assert len(found) == len(right), f"{len(found)} rows for k={k}, not {len(right)}, with {where}"
            assert found == sorted(found, key=lambda pair: (-pair[1], pair[0])), "not best first"
            assert all(abs(score - scores[no]) < TOLERANCE for no, score in found), "not the inner products"
            if self.recall == 1.0:
                assert close(found, right, 1.0), f"{found} is not {right}, with {where}"
            hits += len({no for no, _ in found} & {no for no, _ in right})
            wanted += len(right)
        assert hits >= int(self.recall * wanted), f"found {hits} of {wanted} at k={k}, with {where}"


def close(found: Pairs, right: Pairs, recall: float) -> bool:
    """Whether the ranks agree, but for rows whose scores differ by rounding only; or the share of right rows is met."""
    if recall < 1:
        return len({no for no, _ in found} & {no for no, _ in right}) >= recall * len(right) - 1
    return len(found) == len(right) and all(a == b or abs(s - t) < TOLERANCE for (a, s), (b, t) in zip(found, right))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Float32 vectors of length 1."""
    vectors = np.asarray(vectors, np.float32)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def queries() -> np.ndarray:
    """The questions of the suite, float32 `(4, DIM)`."""
    return unit(np.random.default_rng(1).standard_normal((4, DIM)))


def random_rows(n: int, seed: int) -> tuple[np.ndarray, list[dict[str, Scalar]]]:
    """Vectors around a few centres, with metadata of every type and holes in them."""
    rng, draw = np.random.default_rng(seed), random.Random(seed)
    centres = np.random.default_rng(0).standard_normal((8, DIM))
    vectors = unit(centres[rng.integers(0, 8, n)] + 0.6 * rng.standard_normal((n, DIM)))
    return vectors, [random_metadata(draw) for _ in range(n)]


def filled(rows: int, seed: int = 0) -> MemoryTruth:
    """A library with rows."""
    truth = MemoryTruth()
    truth.add(*random_rows(rows, seed))
    return truth


VALUES: dict[str, tuple[Scalar, ...]] = {
    "year": (1999, 2003, 2003.5, 2010.0, 2020, -1, 0),
    "lang": ("en", "de", "DE", "zh-中文", "", 'it\'s "quoted" 100%'),
    "draft": (True, False),
    "mixed": (1, 1.0, True, "1", "true", False, 0, ""),
    "unit price, net": (1, 2.5),
    "source": ("notes/a.pdf", "b.md"),
    "path": ("notes/a.pdf", "b.md"),
    "suffix": (".pdf", ".md"),
    "title": ("On tea", "Tea"),
    "media_type": ("text/plain", "application/pdf"),
    "page": (1, 2, 3),
}
"""Values of each field: neighbours in every sense in which engines confuse values, and the fields that are built in."""


def random_metadata(draw: random.Random) -> dict[str, Scalar]:
    """Some fields with some values."""
    return {field: draw.choice(values) for field, values in VALUES.items() if draw.random() < 0.7}


def filters() -> list[Filter]:
    """One of each operator for each kind of value, each negated, and some combinations."""
    single = [Compare(f, op, v) for f, values in VALUES.items() for v in values for op in ("==", "!=")]
    single += [Compare(f, op, 2003) for f in ("year", "mixed", "lang") for op in ("<", "<=", ">", ">=")]
    single += [Compare("year", op, 2003.2) for op in ("<", ">=")] + [Compare("mixed", ">", 0.5)]
    single += [Compare("lang", op, "en") for op in ("<", "<=", ">", ">=")]
    single += [Compare("lang", "contains", v) for v in ("e", "E", "中", "", "100%")] + [
        Compare("mixed", "contains", "1")
    ]
    single += [Compare(f, "starts_with", v) for f in ("lang", "mixed", "source") for v in ("e", "E", "", "1", "notes/")]
    single += [Compare("page", op, 2) for op in ("==", "<", ">=")] + [Compare("suffix", "==", ".pdf")]
    single += [Compare("title", op, "On tea") for op in ("==", "!=")] + [Compare("media_type", "in", ("text/plain",))]
    single += [Compare("unit price, net", "==", 1), Compare("path", "!=", "notes/a.pdf")]
    single += [Compare(f, "exists", v) for f in (*VALUES, "nowhere") for v in (True, False)]
    for op in ("in", "not in"):
        single += [Compare(f, op, values[:3]) for f, values in VALUES.items()] + [Compare("mixed", op, VALUES["mixed"])]
        single += [Compare("lang", op, ()), Compare("nowhere", op, ("x",))]
    draw = random.Random(4)
    pairs = [(draw.choice(single), draw.choice(single)) for _ in range(30)]
    joined: list[Filter] = [kind(pair) for pair in pairs[:10] for kind in (All, Some)]
    deep: list[Filter] = [All((Not(Some(pair)), Some((Not(a), All((b,)))))) for pair in pairs for a, b in [pair]]
    return [*single, *map(Not, single), *joined, *map(Not, joined), *deep, All(()), Some(()), Not(All(()))]


def operators(where: Filter) -> set[Operator]:
    """Every operator of a filter."""
    match where:
        case All(parts) | Some(parts):
            return set().union(*map(operators, parts))
        case Not(part):
            return operators(part)
        case Compare(_, op, _):
            return {op}
    raise TypeError(f"not a filter: {where!r}")


def truncate(path: Path) -> None:
    """Cut a file in half."""
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size // 2)


def flip(path: Path) -> None:
    """Alter one byte in the middle of a file."""
    with path.open("rb+") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 0xFF]))
