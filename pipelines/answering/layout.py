"""A prompt as a local model reads it: its tokens, and which of them are the question's, a passage's, a sentence's."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from fovea.attention_retrieval.probes.weights import Neutral
from fovea.pipelines.answering.attended import places
from fovea.pipelines.answering.prompt import ASKED, INSTRUCTION, messages
from fovea.rag.causal_lm import CausalLM
from fovea.rag.corpus import Corpus
from fovea.rag.errors import ModelError
from fovea.rag.types import Hit, Query

NOTHING = " N/A"
"""The question that asks nothing."""


@dataclass(frozen=True)
class Layout:
    """`offsets` are the characters of `text` that each of the tokens `ids` stands for; `passages` say where the texts
    of `hits` begin in it, None for one that a template rewrote.
    """

    text: str
    ids: list[int]
    offsets: list[tuple[int, int]]
    question: tuple[int, int]
    hits: Sequence[Hit]
    passages: list[int | None]

    @classmethod
    def of(
        cls,
        lm: CausalLM,
        query: Query,
        hits: Sequence[Hit],
        instruction: str = INSTRUCTION,
        corpus: Corpus | None = None,
    ) -> Layout:
        """The prompt of a question; raises ModelError where the tokenizer or the template hides where things stand."""
        said = messages(query, hits, instruction, corpus)
        text, offsets = lm.prompt(said)
        asked = query.text.strip()
        before = text.rfind(f"{ASKED}{query.text.rstrip()}")
        if before < 0 or not asked:
            raise ModelError(f"the chat template of {lm.name} does not keep the question as it is")
        start = text.index(asked, before + len(ASKED))
        return cls(text, lm.tokens(said), offsets, (start, start + len(asked)), hits, places(text, hits))

    def neutral(self, lm: CausalLM, sentences: int = 1) -> Neutral:
        """The same prompt with a question of nothing, with whose rows those of the question and of `sentences` of an
        answer are compared.
        """
        asks = self.tokens(*self.question)
        nothing = list(lm.tokenizer(NOTHING, add_special_tokens=False)["input_ids"])
        ids = [*nothing, *self.ids[asks.stop :]]
        return Neutral(asks.start, ids, [range(asks.start, asks.start + len(nothing))] * (1 + sentences))

    def tokens(self, start: int, end: int) -> range:
        """The tokens that stand for a part of these characters."""
        first = bisect_right(self._ends, start)
        return range(first, max(bisect_left(self._starts, end), first))

    @cached_property
    def _starts(self) -> list[int]:
        return [start for start, _ in self._ordered]

    @cached_property
    def _ends(self) -> list[int]:
        return [end for _, end in self._ordered]

    @cached_property
    def _ordered(self) -> list[tuple[int, int]]:
        """A token without characters stands where the one before it ended."""
        at, found = 0, []
        for start, end in self.offsets:
            found.append((start, end) if end > start else (at, at))
            at = found[-1][1]
        return found
