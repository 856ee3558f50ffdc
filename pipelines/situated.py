"""Whether the chunks of a library are situated by the weights that a retriever searches with. Two YAML files may name
one store, and a changed one may not have been ingested yet.
"""

from __future__ import annotations

import json

from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag.component import fingerprint
from fovea.rag.errors import StoreError
from fovea.rag.situator import Situator
from fovea.rag.trace import Trace, warn
from fovea.rag.weighted import Weighted
from fovea.retrievers.corpus import LibraryCorpus


def label(situator: Situator | None) -> str:
    """Says who made the vectors of chunks, as a library remembers it: name, weights or model, and a hash of these."""
    if situator is None or situator.form == "none":
        return "no situator"
    if not isinstance(situator, Weighted):
        return situator.name
    named = getattr(situator, "model", "") or situator.weights
    return f"{situator.name} with {json.dumps(str(named))} ({fingerprint(situator.content())[:8]})"


def check(spec: PipelineSpec, corpus: LibraryCorpus, trace: Trace) -> None:
    """Raise StoreError where a retriever searches for what none of the chunks was made for; where some were made
    otherwise, as after an ingestion that was interrupted, count them as a warning.
    """
    learned = next((retriever for retriever in spec.retrieve if retriever.situated_by), None)
    if learned is None or not (found := corpus.situators):
        return
    right = label(spec.situate)
    others = {one: chunks for one, chunks in found.items() if one != right}
    if not others:
        return
    what = f"chunks here were situated by {', '.join(sorted(others))}; the retriever {learned.name} is for {right}"
    if right not in found:
        raise StoreError(what, where=str(spec.store.path), fix="fovea ingest brings the store in step")
    with trace.stage("situate"):
        warn(f"{what}: fovea ingest brings the store in step", sum(others.values()))
