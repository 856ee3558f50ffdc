"""What has become of the files of a store since they were taken in. Nothing is changed by looking."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

from fovea.pipelines.recipes import Outdated
from fovea.pipelines.sources.gone import by_folder, gone, lost
from fovea.pipelines.sources.places import Places
from fovea.retrievers.library.library import Library, SourceRow


@dataclass(frozen=True)
class Survey:
    """The sources of a store, and the names of those that are not as their files are."""

    rows: Sequence[SourceRow]
    gone: Sequence[str]
    """Whose file is no longer there, and which still answer."""
    missing: dict[str, int]
    """The uppermost folders that are not there, with how many sources went with each, and single files."""
    changed: Sequence[str]
    """Whose file holds something else now."""
    unseen: dict[str, str]
    """Whose file may not be looked at, with the reason."""
    outdated: Sequence[str]
    """Which were taken in with other settings than the pipeline has now."""
    settings: Outdated | None = None
    unknown: Sequence[str] = ()
    """Files of unknown type, which were passed by and are still there."""

    @property
    def failed(self) -> list[SourceRow]:
        """The sources that could not be read."""
        return [row for row in self.rows if row.status != "ok"]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "sources": [asdict(row) for row in self.rows], "gone": list(self.gone), "missing": self.missing,
            "changed": list(self.changed), "unseen": self.unseen, "outdated": list(self.outdated),
            "settings": list(self.settings.settings) if self.settings else [], "unknown": list(self.unknown),
        }  # fmt: skip


def survey(library: Library, places: Places, settings: Outdated | None) -> Survey:
    """Look at every file: its time and size, and its content where these have changed."""
    rows = list(library.sources())
    files = {row.name: row for row in rows if row.mtime_ns}
    lacking = [name for name in files if lost(places.path(name))]
    vanished = [name for name in lacking if files[name].chunks or files[name].status == "ok"]
    changed, unseen = [], {}
    for name in files.keys() - set(lacking):
        try:
            if _differs(places.path(name), files[name]):
                changed.append(name)
        except OSError as error:
            unseen[name] = error.strerror or str(error)
    old = settings.recipes if settings else frozenset()
    return Survey(
        rows, vanished, _missing(vanished, places), sorted(changed), dict(sorted(unseen.items())),
        [row.name for row in rows if row.chunks and row.recipe in old], settings,
        [name for name in library.unknown() if not gone(places.path(name))],
    )  # fmt: skip


def _missing(names: Sequence[str], places: Places) -> dict[str, int]:
    found = by_folder(places.path(name) for name in names)
    return {places.name(folder): n for folder, n in found.items()}


def _differs(path: Path, row: SourceRow) -> bool:
    stat = os.stat(path)
    if not row.digest or (stat.st_size, stat.st_mtime_ns) == (row.size, row.mtime_ns):
        return False
    if stat.st_size != row.size:
        return True
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest() != row.digest
