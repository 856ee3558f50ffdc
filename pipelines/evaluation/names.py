"""Names: documents as files of questions name them, and the ids that a store gives them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from fovea.pipelines.evaluation.lookup import Standing
from fovea.rag.errors import ConfigError
from fovea.rag.types import Document


class Names:
    """Finds ids of documents: by the id itself; else by what stands behind the # of a record's id (`7` for
    `docs/all.jsonl#7`); else by a unique ending of the id, with its suffix or without (`wal.html` and `wal` for
    `docs/sqlite/wal.html`). A longer name that ends in an id counts too.
    """

    def __init__(self, documents: Iterable[Document], wanted: Collection[str] = ()) -> None:
        self.texts: dict[str, str] = {}
        """The texts of documents that one of the `wanted` names may mean, by id; "" may mean any."""
        self._ids: dict[str, list[str]] = {}
        self._records: dict[str, list[str]] = {}
        self._all: set[str] = set()
        self._standing: dict[str, Standing] = {}
        stems = {_stem(name) for name in wanted}
        for document in documents:
            self._all.add(document.id)
            self._ids.setdefault(_stem(document.id), []).append(document.id)
            _, mark, record = document.id.partition("#")
            if mark:
                self._records.setdefault(record, []).append(document.id)
            if _stem(document.id) in stems or record in wanted or "" in wanted:
                self.texts[document.id] = document.text

    def standing(self, key: str) -> Standing:
        """Looks texts up in a document of `texts`."""
        if key not in self._standing:
            self._standing[key] = Standing(self.texts[key])
        return self._standing[key]

    def id(self, name: str) -> str:
        """The id of the one document that `name` means; raises ConfigError where it means none, or several."""
        if name in self._all:
            return name
        near = self._records.get(name) or [key for key in self._ids.get(_stem(name), ()) if _suits(key, name)]
        if len(whole := [key for key in near if PurePosixPath(key).suffix == PurePosixPath(name).suffix]) == 1:
            return whole[0]
        if len(near) == 1:
            return near[0]
        what = "names several documents" if near else "is no document of the store"
        fix = "name it by its whole id" if near else "fovea status p.yaml --all lists them; fovea ingest takes more in"
        raise ConfigError(f"{name!r} {what}", got=name, allowed=sorted(near or self._all)[:10], fix=fix)


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _suits(key: str, name: str) -> bool:
    """Whether one is the ending of the other, folder by folder; their last parts differ in a suffix at most."""
    a, b = PurePosixPath(key), PurePosixPath(name)
    if a.suffix and b.suffix and a.suffix != b.suffix:
        return False
    folders = list(zip(reversed(a.parent.parts), reversed(b.parent.parts)))
    return all(x == y for x, y in folders)
