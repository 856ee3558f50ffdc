"""Retrieval inside a model: the question's own queries, in the heads that point at evidence, search the cached keys of
all passages.

retrieve: [{use: kv, model: smollm2}]

A passage is read once, up to the deepest of these heads, and their keys are kept; a question costs its own tokens and a
product with all keys (`fovea.attention_retrieval.memory.kv_index` has the formula). So a model looks through more text
than its window holds, and says which tokens it looked at.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import PrivateAttr

from fovea.pipelines.answering.attended import by_character, places, shares
from fovea.pipelines.answering.layout import NOTHING, Layout
from fovea.pipelines.answering.pointing import Pointing
from fovea.pipelines.answering.prompt import INSTRUCTION, blocks
from fovea.pipelines.answering.read_once import Memory
from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.errors import FoveaError
from fovea.rag.filters import matches
from fovea.rag.progress import bar
from fovea.rag.retrieval import Retriever
from fovea.rag.types import Chunk, Hit, Query

if TYPE_CHECKING:
    from fovea.attention_retrieval.memory.kv_index import KVIndex, Queries
    from fovea.pipelines.answering.composing import Passages

SPANS = 3
"""Sentences of a passage that the trace names."""


@dataclass(frozen=True)
class _Held:
    """The passages of one state of the corpus, by the names of what is kept of them."""

    version: str
    chunks: Sequence[Chunk]
    names: Sequence[str]
    index: KVIndex
    nothing: Queries


class KVRetriever(Pointing, Retriever, name="kv"):
    """The passages whose tokens the question looks at, beyond a question of nothing; the score is their share of the
    heads' attention over all passages at once.

    At the first question passages that were not read are read: about half a prefill of each, `fovea read` does it
    before. Holds `kv heads * head width` numbers a token of the corpus in memory.
    """

    packages: ClassVar[Mapping[str, str]] = {"torch": "local", "transformers": "local", "numba": "attention"}

    memory: Memory = Memory()
    """Where the keys are kept, as bf16, and how much of them: `{limit: 4GB}`."""

    _held: _Held | None = PrivateAttr(default=None)
    _read_now: int = PrivateAttr(default=0)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    def beside(self, store: Path, base: Path) -> KVRetriever:
        """With `memory` in a folder of the store, unless it names one."""
        return self.model_copy(update={"memory": self.memory.beside(store, base)})

    def search(self, query: Query, k: int, corpus: Corpus) -> list[Hit]:
        """At most `k` hits with a score over 0, best first; equal scores in the order of the corpus.

        Raises ModelError for a model that fails, and for one whose keys cannot be moved or looked at.
        """
        with self._lock:
            held = self._held = self._of(corpus)
            if self._read_now and query.where is None:  # what is hidden is not counted either
                trace.current().count(passages_read=self._read_now)
        if held is None or not query.text.strip():
            return []
        weights = held.index.weights(self._asked(query, held.index), held.nothing)
        scores = np.array([each.sum() for each in weights])
        shown = [query.where is None or matches(query.where, chunk.fields) for chunk in held.chunks]
        scores = scores * shown
        best = [int(n) for n in np.argsort(-scores, kind="stable")[:k] if scores[n] > 0]
        hits = [Hit(held.chunks[n], float(scores[n])).scored(self.name, float(scores[n])) for n in best]
        trace.current().note(spans=[self._looked(hit, weights[n], corpus) for hit, n in zip(hits, best)])
        trace.current().count(tokens_searched=sum(len(each) for each, seen in zip(weights, shown) if seen))
        return hits

    def read(self, corpus: Corpus) -> tuple[int, int]:
        """Read what was not read; how many tokens are held of all passages, and how many passages were read now."""
        with self._lock:
            held = self._held = self._of(corpus)
            tokens = sum(text.shape[1] for text in held.index.texts) if held else 0
            return tokens, self._read_now

    @property
    def bytes(self) -> int:
        """Of the files of the passages that were read last; 0 without a folder for them."""
        shelf, held = self.memory.shelf, self._held
        paths = [shelf.find(name) for name in held.names] if shelf and held else []
        return sum(path.stat().st_size for path in paths if path)

    @cached_property
    def _passages(self) -> Passages:
        from fovea.pipelines.answering.composing import passages_for
        from fovea.rag.causal_lm import ORGANISATION
        from fovea.rag.content import content_of

        content = content_of(self.model, organisation=ORGANISATION)
        return passages_for(self.lm, self.model, content, self.memory.shelf, "bf16")

    def _of(self, corpus: Corpus) -> _Held | None:
        """All passages, those read now that are new; None for an empty corpus."""
        from fovea.attention_retrieval.memory.kv_index import KVIndex, PointingKeys

        self._read_now = 0
        if (old := self._held) and old.version == corpus.version:
            return old
        chunks = list(corpus.chunks())
        if not chunks:
            return None
        known = dict(zip(old.names, old.index.texts)) if old else {}
        passages = self._passages
        opening = passages.opening(passages.laid(Query("?"), [Hit(chunks[0], 1.0)], corpus).opening)
        reader = PointingKeys(self.lm, passages.rotation, self.pointing, opening)
        named = [self._name(chunk, corpus) for chunk in chunks]
        with bar("reading passages", len(chunks)) as progress:
            texts = []
            for chunk, name in zip(chunks, named):
                texts.append(known.get(name) if name in known else self._keys(reader, chunk, name, corpus))
                progress.advance()
        index = KVIndex(reader, texts)  # type: ignore[arg-type]
        return _Held(corpus.version, chunks, named, index, self._asked(Query(NOTHING), index))

    def _name(self, chunk: Chunk, corpus: Corpus) -> str:
        """A hash of all that decides the keys of a passage."""
        (block,) = blocks([Hit(chunk, 1.0)], corpus)
        said = [self._passages.identity, repr(self.pointing), INSTRUCTION, block]
        return blake2b("\0".join(said).encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()

    def _keys(self, reader: Any, chunk: Chunk, name: str, corpus: Corpus) -> np.ndarray:
        """Those of one passage, from its file or read now."""
        from fovea.attention_retrieval.memory.kv_index import load_keys, save_keys
        from fovea.pipelines.answering.composing import about_of

        shelf, hit = self.memory.shelf, Hit(chunk, 1.0)
        if shelf and (path := shelf.find(name)):
            try:
                return load_keys(path, reader)
            except FoveaError as error:
                trace.warn(f"a passage's cache is damaged, and the passage is read anew: {error.what}")
                shelf.drop(name)
        prompt = self._passages.laid(Query("?"), [hit], corpus)
        made = reader.read(prompt.ids[prompt.places[0].start : prompt.places[0].stop])
        self._read_now += 1
        if shelf:
            said = {**self._passages.kept.about, **about_of(hit), "tokens": made.shape[1]}
            shelf.put(name, lambda part: save_keys(part, made), said)
        return made

    def _asked(self, query: Query, index: KVIndex) -> Queries:
        """The question's queries: it is read behind the instruction, as if the passages stood between."""
        hit = Hit(Chunk("-", 0, 1, "-"), 1.0)
        layout, prompt = Layout.of(self.lm, query, [hit]), self._passages.laid(query, [hit])
        first, rows = prompt.places[0].stop, layout.tokens(*layout.question)
        return index.reader.ask(layout.ids[first:], range(rows.start - first, rows.stop - first), index.distance)

    def _looked(self, hit: Hit, weights: np.ndarray, corpus: Corpus) -> dict[str, Any]:
        """The sentences of a passage that got most, by characters of the document."""
        return {"chunk": hit.chunk.id, "spans": list(self._spans(hit, weights, corpus))}

    def _spans(self, hit: Hit, weights: np.ndarray, corpus: Corpus) -> Iterator[dict[str, Any]]:
        from fovea.pipelines.answering.prompt import messages

        said = messages(Query("?"), [hit], corpus=corpus)
        text, offsets = self.lm.prompt(said)
        place = self._passages.laid(Query("?"), [hit], corpus).places[0]
        (start,) = places(text, [hit])
        assert start is not None
        density = by_character(len(text), offsets[place.start : place.stop], weights)
        found = shares(hit.chunk.text, density[start : start + len(hit.chunk.text)])
        for low, high, share in sorted(found, key=lambda each: -each[2])[:SPANS]:
            if share > 0:
                yield {"start": hit.chunk.start + low, "end": hit.chunk.start + high, "share": share}
