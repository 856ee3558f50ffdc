"""Reading texts ahead of questions, and what is known of those that were read: `Pipeline.read`, `fovea status`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from fovea.attention_retrieval.memory.shelf import Entry, Shelf
from fovea.pipelines.answering.held import Documents, is_stale
from fovea.pipelines.answering.read_once import FOLDER, Memory
from fovea.pipelines.generators.transformers import TransformersGenerator
from fovea.pipelines.retrievers.kv import KVRetriever
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag.corpus import Corpus
from fovea.rag.errors import ConfigError
from fovea.rag.generation import Generator
from fovea.rag.types import Hit

if TYPE_CHECKING:
    from fovea.pipelines.answering.composing import Passages
    from fovea.pipelines.answering.read_once import ReadOnce


@dataclass(frozen=True)
class TextRead:
    """What became of one text: whether it was `read` now or `found` kept, and the bytes of its file, 0 where it could
    not be kept.
    """

    text: str
    state: Literal["read", "found"]
    tokens: int
    bytes: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Shelved:
    """The texts that lie read in a folder: how many, of which `models`, and the names of those of which the text has
    changed or gone, or the model's files have.
    """

    folder: str
    texts: int
    bytes: int
    limit: int
    models: dict[str, int]
    stale: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {**asdict(self), "stale": list(self.stale)}


def read_texts(spec: PipelineSpec, names: Iterable[str], corpus: Corpus) -> Iterator[TextRead]:
    """Read what may be held for the documents of these ids, one text after the other, unless it is there already; the
    passages that a retriever searches inside are one text.

    Raises ConfigError where nothing is read once, and as soon as a text of this run had to go for another.
    """
    inside = [retriever for retriever in spec.retrieve if isinstance(retriever, KVRetriever)]
    for retriever in inside:
        began, (tokens, now) = time.perf_counter(), retriever.read(corpus)
        state: Literal["read", "found"] = "read" if now else "found"
        name = f"the keys of all passages, for retrieve: {retriever.name}"
        yield TextRead(name, state, tokens, retriever.bytes, time.perf_counter() - began)
    generator = spec.generate
    if not isinstance(generator, TransformersGenerator) or generator.read is None:
        if inside:
            return
        what = f"generate: {generator.name} has no read: it is given passages, and there is no text to read once"
        raise ConfigError(what, fix="generate: {use: transformers, model: smollm2, read: documents}")
    shelf, first = shelf_of(generator, Path()), ""
    if passages := generator.passages:
        texts = _passages(passages, names, corpus)
    else:
        texts = _whole(cast("ReadOnce", generator.once), names, corpus)
    for done, (key, text) in enumerate(texts, 1):
        yield text
        first = first or (key if text.bytes else "")
        if first and first not in shelf:
            raise ConfigError(
                f"memory.limit: {shelf.limit:,} bytes do not hold the first {done:,} of these texts",
                fix="a higher memory.limit, dtype: int8 or int4, or name the sources that are asked about",
            )


def _whole(once: ReadOnce, names: Iterable[str], corpus: Corpus) -> Iterator[tuple[str, TextRead]]:
    for held in once.all_of(names, corpus):
        with once.open(held, corpus) as text:
            state: Literal["read", "found"] = "read" if text.found == "read" else "found"
            yield text.key, TextRead(held.where, state, text.tokens, text.bytes, text.seconds)


def _passages(passages: Passages, names: Iterable[str], corpus: Corpus) -> Iterator[tuple[str, TextRead]]:
    """One text is all passages of a document; it is `read` where one of them was."""
    wanted = set(names)
    for name, chunks in groupby(corpus.chunks(), key=lambda chunk: chunk.document_id):
        if name in wanted:
            began = time.perf_counter()
            read = [passages.read(Hit(chunk, 1.0), corpus) for chunk in chunks]
            size = sum(each.bytes for each in read) if all(each.bytes for each in read) else 0
            state: Literal["read", "found"] = "read" if any(each.now for each in read) else "found"
            tokens = sum(len(each.text) for each in read)
            source = corpus.document(name).source or name
            yield read[0].key, TextRead(source, state, tokens, size, time.perf_counter() - began)


def shelf_of(generator: Generator, store: Path) -> Shelf:
    """Where the texts of a pipeline lie."""
    memory = generator.memory if isinstance(generator, TransformersGenerator) else Memory()
    return Shelf(memory.path or store / FOLDER, memory.limit)


def shelved(generator: Generator, store: Path, documents: Documents) -> Shelved:
    """What lies there. Each text is compared with the store's, and no model is loaded."""
    shelf = shelf_of(generator, store)
    entries = shelf.entries()
    models = Counter(str(entry.about.get("model", "unknown")) for entry in entries)
    stale = tuple(str(entry.about.get("source", entry.key)) for entry in _stale(entries, generator, documents))
    size = sum(entry.bytes for entry in entries)
    return Shelved(str(shelf.folder), len(entries), size, int(shelf.limit), dict(models), stale)


def drop_stale(generator: Generator, store: Path, documents: Documents) -> int:
    """Drop the caches of texts that have changed or gone, and what writers that died have left; returns how many."""
    shelf = shelf_of(generator, store)
    stale = list(_stale(shelf.entries(), generator, documents))
    for entry in stale:
        shelf.drop(entry.key)
    shelf.clean()
    return len(stale)


def _stale(entries: Iterable[Entry], generator: Generator, documents: Documents) -> Iterator[Entry]:
    for entry in entries:
        own = isinstance(generator, TransformersGenerator) and entry.about.get("model") == generator.model
        if is_stale(entry.about, documents) or (own and entry.about.get("content") != generator.content):  # type: ignore[attr-defined]
            yield entry
