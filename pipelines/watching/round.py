"""One round of watching: an ingest that passes by what has not changed, or is still being written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from threading import Event
from typing import Any

from fovea.pipelines.ingest import SLICE_CHUNKS, Ingest, IngestReport
from fovea.pipelines.sources.gone import gone, lost, not_there
from fovea.pipelines.sources.known import Known
from fovea.pipelines.watching.changes import Changed, under
from fovea.rag.errors import DocumentError
from fovea.rag.printable import counted


class _Stopped(Exception):
    pass


class Round(Ingest):
    """An ingest of the folders of which `changed` says what happened; it ends between two files once `stop` is set."""

    changed: Changed
    stop: Event

    def __init__(self, *made: Any) -> None:
        super().__init__(*made)
        self.group_chunks = SLICE_CHUNKS  # What one who wants it to stop waits for, besides the file that is read.
        self._away: list[str] = []
        """Of folders that are not there, though the store has sources from them, or cannot be looked into."""

    def follow(self, folders: Sequence[Path], changed: Changed, stop: Event, *, forget: bool = False) -> IngestReport:
        """Bring the store in step."""
        self.changed, self.stop = changed, stop
        try:
            return self.run(folders, forget=forget)
        except _Stopped:
            return self.report

    def problems(self) -> list[str]:
        """What could not be done, file by file aside, in the words of errors."""
        try:
            self.refuse()
        except DocumentError as error:
            return [*self._away, str(error)]
        return self._away

    def _sorted(self, paths: Sequence[Path], forget: bool) -> tuple[list[Path], list[Path]]:
        present, vanished = list[Path](), list[Path]()
        for path in paths:
            if os.path.isdir(path):
                present.append(path)
            elif sources := len(list(self.known.under(path))):
                vanished += [path] if forget else []
                self._away += [] if forget else [str(_no_folder(path, sources))]
        return present, vanished

    def _take(self, files: Iterator[Path]) -> None:
        going_on = takewhile(lambda _: not self.stop.is_set(), files)
        super()._take(path for path in going_on if not self._passed_by(path))
        if self.stop.is_set():
            raise _Stopped  # What was not reached is neither new nor gone.

    def _passed_by(self, path: Path) -> bool:
        """Whether a file stays as the store has it: it is still being written, or it is as it was, read or failed."""
        place = self.places.placed(path)
        if under(place, self.changed.busy):
            return True
        if self.changed.everything or under(place, self.changed.touched):
            return False
        name, others = self.known.called(path)
        row = self.library.source(name)
        if row is None or others:
            return False
        try:
            stat = os.stat(path)
        except OSError:
            return row.status == "failed"
        if row.digest and (stat.st_size, stat.st_mtime_ns) != (row.size, row.mtime_ns):
            return False
        self.report.unchanged += row.status == "ok"
        return True

    def _not_seen(self, unread: Mapping[Path, str]) -> None:
        self._away += [f"{folder.as_posix()}: not read: {why}" for folder, why in unread.items()]

    def _remove_gone(self, folders: Sequence[Path], forget: bool) -> None:
        """As always; what was seen to be deleted is, however much it is."""
        if self.changed.deleted:
            known = Known(self.library, self.places)
            below = {name for folder in folders for name in known.under(folder)}
            self._remove(sorted(name for name in below if self._deleted(self.places.path(name))))
        super()._remove_gone(folders, forget)

    def _deleted(self, path: Path) -> bool:
        return under(self.places.placed(path), self.changed.deleted) and lost(path)


def _no_folder(path: Path, sources: int) -> DocumentError:
    """What is said of a folder that was there at the start: it is gone, or a file or a link to nothing has its name."""
    if gone(path):
        return not_there(path, sources)
    return DocumentError(
        f"not a folder any more, and the store has {counted(sources, 'sources')} from it; they stay",
        where=path.as_posix(),
        fix=f"put the folder back; or, to remove them: fovea remove PIPELINE.yaml {path.as_posix()}",
    )
