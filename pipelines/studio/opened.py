"""What all routes of the studio share: the pipelines by name, and the documents that were read last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.studio.texts import Texts
from fovea.rag.errors import QueryError
from fovea.rag.types import Document


@dataclass(frozen=True)
class Opened:
    """The pipelines, the first of them the default, and the folder of a study, if one is shown."""

    pipelines: Mapping[str, Pipeline]
    study: Path | None = None
    texts: Texts = field(default_factory=Texts)
    instance: str = field(default_factory=lambda: uuid4().hex[:12])
    """Names this run of the server, so that a page knows another one."""

    def pipeline(self, name: str) -> Pipeline:
        """The pipeline of that name, the first for none; raises QueryError for another."""
        wanted = name or next(iter(self.pipelines))
        if wanted not in self.pipelines:
            raise QueryError(f"there is no pipeline {name!r}", allowed=self.pipelines, got=name)
        return self.pipelines[wanted]

    def document(self, pipeline: str, document_id: str) -> Document:
        """A document; raises QueryError for an unknown id."""
        return self.texts.document(self.pipeline(pipeline), document_id)
