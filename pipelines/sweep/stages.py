"""Stages: what the stages of trials gave, kept by content and shared by all trials and processes.

A list of hits is named by the component, the question, the corpus (how its chunks were made, and the store) and what
was handed in; the score of a passage by the model, the question and the passage; an answer by the generator, the
passages, and the documents and the encoder, into which readers look too; a vector by the encoder and the text. A stage
that is looked up charges the running stages the seconds that it took when it was computed; the vector of the question
is charged where a question first needs it, as in a run without a cache.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fovea.pipelines.sweep.cache_file import CacheFile, key_of
from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.stage_cache import using
from fovea.rag.trace import Stage, Trace, charge, clock
from fovea.rag.types import Document, Hit, Query, Span

DOCUMENTS = 256
"""Documents kept at hand, to slice chunks from."""


class Stages:
    """A `fovea.rag.stage_cache.StageCache` over one folder."""

    def __init__(self, folder: Path) -> None:
        self.file = CacheFile(folder / "stages.sqlite")
        self.corpus = self.read = ""
        self.asked: list[str] = []
        """The texts embedded since the running stage began."""
        self.asking = 0.0
        """The seconds that this took."""
        self._documents: dict[tuple[str, str], Document] = {}

    @contextmanager
    def over(self, corpus: str, read: str = "") -> Iterator[Stages]:
        """In force, over the corpus of this name; `read` names what a reader may look into beside passages, documents
        and encoder, whatever cut them and whichever store they are in.
        """
        self.corpus, self.read = corpus, read
        with using(self):
            yield self

    def embedded(self, text: str, seconds: float) -> None:
        """The running stage had the vector of a question, which took `seconds`."""
        self.asked.append(text)
        self.asking += seconds

    def hits(
        self, stage: str, maker: str, query: Query, corpus: Corpus, compute: Callable[[], list[Hit]], **given: Any
    ) -> list[Hit]:
        """Hits, with what the stage had to say."""
        key = key_of(stage, maker, self.corpus, _asked(query), json.dumps(given, sort_keys=True, default=str))
        documents = partial(self._document, corpus)
        computed: list[Hit] = []

        def fresh() -> bytes:
            inner = Trace()
            with inner.stage(stage) as said:
                computed.extend(compute())
            return _packed(computed, said, self.asked, documents)

        self.asked, self.asking = [], 0.0
        value, there = self._value(stage, key, fresh)
        said = json.loads(zlib.decompress(value))
        if there:
            for text in said["asked"]:
                corpus.embed(text)
        _tell(said)
        return _hits(said, documents) if there else computed

    def pieces(
        self, maker: str, query: Query, hits: Sequence[Hit], compute: Callable[[], Iterator[str]]
    ) -> Iterator[str]:
        """The pieces of an answer, all at once, when the first is asked for."""
        read = [(h.chunk.document_id, h.chunk.start, h.chunk.end, h.chunk.text, h.score) for h in hits]
        key = key_of("generate", maker, self.read, _asked(query), json.dumps(read))

        def fresh() -> bytes:
            inner = Trace()
            with inner.stage("generate") as said:
                pieces = list(compute())
            return zlib.compress(json.dumps({"pieces": pieces, **_said(said)}).encode())

        value, _ = self._value("generate", key, fresh)
        said = json.loads(zlib.decompress(value))
        _tell(said)
        yield from said["pieces"]

    def scores(
        self, maker: str, question: str, texts: Sequence[str], compute: Callable[[Sequence[str]], np.ndarray]
    ) -> np.ndarray:
        """Scores, each looked up by itself; those that are missing are computed together."""
        keys = [key_of("score", maker, question, text) for text in texts]
        found = self.file.get("score", keys)
        charge(sum(seconds for _, seconds in found.values()))
        values = {key: np.frombuffer(value, np.float64)[0] for key, (value, _) in found.items()}
        missing = {key: text for key, text in zip(keys, texts) if key not in values}
        if missing:
            began = clock()
            fresh = compute(list(missing.values()))
            each = (clock() - began) / len(missing)
            self.file.put((key, np.float64(score).tobytes(), each) for key, score in zip(missing, fresh))
            values.update(zip(missing, map(float, fresh)))
        return np.array([values[key] for key in keys])

    def _value(self, kind: str, key: bytes, fresh: Callable[[], bytes]) -> tuple[bytes, bool]:
        """The value and whether it was there. What was there is charged; the question's vector is not a part of it."""
        began = clock()
        value, seconds, there = self.file.value(kind, key, fresh, lambda: clock() - self.asking)
        if there:
            charge(seconds - (clock() - began))
        return value, there

    def _document(self, corpus: Corpus, name: str) -> Document:
        if (key := (self.corpus, name)) not in self._documents:
            if len(self._documents) >= DOCUMENTS:
                self._documents.clear()
            self._documents[key] = corpus.document(name)
        return self._documents[key]


def _asked(query: Query) -> str:
    as_of = query.as_of.isoformat() if query.as_of else ""
    said = [[turn.role, turn.content] for turn in query.history]
    return json.dumps([query.text, as_of, query.events, repr(query.where) if query.where else "", *said])


def _packed(hits: list[Hit], said: Stage, asked: list[str], documents: Callable[[str], Document]) -> bytes:
    names: dict[str, int] = {}
    rows = []
    for hit in hits:
        c = hit.chunk
        if documents(c.document_id).chunk(Span(c.start, c.end)) != c:
            raise ValueError(f"{c.where} is not a slice of its document")
        rows.append([names.setdefault(c.document_id, len(names)), c.start, c.end, hit.score, dict(hit.scores)])
    return zlib.compress(json.dumps({"documents": list(names), "hits": rows, "asked": asked, **_said(said)}).encode())


def _hits(said: Any, documents: Callable[[str], Document]) -> list[Hit]:
    texts = [documents(name) for name in said["documents"]]
    return [Hit(texts[d].chunk(Span(start, end)), score, scores) for d, start, end, score, scores in said["hits"]]


def _said(stage: Stage) -> dict[str, Any]:
    notes = {key: value for key, value in stage.notes.items() if isinstance(value, (str, int, float, bool))}
    return {"counts": stage.counts, "warnings": stage.warnings, "dropped": stage.dropped, "notes": notes}


def _tell(said: Any) -> None:
    """Say it to the running stage, as if it had been there."""
    stage = trace.current()
    stage.count(**said["counts"])
    stage.note(**said["notes"])
    stage.dropped.update(said["dropped"])
    for message, times in said["warnings"].items():
        stage.warn(message, times)
