"""Whole texts in the prompt, each read once by a local model: what `read` of the generator `transformers` does.

A prompt ends with its question, so all before it (the instruction, the passages and their tags) is the same for every
question about the same text. Its tokens are read once; the cache is kept, and a question costs its own tokens. Prompt
and answer are those of a fresh reading, token for token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ByteSize, ConfigDict, Field

from fovea.attention_retrieval.attention import Attention
from fovea.attention_retrieval.rounding import Dtype
from fovea.pipelines.answering.held import (
    Held,
    best_document,
    best_part,
    digest,
    folder_of,
    names_in,
    of_document,
    of_many,
    pages_of,
)
from fovea.pipelines.answering.prompt import messages
from fovea.rag import registry
from fovea.rag.corpus import Corpus
from fovea.rag.errors import ConfigError, QueryError
from fovea.rag.filters import matches
from fovea.rag.segmenter import Cut
from fovea.rag.types import Document, Hit, Query, Span
from fovea.rag.written import Written

if TYPE_CHECKING:
    import numpy as np

    from fovea.attention_retrieval.memory.shelf import Shelf
    from fovea.attention_retrieval.memory.texts import Text, Texts
    from fovea.rag.causal_lm import CausalLM

Read = Literal["documents", "folders", "collection"]
FOLDER = "read_once"
"""Where caches lie in the folder of a store."""
QUESTION = 256
"""Tokens of the window that are left for the question, or an eighth of a small window."""
PROBES = ("A", "7")
"""Two questions that begin differently: what their prompts begin with alike stands before every question."""
ROUNDS = 5
"""Attempts to cut a document into parts that fit with all that stands around them."""


class Memory(Written):
    """Where what was read is kept, how, and how much of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: ByteSize = Field(default=ByteSize(4 * 10**9), gt=0)
    """The most bytes of the folder, as `4GB` or a number; what was not used for longest goes first."""

    dtype: Dtype | None = None
    """How keys and values are kept: bf16, int8, int4 or fp32; left out, that of `attention`, or bf16."""

    path: Path | None = None
    """The folder; left out, `read_once` in that of the store. A relative path is relative to the YAML file."""

    def beside(self, store: Path, base: Path) -> Memory:
        """With the folder that is meant, in that of the store or from `base`."""
        return self.model_copy(update={"path": store / FOLDER if self.path is None else base / self.path})

    @property
    def shelf(self) -> Shelf | None:
        """What lies in the folder; None where none is named."""
        from fovea.attention_retrieval.memory.shelf import Shelf

        return Shelf(self.path, self.limit) if self.path else None


def attention_for(given: Attention | None, dtype: Dtype | None) -> Attention:
    """What reads texts once: `given`, or one that reads every key. Raises ConfigError for one without a `dtype`."""
    if given is None:
        every = {"top_k": 0, "dense_below": 1 << 40, "audit_every": 0}
        return registry.find("attention", "retrieval").model_validate({**every, "dtype": dtype or "bf16"})  # type: ignore[return-value]
    if dtype is None:
        return given
    if "dtype" not in type(given).model_fields:
        raise ConfigError(f"memory.dtype: attention {given.name} keeps no keys of a dtype", fix="leave out dtype")
    return given.model_copy(update={"dtype": dtype})


def check_of_passages(attention: Attention | None) -> None:
    """Raise ValueError for a setting that has no effect on passages, which are read alone."""
    heads = getattr(attention, "heads", None)
    if getattr(attention, "prefill", None):
        raise ValueError("attention.prefill has no effect: passages are read with full attention: leave out one")
    asking = f"heads: {{use: {heads.name}}}" if heads and getattr(heads, "queries", 0) else ""
    if asking := "evict" if getattr(attention, "evict", None) else asking:
        raise ValueError(f"attention.{asking} looks at queries, which are not kept of passages: leave out one")


def texts_for(lm: CausalLM, attention: Attention, memory: Memory, content: str) -> Texts:
    """The texts that `lm` has read with `attention`; on no shelf where `memory` names no folder."""
    from fovea.attention_retrieval.memory.texts import Texts

    return Texts(lm, attention, memory.shelf, content)


