"""InfiniRetri: a document of any length is read step by step, and what the question attends to is carried along.

refine: [{use: infini_retri, model: smollm2}]

A prompt holds the sentences that were kept, `step_tokens` new ones, and the question; of all of them those that hold
one of the `top_tokens` most attended tokens are kept for the next, the best up to `keep_tokens`. What is left at the
end are the hits. (X. Ye et al., "Infinite retrieval: attention enhanced LLMs in long-context processing", 2025, arXiv
2502.12962, whose kept text has no cap, and is decoded and encoded again; here it stays characters of the document.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, PositiveInt

from fovea.pipelines.refiners.reading import ReadingRefiner
from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.errors import ModelError, QueryError
from fovea.rag.types import Chunk, Document, Hit, Query, Span

if TYPE_CHECKING:
    from fovea.pipelines.answering.layout import Layout
    from fovea.pipelines.refiners.pieces import Piece
    from fovea.pipelines.refiners.token_scores import TokenScores
    from fovea.rag.wordpieces import ModelTokenizer

LEAST = 32
"""New tokens that a step must have room for."""


def _odd(width: int) -> int:
    if width % 2 == 0:
        raise ValueError("must be odd, for a box around a token")
    return width


class InfiniRetri(ReadingRefiner, name="infini_retri"):
    """Reads the whole documents of the best hits, and gives the sentences that the question attends to in their place,
    best first; neighbours are one hit. They are slices of the document, but no chunks of the corpus: stages that look
    up stored vectors come before this one.

    Cost: about (1 + keep_tokens / step_tokens) times reading a document once, up to the deepest of the heads.
    """

    spoils: ClassVar[frozenset[str]] = frozenset({"token budget"})

    documents: PositiveInt = 1
    """How many documents are read: those of the first hits."""
    heads: Literal["probed", "last_layer"] = "probed"
    """`probed` are the heads that point at evidence, beyond a question of nothing; `last_layer` is the paper's form."""
    step_tokens: int = Field(default=1024, ge=LEAST)
    """New tokens of the document in a prompt; fewer where the model's window has less room."""
    keep_tokens: PositiveInt = 512
    """Tokens of the sentences that are kept, at most, a line break for each counted."""
    top_tokens: PositiveInt = 300
    """How many tokens, the most attended ones, choose the sentences they stand in."""
    width: Annotated[PositiveInt, AfterValidator(_odd)] = 9
    """Columns over which `last_layer` sums attention, an odd number."""

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        """The kept sentences by falling score; the hits as they came where the question attends to nothing.

        Raises ModelError for a model that cannot be loaded, run or looked at, QueryError for a question that leaves no
        room in its window.
        """
        names = list(dict.fromkeys(hit.chunk.document_id for hit in hits))[: self.documents]
        said = {hit.chunk.id: hit for hit in hits}
        found: list[Hit] = []
        for name in names:
            document = corpus.document(name)
            for span, score in self.read(query, document):
                chunk = document.chunk(span)
                found.append(said.get(chunk.id, Hit(chunk, score)).scored(self.name, score))
        if not found:
            trace.warn(f"the question attends to no sentence of {', '.join(names)}", len(names) > 0)
            return list(hits)
        kept = {hit.chunk.id for hit in found}
        for hit in hits:
            if hit.chunk.id not in kept:
                read = hit.chunk.document_id in names
                why = "its document was read whole" if read else f"not of the first {self.documents} documents"
                trace.current().drop(hit, why)
        return sorted(found, key=lambda hit: -hit.score)

    def read(self, query: Query, document: Document) -> list[tuple[Span, float]]:
        """The kept sentences of one document in its order, each run of neighbours with the score of its best."""
        from fovea.pipelines.refiners.pieces import pieces, runs, steps
        from fovea.pipelines.refiners.token_scores import LastLayer, pointed_at

        room = self._room(query, document)
        scores = pointed_at(self.pointing) if self.heads == "probed" else LastLayer(self.width)
        kept: Mapping[Piece, float] = {}
        for new in steps(pieces(document.text, self._tokenizer, min(room, self.keep_tokens)), room):
            kept = self._kept(query, document, [*sorted(kept), *new], scores)
        return [(Span(run[0].start, run[-1].end), max(kept[piece] for piece in run)) for run in runs(kept)]

    def _kept(
        self, query: Query, document: Document, read: Sequence[Piece], scores: TokenScores
    ) -> Mapping[Piece, float]:
        """Of the pieces of one prompt the best within the cap, with the attention that each got."""
        import numpy as np

        text, starts = _joined(document.text, read)
        layout = self._layout(query, document, text)
        at = layout.passages[0]
        assert at is not None
        passage = layout.tokens(at, at + len(text))
        values = scores(self.lm, layout, passage)
        trace.current().count(prompts=1, input_tokens=len(layout.ids))
        best = {int(n) for n in np.argsort(-values, kind="stable")[: self.top_tokens] if values[n] > 0}
        got: dict[Piece, float] = {}
        for piece, start in zip(read, starts):
            mine = layout.tokens(at + start, at + start + piece.end - piece.start)
            if best.intersection(range(mine.start - passage.start, mine.stop - passage.start)):
                got[piece] = float(values[mine.start - passage.start : mine.stop - passage.start].sum())
        return dict(self._within(got))

    def _within(self, got: Mapping[Piece, float]) -> Iterator[tuple[Piece, float]]:
        """The best, as long as all of them fit."""
        used = 0
        for piece, score in sorted(got.items(), key=lambda one: (-one[1], one[0])):
            used += piece.tokens
            if used > self.keep_tokens:
                break
            yield piece, score

    def _room(self, query: Query, document: Document) -> int:
        """How many new tokens a prompt holds beside those that may be kept."""
        if (window := self.lm.window) is None:
            return self.step_tokens
        layout = self._layout(query, document, ".")
        asked = max(len(layout.ids), layout.neutral(self.lm, 0).start + len(layout.neutral(self.lm, 0).ids))
        room = min(self.step_tokens, window - asked - self.keep_tokens)
        if room < LEAST:
            raise QueryError(
                f"the window of {self.model} holds {window:,} tokens; beside the question ({asked:,} with its prompt) "
                f"and keep_tokens ({self.keep_tokens:,}) there is no room to read on",
                fix="a lower keep_tokens, a shorter question or a model with a larger window",
            )
        return room

    def _layout(self, query: Query, document: Document, text: str) -> Layout:
        """The prompt with one passage. Raises ModelError for a template that rewrites it."""
        from fovea.pipelines.answering.layout import Layout

        passage = Chunk(document.id, 0, len(text), text, document.source, document.title)
        layout = Layout.of(self.lm, query, [Hit(passage, 0.0)])
        if layout.passages[0] is None:
            raise ModelError(f"the chat template of {self.model} does not keep passages as they are")
        return layout

    @cached_property
    def _tokenizer(self) -> ModelTokenizer:
        from fovea.rag.wordpieces import ModelTokenizer

        return ModelTokenizer.of(self.lm.tokenizer, self.model)


def _joined(text: str, found: Sequence[Piece]) -> tuple[str, list[int]]:
    """The pieces as they stand in `text`, a line break where one is left out, and where each begins."""
    parts: list[str] = []
    starts: list[int] = []
    length = 0
    for n, piece in enumerate(found):
        if n and piece.number != found[n - 1].number + 1:
            parts.append("\n")
            length += 1
        starts.append(length)
        parts.append(text[piece.start : piece.stop])
        length += piece.stop - piece.start
    return "".join(parts), starts
