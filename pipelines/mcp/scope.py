"""Scope: the filter that is fixed when the server starts, to which every call is held; and what errors may show."""

from __future__ import annotations

import os
from contextlib import suppress

from fovea.pipelines.hidden_paths import clean
from fovea.pipelines.mcp.replies import sendable
from fovea.pipelines.pipeline import Pipeline
from fovea.rag import filter_check
from fovea.rag.errors import FoveaError, StoreError
from fovea.rag.filters import Filter, parse


class Scope:
    """What may be seen: all, or the documents that a filter keeps. `pipeline` sees these alone. Raises QueryError for a
    filter that cannot be read, that names `page`, a field of passages, or a field that no document has.
    """

    def __init__(self, pipeline: Pipeline, text: str = "") -> None:
        self.text = text.strip()
        self.filter: Filter | None = parse(self.text) if self.text else None
        self.pipeline = pipeline.within(self.filter) if self.filter else pipeline
        if self.filter:
            with suppress(StoreError):  # Nothing was ingested yet.
                filter_check.check(self.filter, pipeline.corpus.fields)
        self._folders = sorted({str(pipeline.spec.store.path), str(pipeline.base)}, key=len, reverse=True)

    def shown(self, error: FoveaError | str) -> str:
        """The message of an error, with the names of files in the pipeline's folder and no path of this machine."""
        text = str(error)
        for folder in self._folders:
            text = text.replace(folder + os.sep, "").replace(folder, "the store")
        return sendable(clean(text))