@dataclass
class ReadOnce:
    """What one generator's prompts hold, and the caches of it. Threads may share it."""

    read: Read
    model: str
    """What the generator calls it."""
    lm: CausalLM
    texts: Texts
    instruction: str
    answer: int
    """The most tokens of an answer."""
    _parts: dict[str, list[Span]] = field(default_factory=dict)

    @property
    def room(self) -> int | None:
        """Tokens that may stand before the question; None for a model that does not say how long its window is."""
        window = self.lm.window
        return None if window is None else window - self.answer - min(QUESTION, window // 8)

    def asked(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Held:
        """`held`, for a question; raises QueryError for one with a filter where the prompt would hold what it hides."""
        if query.where is not None and self.read != "documents":
            raise QueryError(
                f"the question has a filter, and read: {self.read} holds documents that it may hide",
                fix="read: documents",
            )
        held = self.held(hits, corpus)
        if query.where is not None and not all(matches(query.where, each.fields) for each in pages_of(held, corpus)):
            raise QueryError(
                f"the question's filter hides a part of {held.where}, which read: documents would hold",
                fix="read: passages, or a filter on what is the same all over a document: source, title, metadata",
            )
        return held

    def held(self, hits: Sequence[Hit], corpus: Corpus) -> Held:
        """What the prompt holds for these hits, of which there is one at least. Raises QueryError where a folder or the
        collection does not fit the window.
        """
        best = corpus.document(best_document(hits))
        if self.read == "documents":
            parts = self._parts_of(best, corpus)
            return of_document(best, best_part(parts, hits, best.id) if len(parts) > 1 else None)
        return self._many(folder_of(best.source) if self.read == "folders" else None, corpus)

    def all_of(self, names: Iterable[str], corpus: Corpus) -> Iterator[Held]:
        """All that may be held where a question speaks for one of the documents of these ids."""
        if self.read == "collection":
            yield self._many(None, corpus)
        elif self.read == "folders":
            folders = dict.fromkeys(folder_of(corpus.document(name).source) for name in names)
            yield from (self._many(folder, corpus) for folder in folders)
        else:
            for name in names:
                document = corpus.document(name)
                parts = self._parts_of(document, corpus)
                yield from (of_document(document, part if len(parts) > 1 else None) for part in parts)

    @contextmanager
    def open(self, held: Held, corpus: Corpus, prompt: Sequence[int] | None = None) -> Iterator[Text]:
        """The cache of all that stands before the question, as long as it is also what the tokens of `prompt` begin
        with.
        """
        tokens = self.prefix(held.hits, corpus)
        said = {**held.about, "source": held.where, "model": self.model, "dtype": self._dtype}
        with self.texts.open(tokens, said) as text:
            if prompt is not None and (shared := common(tokens, prompt)) < len(tokens):
                text.cut(shared)
            yield text

    def prefix(self, hits: Sequence[Hit], corpus: Corpus) -> list[int]:
        """The tokens that stand before every question about these passages."""
        first, second = (self.lm.tokens(messages(Query(q), hits, self.instruction, corpus)) for q in PROBES)
        return first[: common(first, second)]

    def check_room(self, prompt: Sequence[int]) -> None:
        """Raise QueryError for a prompt that leaves no room for the answer: its question is too long."""
        if (window := self.lm.window) and len(prompt) + self.answer > window:
            raise QueryError(
                f"the window of {self.model} holds {window:,} tokens; {self.answer:,} for the answer, and the text and "
                f"the question, {len(prompt):,}, do not fit",
                fix="a shorter question, a lower max_new_tokens or a model with a larger window",
            )

    @property
    def _dtype(self) -> str:
        return str(getattr(self.texts.attention, "dtype", ""))

    def _many(self, folder: str | None, corpus: Corpus) -> Held:
        kind, room, tokens, documents = "collection" if folder is None else "folders", self.room, 0, []
        for name in names_in(folder, corpus):
            documents.append(corpus.document(name))
            tokens += _Counting(self.lm).count(documents[-1].text)
            if room is not None and tokens > room:
                raise self._too_long(kind, folder, f"more than {room:,}")
        held = of_many(kind, folder or "", documents)
        if room is not None and (tokens := len(self.prefix(held.hits, corpus))) > room:
            raise self._too_long(kind, folder, f"{tokens:,}")
        return held

    def _too_long(self, kind: str, folder: str | None, tokens: str) -> QueryError:
        what = "the collection" if folder is None else f"the folder {folder!r}"
        window = self.lm.window or 0
        return QueryError(
            f"{what} has {tokens} tokens; the window of {self.model} holds {window:,}, of which {self.answer:,} are "
            f"for the answer and {min(QUESTION, window // 8):,} for the question",
            fix=f"read: {'folders or documents' if kind == 'collection' else 'documents'}, a lower max_new_tokens or a "
            "model with a larger window",
        )

    def _parts_of(self, document: Document, corpus: Corpus) -> list[Span]:
        """The stretches in which a document is read: one, where it fits."""
        key = digest([document])
        if key not in self._parts:
            self._parts[key] = self._cut(document, corpus)
        return self._parts[key]

    def _cut(self, document: Document, corpus: Corpus) -> list[Span]:
        from fovea.segmenters.packer import pack
        from fovea.segmenters.structure.kinds import strengths

        whole, room, counting = [Span(0, len(document.text))], self.room, _Counting(self.lm)

        def longest(parts: Sequence[Span]) -> int:
            return max(len(self.prefix(of_document(document, part).hits, corpus)) for part in parts)

        if room is None or (counting.count(document.text) <= room and longest(whole) <= room):
            return whole
        budget, cuts = room - longest([Span(0, 0)]), strengths(document.text, document.media_type)
        for _ in range(ROUNDS):
            if budget < 1:
                break
            parts = pack(document.text, (Cut(*each) for each in cuts.items()), counting, max_tokens=budget)
            if (over := longest(parts) - room) <= 0:
                return parts
            budget -= over
        raise QueryError(
            f"the window of {self.model} holds {self.lm.window:,} tokens; {self.answer:,} for the answer, the question "
            "and a part of a document do not fit",
            where=document.source or document.id,
            fix="a lower max_new_tokens or a model with a larger window",
        )


def common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two prompts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second)))


@dataclass(frozen=True)
class _Counting:
    """A model's tokenizer, for the packer."""

    lm: CausalLM

    def count(self, text: str) -> int:
        """Tokens of `text`, without special ones."""
        return len(self._encode(text)["input_ids"])

    def offsets(self, text: str) -> np.ndarray:
        """Where each token lies, int64 (tokens, 2)."""
        import numpy as np

        found = self._encode(text, return_offsets_mapping=True)["offset_mapping"]
        return np.array(found, np.int64).reshape(-1, 2)

    def _encode(self, text: str, **options: Any) -> Any:
        return self.lm.tokenizer(text, add_special_tokens=False, verbose=False, **options)
