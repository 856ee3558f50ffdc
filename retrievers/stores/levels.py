"""The two levels of the embedded index: the base on disk, and the rows that came or went since, from the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fovea.rag import progress, trace
from fovea.rag.corpus import Truth
from fovea.rag.printable import counted
from fovea.rag.types import Scalar
from fovea.retrievers.stores import base as files
from fovea.retrievers.stores.base import Base, Damaged, Manifest
from fovea.retrievers.stores.graph import Graph, Kind

if TYPE_CHECKING:
    import numpy as np

FEWEST_CHANGES, SHARE = 256, 4
"""The base is written anew after this many changes, and after one for every `SHARE` rows of it."""
MOST_DEAD = 5
"""A graph keeps its removed rows until they are one in this many; then it is built anew."""
BATCH = 8192
KindOf = Callable[[int], tuple[Kind, str]]


@dataclass
class Level:
    """Rows that are searched together: `nos` int64 rising, `vectors` `(rows, dim)`, and which of them are alive."""

    nos: np.ndarray
    vectors: np.ndarray
    alive: np.ndarray
    graph: Graph | None = None

    def rows(self, keep: np.ndarray | None) -> np.ndarray | None:
        """Positions of the rows that are alive and, if given, among `keep` (by `no`); None for all rows."""
        import numpy as np

        if keep is None:
            return None if self.alive.all() else np.flatnonzero(self.alive)
        found = self._positions(keep)
        return found[self.alive[found]]

    def kill(self, nos: np.ndarray) -> None:
        """Mark rows as removed."""
        self.alive[self._positions(nos)] = False

    def append(self, nos: np.ndarray, vectors: np.ndarray) -> None:
        """Add rows whose numbers are higher than any before; what is there already is left out."""
        import numpy as np

        new = nos > (self.nos[-1] if len(self.nos) else 0)
        self.nos = np.concatenate([self.nos, nos[new]])
        self.vectors = np.concatenate([self.vectors, vectors[new]])
        self.alive = np.concatenate([self.alive, np.ones(int(new.sum()), bool)])

    def _positions(self, nos: np.ndarray) -> np.ndarray:
        import numpy as np

        at = np.searchsorted(self.nos, nos)
        at = at[at < len(self.nos)] if len(at) and at[-1] >= len(self.nos) else at
        found: np.ndarray = at[self.nos[at] == nos[: len(at)]]
        return found


class Levels:
    """The levels as of the library's last sequence number."""

    def __init__(self, folder: Path, truth: Truth, kind_of: KindOf, *, gpu: bool = False) -> None:
        self._folder, self._truth, self._kind_of, self._gpu = folder, truth, kind_of, gpu
        self._uuid, self._position = "", 0
        self._manifest: Manifest | None = None
        self._base: Level | None = None
        self._fresh: Level | None = None

    def all(self) -> list[Level]:
        """The levels that have rows, up to date."""
        self._refresh()
        return [level for level in (self._base, self._fresh) if level is not None and len(level.nos)]

    def sync(self) -> int:
        """Write the base anew if that is due; returns how many rows came or went since it was written."""
        self._follow()
        if (before := self._manifest) is not None:
            self._remove(self._truth.removed(before.removed))
        alive = int(self._base.alive.sum()) if self._base else 0
        dead = (len(self._base.alive) - alive) if self._base else 0
        changes = self._truth.count - alive + dead
        rows = before.rows if before else 0
        other = before is not None and before.index != self._kind_of(self._truth.count)[0]
        if changes > (max(FEWEST_CHANGES, rows // SHARE) if rows else 0) or (other and rows):
            self.write()
        return changes

    def write(self) -> None:
        """Write the base anew from the old one and the journal, a batch at a time."""
        import numpy as np

        self._follow()
        self._folder.mkdir(parents=True, exist_ok=True)
        sequence, kind = self._truth.sequence, self._kind_of(self._truth.count)[0]
        old, extend = self._manifest, self._extendable(kind)
        names = {part: files.new_name(part) for part in ("vectors", "nos", "graph")}
        try:
            nos = self._write_vectors(self._folder / names["vectors"], extend)
            nos.astype("<i8").tofile(self._folder / names["nos"])
            shape = (len(nos), self._truth.dim)
            if kind == "flat" or not len(nos):
                del names["graph"]
            else:
                matrix = np.asarray(np.memmap(self._folder / names["vectors"], np.dtype("<f4"), "r", shape=shape))
                self._graph(kind, matrix, extend).save(self._folder / names["graph"])
            listed = {name: files.describe_file(self._folder / name) for name in names.values()}
            # Rows that a graph still holds although they were removed are found again in the journal from there on.
            removed = old.removed if old is not None and extend else sequence
            manifest = Manifest(self._truth.uuid, sequence, removed, *shape, kind, listed)
            files.commit(self._folder, manifest)
        except BaseException:
            for name in names.values():
                with suppress(OSError):
                    (self._folder / name).unlink(missing_ok=True)
            raise
        files.clean(self._folder, {files.MANIFEST, *manifest.files})
        self._open()

    def forget(self) -> None:
        """Delete the files."""
        files.clean(self._folder)
        self._open()

    def problems(self) -> list[str]:
        """What is wrong with the files, compared row by row with the library."""
        while True:
            before = self._truth.sequence
            found = self._compared()
            if not found or self._truth.sequence == before:  # Else what differs may have been written meanwhile.
                return found

    def _compared(self) -> list[str]:
        try:
            manifest = files.read_manifest(self._folder)
            if manifest is None or manifest.uuid != self._truth.uuid or manifest.added > self._truth.sequence:
                return []  # There is nothing yet, or what there is will not be used.
            return list(_differences(files.load(self._folder, manifest, whole=True), self._truth))
        except Damaged as error:
            return [f"{error}; `fovea rebuild` makes the index anew"]

    def describe(self) -> dict[str, Scalar]:
        """Rows of the base, changes since, bytes."""
        self._refresh()
        fresh = len(self._fresh.nos) if self._fresh else 0
        dead = int((~self._base.alive).sum()) if self._base else 0
        size = sum(f["size"] for f in self._manifest.files.values()) if self._manifest else 0
        return {"rows": self._manifest.rows if self._manifest else 0, "changes": fresh + dead, "bytes": size}

    def close(self) -> None:
        """Let go of the files."""
        self._base = self._fresh = self._manifest = None
        self._uuid = ""

    def _refresh(self) -> None:
        """Read the journal until nothing was committed meanwhile."""
        self._follow()
        while self._position < (now := self._truth.sequence):
            for rows in self._truth.added(self._position):
                self._append(rows.nos, rows.vectors)
            self._remove(self._truth.removed(self._position))
            self._position = now

    def _follow(self) -> None:
        """Begin again if the library is another one, or an older copy of it."""
        if self._truth.uuid != self._uuid or self._truth.sequence < self._position:
            self._open()

    def _open(self) -> None:
        import numpy as np

        self._uuid, self._position = self._truth.uuid, 0
        self._manifest = self._base = None
        dim = self._truth.dim
        self._fresh = Level(np.zeros(0, np.int64), np.zeros((0, dim), np.float32), np.zeros(0, bool))
        try:
            manifest = files.read_manifest(self._folder)
            if manifest is None or (manifest.uuid, manifest.dim) != (self._uuid, dim):
                return
            if manifest.added > self._truth.sequence:
                return
            found = files.load(self._folder, manifest)
            wanted = self._kind_of(self._truth.count)[0]
            graph = None
            if found.graph is not None and manifest.index == wanted != "flat":
                graph = Graph.load(found.graph, wanted, found.vectors)
            elif wanted == "flat" and self._gpu and manifest.rows:
                graph = Graph.on_gpu(found.vectors)
        except Damaged as error:
            trace.warn(f"{error}; the index is read from the library, until `fovea rebuild` or the next ingest")
            return
        self._manifest = manifest
        self._base = Level(found.nos, found.vectors, np.ones(manifest.rows, bool), graph)
        self._position = manifest.added
        self._remove(self._truth.removed(manifest.removed))

    def _append(self, nos: np.ndarray, vectors: np.ndarray) -> None:
        last = self._base.nos[-1] if self._base and len(self._base.nos) else 0
        assert self._fresh is not None
        self._fresh.append(nos[nos > last], vectors[nos > last])

    def _remove(self, nos: np.ndarray) -> None:
        for level in (self._base, self._fresh):
            if level is not None and len(level.nos):
                level.kill(nos)

    def _extendable(self, kind: Kind) -> bool:
        """Whether rows can be added to the graph that there is, rather than building one."""
        level = self._base
        if level is None or level.graph is None or self._manifest is None or self._manifest.index != kind:
            return False
        return int((~level.alive).sum()) * MOST_DEAD <= len(level.alive)

    def _graph(self, kind: Kind, matrix: np.ndarray, extend: bool) -> Graph:
        if not extend or self._base is None or self._base.graph is None:
            return Graph.build(kind, matrix)
        graph = self._base.graph
        graph.extend(matrix[len(self._base.nos) :])
        return graph

    def _write_vectors(self, path: Path, extend: bool) -> np.ndarray:
        """Write the rows, and return their numbers."""
        import numpy as np

        nos = [np.zeros(0, np.int64)]
        with path.open("wb") as out, progress.bar("write index", self._truth.count) as bar:
            for some, vectors in self._rows(extend):
                out.write(np.ascontiguousarray(vectors, "<f4").data)
                nos.append(some)
                bar.advance(len(some))
        return np.concatenate(nos)

    def _rows(self, extend: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The rows of the base, the dead among them only if `extend`, and then those of the journal."""
        if self._base is not None:
            for at in range(0, len(self._base.nos), BATCH):
                part = slice(at, at + BATCH)
                kept = self._base.alive[part] | extend
                yield self._base.nos[part][kept], self._base.vectors[part][kept]
        for rows in self._truth.added(self._manifest.added if self._manifest else 0):
            yield rows.nos, rows.vectors


def _differences(found: Base, truth: Truth) -> Iterator[str]:
    """Sentences about every row of the base that is not as in the library."""
    import numpy as np

    alive = np.setdiff1d(found.nos, truth.removed(found.manifest.removed))
    newer = {int(no) for rows in truth.added(found.manifest.added) for no in rows.nos}
    seen = 0
    for rows in truth.added(0):
        old = np.array([int(no) not in newer for no in rows.nos], bool)
        nos, vectors = rows.nos[old], rows.vectors[old]
        at = np.minimum(np.searchsorted(found.nos, nos), max(0, len(found.nos) - 1))
        here = np.isin(nos, alive)
        seen += int(here.sum())
        if not here.all():
            yield f"the index lacks {counted(int((~here).sum()), 'chunks')}, such as {int(nos[~here][0])}"
        wrong = nos[here][(found.vectors[at[here]] != vectors[here]).any(axis=1)]
        if len(wrong):
            some = f"{counted(len(wrong), 'chunks')}, such as {int(wrong[0])}"
            yield f"the index has other vectors than the library for {some}"
    if seen != len(alive):
        yield f"{counted(len(alive) - seen, 'chunks')} of the index: not in the library"
