"""Which sources a person means by a name, a folder or a glob."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from fovea.pipelines.sources.known import Known
from fovea.pipelines.sources.patterns import matches
from fovea.pipelines.sources.places import whole
from fovea.rag.errors import QueryError

SHOWN = 20
"""Names that an error lists."""


def chosen(wanted: str, names: Sequence[str], known: Known) -> list[str]:
    """The sources that `wanted` names: itself, or all below a folder, or all that a glob matches, by the names that
    sources have or by the paths of their files. QueryError, with the nearest names, if there is none.
    """
    if wanted in names:
        return [wanted]
    pattern = posixpath.normpath(wanted) if wanted else ""
    found = [name for name in names if matches(name, pattern)] or list(known.under(Path(whole(wanted))))
    if found and wanted:
        return found
    raise QueryError(
        f"the store has no source {wanted!r}, and none below a folder of that name",
        got=wanted,
        allowed=get_close_matches(wanted, names, n=3) or names[:SHOWN],
        fix="fovea status p.yaml --all lists them",
    )
