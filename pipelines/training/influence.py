"""Train on the documents that a language model reads with its retrieval heads: `--influence MODEL --keep 0.2`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from fovea.attention_retrieval.probes.influence import SHARE, influences
from fovea.attention_retrieval.probes.retrieval_heads import retrieval_scores, strongest
from fovea.rag.causal_lm import load
from fovea.rag.errors import ConfigError
from fovea.rag.sentences import sentences
from fovea.rag.types import Document
from fovea.rag.write_whole import write_whole
from fovea.retrievers.collection import Collection

PROBES = range(20, 200)
"""Characters of a sentence that heads are probed with."""


def influential(
    collections: Sequence[Collection], model: str, keep: float, out: Path, *, seed: int = 0
) -> list[Collection]:
    """The collections with the `keep` share of each one's training documents that has most influence.

    Documents that are not for training stay. What was found is written to `out`/influence.json, and read from there
    when the same command goes on. Raises ConfigError where no collection has documents for training.
    """
    chosen = [[d for d in one.documents if one.parts.get(d.id) == "train"] for one in collections]
    if not any(chosen):
        what = "no document is for 'train' alone, so none can be left out"
        raise ConfigError(what, where="--influence", fix="data whose documents are divided, such as TimeQA or SQuALITY")
    scores = _scores([d for each in chosen for d in each], model, out / "influence.json", seed)
    kept = []
    for one, documents in zip(collections, chosen):
        if not documents:
            kept.append(one)
            continue
        ranked = sorted(documents, key=lambda d: -scores[d.id])
        left_out = {d.id for d in ranked[max(round(keep * len(ranked)), 1) :]}
        kept.append(one.only([d.id for d in one.documents if d.id not in left_out]))
    return kept


def _scores(documents: Sequence[Document], model: str, path: Path, seed: int) -> dict[str, float]:
    asked = {"model": model, "seed": seed, "documents": [d.id for d in documents]}
    if path.is_file():
        before = json.loads(path.read_text("utf-8"))
        if before["asked"] == asked:
            return dict(before["influence"])
    lm = load(model)
    probes = [text for d in documents for text in _sentences(d)][:5000]
    heads = strongest(retrieval_scores(lm, probes, seed=seed), SHARE)
    found = influences(lm, [d.text for d in documents], heads)
    scores = {d.id: float(score) for d, score in zip(documents, found)}
    text = json.dumps({"asked": asked, "heads": heads, "influence": scores}, indent=1)
    write_whole(path, lambda part: part.write_text(text, "utf-8"))
    return scores


def _sentences(document: Document) -> list[str]:
    texts = [document.text[span.start : span.end] for span in sentences(document.text)]
    return [" ".join(text.split()) for text in texts if len(text) in PROBES]
