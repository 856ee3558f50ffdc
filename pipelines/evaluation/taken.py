"""Take into a store the documents that a set of questions brings along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from fovea.pipelines.evaluation.gold import QuestionSet
from fovea.pipelines.ingest import Ingest, IngestReport
from fovea.pipelines.loaders.jsonl import JsonlLoader
from fovea.rag.errors import ConfigError, DocumentError
from fovea.rag.write_whole import write_whole

if TYPE_CHECKING:
    from fovea.pipelines.pipeline import Pipeline


def take_in(pipeline: Pipeline, questions: QuestionSet) -> IngestReport:
    """Write the documents to `sets/NAME.jsonl` in the store's folder, and ingest that file; their texts stay as they
    are, so the set's spans hold. A second time costs a hash.

    Raises ConfigError for a set without documents, DocumentError where the file cannot be taken.
    """
    if not questions.documents:
        raise ConfigError(f"the set {questions.name} brings no documents", where="--ingest", fix="fovea ingest FILES")
    path = Path(pipeline.spec.store.path) / "sets" / f"{questions.name}.jsonl"
    rows = ({"id": d.id, "title": d.title, "text": d.text} for d in questions.documents)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))
    loader = JsonlLoader(id="id", text=("text",), title="title")
    with pipeline._writing() as library:
        report = Ingest(pipeline.spec, [loader], library, pipeline.base).run([path])
        pipeline._sync(library)
    for why in report.failed.values():
        raise DocumentError(f"the documents of {questions.name} cannot be taken in: {why}", where=str(path))
    return report
