"""A causal language model of Hugging Face transformers, on this machine.

generate: {use: transformers, model: smollm2, max_new_tokens: 256}
generate: {use: transformers, model: smollm2, read: documents, memory: {limit: 4GB, dtype: int8}}
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from fovea.attention_retrieval.attention import Attention
from fovea.pipelines.answering.attended import looked_at
from fovea.pipelines.answering.citing import cite
from fovea.pipelines.answering.held import Held
from fovea.pipelines.answering.prompt import INSTRUCTION, messages
from fovea.pipelines.answering.read_once import Memory, ReadOnce, attention_for, check_of_passages, texts_for
from fovea.pipelines.answering.reasoning import Listening, opens
from fovea.pipelines.answering.refusals import NO_ANSWER
from fovea.rag import trace
from fovea.rag.causal_lm import ORGANISATION
from fovea.rag.component import Component
from fovea.rag.content import content_of
from fovea.rag.corpus import Corpus
from fovea.rag.errors import ModelError, QueryError
from fovea.rag.generation import Generator
from fovea.rag.look import Look
from fovea.rag.placed import NameOrPath
from fovea.rag.requirements import Requirement, model
from fovea.rag.types import Answer, Hit, Query

if TYPE_CHECKING:
    from fovea.pipelines.answering.composing import Passages
    from fovea.pipelines.answering.heat import Heat
    from fovea.rag.causal_lm import CausalLM

END = 32
"""Tokens at the end of a prompt in which a template may have opened the model's reasoning."""


class TransformersGenerator(Generator, name="transformers"):
    """Asks a local model with numbered passages, by its chat template if it has one.

    Passages that do not fit the model's window are dropped from the worst end, with a warning. Models are loaded once
    a process and shared by components that name the same files, dtype and device. Raises ModelError for a model that
    cannot be loaded or run, QueryError for a question that leaves no room for a passage.
    """

    packages: ClassVar[Mapping[str, str]] = {"torch": "local", "transformers": "local"}
    replies: ClassVar[bool] = True

    model: NameOrPath
    """A folder, `smollm2` (`fovea models get smollm2`), or the name of a model on the hub: `ORG/NAME`."""

    max_new_tokens: PositiveInt = 256
    """The most tokens of an answer."""

    temperature: float = Field(default=0.0, ge=0, le=10)
    """0 takes the likeliest token each time; above, tokens are drawn from softmax(logits / temperature)."""

    seed: NonNegativeInt = 0
    """Decides what is drawn; without effect at temperature 0."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto` takes that of the files on a GPU, and float32 on a CPU."""

    device: str = "auto"
    """`auto` takes a GPU where there is one; else `cpu`, `cuda`, `cuda:1`, `mps`."""

    attention: Attention | None = None
    """What a token of the answer attends to; the model's own attention if left out. `{use: retrieval, top_k: 100}`
    searches the keys of a long prompt."""

    instruction: str = INSTRUCTION
    """The system message: how to answer and cite."""

    cite_with_attention: bool = False
    """Whether citing also tries, and prefers, the sentences that the model looked at while it wrote, at the price of
    reading prompt and answer once more; words, numbers and meaning decide all the same."""

    read: Literal["documents", "folders", "collection", "passages"] | None = None
    """What is read once, and its cache kept. Whole texts in place of the passages: the best of the `documents`, all of
    its folder (`folders`), or the `collection`. `passages`: each is read alone, and those of a question are placed
    behind one another. Left out, the passages that came back are read anew each time."""

    recompute: float = Field(default=0.15, ge=0, le=1)
    """With `read: passages`, the share of their tokens that is computed anew for a question: what deviates most."""

    memory: Memory = Memory()
    """Where what was read once is kept: `{limit: 4GB, dtype: int8}`."""

    @model_validator(mode="after")
    def _remembers(self) -> TransformersGenerator:
        if self.read is None and self.memory != Memory():
            raise ValueError(
                "memory keeps what is read once, and read is not set: read: documents, or leave out memory"
            )
        if self.read == "passages":
            if self.memory.dtype == "int4":
                raise ValueError("memory.dtype: passages are kept as bf16, int8 or fp32, not int4")
            check_of_passages(self.attention)
        elif self.recompute != type(self).model_fields["recompute"].default:
            raise ValueError("recompute is of passages that are read alone: read: passages, or leave it out")
        return self

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """Also the model."""
        yield from super().requirements(encoder)
        if self.read and self.attention is None and (own := self._own_attention):
            yield from own.requirements(encoder)
        yield model(self.model, ORGANISATION)

    @cached_property
    def fingerprint(self) -> str:
        """What decides the answers: settings, and the model by its content."""
        return self.fingerprint_with(model=self.content, memory=self.memory.dtype)

    def beside(self, store: Path, base: Path) -> TransformersGenerator:
        """With `memory` in a folder of the store, unless it names one."""
        if self.read is None:
            return self
        return self.model_copy(update={"memory": self.memory.beside(store, base)})

    @property
    def content(self) -> str:
        """Names the model's files."""
        return content_of(self.model, organisation=ORGANISATION)

    @property
    def _own_attention(self) -> Attention | None:
        """`attention`, or what reads texts once."""
        whole = self.read not in (None, "passages")
        return attention_for(self.attention, self.memory.dtype) if whole else self.attention

    @cached_property
    def attending(self) -> Attention | None:
        """`attention`, with the heads or scores of the model's tables where it asks for them."""
        own = self._own_attention
        if own is None:
            return None
        from fovea.attention_retrieval.heads.table import identity

        own.check_model(self.model, identity)
        if not (own.wants_heads or own.wants_table or own.wants_rotation):
            return own
        from fovea.pipelines.answering.probing import with_tables

        return with_tables(own, self.lm, self.model)

    @cached_property
    def lm(self) -> CausalLM:
        """The model, loaded on first use."""
        from fovea.rag.causal_lm import load

        own = self._own_attention
        implementation = own.implementation() if own else None
        return load(self.model, dtype=self.dtype, device=self.device, attention=implementation)

    @property
    def once(self) -> ReadOnce | None:
        """What holds whole texts, for all threads of this generator; None where it reads none."""
        if self.read is None or self.read == "passages":
            return None
        if "_once" not in self.__dict__:
            texts = texts_for(self.lm, cast(Attention, self.attending), self.memory, self.content)
            made = ReadOnce(self.read, self.model, self.lm, texts, self.instruction, self.max_new_tokens)
            self.__dict__.setdefault("_once", made)  # one for all threads
        return cast(ReadOnce, self.__dict__["_once"])

    @cached_property
    def passages(self) -> Passages | None:
        """What reads passages alone; None without `read: passages`."""
        if self.read != "passages":
            return None
        from fovea.pipelines.answering.composing import passages_for

        dtype = cast(Any, self.memory.dtype or "bf16")
        return passages_for(self.lm, self.model, self.content, self.memory.shelf, dtype, self.instruction)

    def stream(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Iterator[str]:
        """The text in pieces of whole words, as the model makes it."""
        if not hits:
            trace.current().note(no_answer="no passages came back, so the model was not asked")
            yield NO_ANSWER
            return
        held = self.once.asked(query, hits, corpus) if self.once else None
        hits = held.hits if held else self._fitting(query, hits, corpus)
        tokens = self._tokens(query, hits, corpus)
        with self._cache(query, held or hits, tokens, corpus) as cache:
            made = self.lm.stream(
                tokens, self.max_new_tokens, temperature=self.temperature, seed=self.seed, cache=cache
            )
            heard, length = Listening(opened=opens(self.lm.tokenizer.decode(tokens[-END:]))), 0
            with closing(iter(made)) as pieces:
                for piece in pieces:
                    if said := heard.take(piece):
                        length += len(said.strip())
                        yield said
            if rest := heard.close():
                length += len(rest.strip())
                yield rest
            trace.current().note(model=self.model, device=str(self.lm.model.device))
            if self.attention and self.attending:
                self._note(self.attending, cache, query, hits, corpus)
        trace.current().count(input_tokens=len(tokens), output_tokens=made.tokens)
        if thought := heard.parts[0]:
            trace.current().note(reasoning=thought)
        if not length:
            raise ModelError(
                f"the model {self.model} gave an empty answer" + (" after its reasoning" if thought else ""),
                fix="raise max_new_tokens" if thought and made.cut else "use another model or instruction",
            )
        if made.cut:
            trace.warn(f"{self.model} reached max_new_tokens ({self.max_new_tokens}): the answer is cut off")

    def reply(self, messages: Sequence[tuple[str, str]], limit: int) -> str:
        """What the model says to these messages, by its own attention."""
        tokens = self.lm.tokens(list(messages))
        if self.lm.window and len(tokens) + limit > self.lm.window:
            raise ModelError(f"the window of {self.model} holds {self.lm.window:,} tokens, too few for {len(tokens):,}")
        heard = Listening(opened=opens(self.lm.tokenizer.decode(tokens[-END:])))
        for piece in self.lm.stream(tokens, limit, temperature=self.temperature, seed=self.seed):
            heard.take(piece)
        return heard.parts[1]

    def looks(self, query: Query, answer: Answer, corpus: Corpus) -> list[Look]:
        """Where the heads that point at evidence looked, by reading prompt and answer once more; the model's table of
        heads is made where there is none yet (`fovea heads MODEL`). Raises ModelError for a model that cannot be looked
        at.
        """
        if not answer.hits:
            return []
        from fovea.pipelines.answering.layout import Layout
        from fovea.pipelines.answering.looks import looks
        from fovea.pipelines.answering.probing import known

        hits = self._given(query, answer.hits, corpus)
        layout = Layout.of(self.lm, query, hits, self.instruction, corpus)
        return looks(self.lm, known(self.lm, self.model), layout, answer, corpus)

    def heat(self, query: Query, answer: Answer, corpus: Corpus) -> Heat:
        """How much each word of the passages was looked at, by groups of heads: like `looks`, of all heads. Raises
        QueryError for an answer without passages.
        """
        if not answer.hits:
            raise QueryError("no passages were read, so there is nothing that was looked at")
        from fovea.pipelines.answering.heat import heat
        from fovea.pipelines.answering.layout import Layout
        from fovea.pipelines.answering.probing import found, known

        hits = self._given(query, answer.hits, corpus)
        layout = Layout.of(self.lm, query, hits, self.instruction, corpus)
        return heat(self.lm, known(self.lm, self.model), found(self.model, "copy"), layout, answer)

    def _given(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Sequence[Hit]:
        """The passages that the prompt holds."""
        return self.once.held(hits, corpus).hits if self.once else hits[: self._fit(query, hits, corpus)]

    @contextmanager
    def _cache(self, query: Query, given: Held | Sequence[Hit], tokens: Sequence[int], corpus: Corpus) -> Iterator[Any]:
        """What takes keys and values: one that holds texts already, a new one, or None for transformers' own."""
        empty = self.attending.cache(self.lm.model.config) if self.attending and not self.once else None
        if self.once and isinstance(given, Held):
            self.once.check_room(tokens)
            with self.once.open(given, corpus, tokens) as text:
                said = {
                    "text": given.where,
                    "from": text.found,
                    "tokens": text.tokens,
                    "then": len(tokens) - text.tokens,
                }
                trace.current().note(read={**said, "seconds": round(text.seconds, 3), "bytes": text.bytes})
                yield text.cache
        elif self.passages and not isinstance(given, Held):
            made, said = self.passages.compose(query, given, corpus, self.recompute)
            trace.current().note(read=said)
            yield made.cache(empty)
        else:
            yield empty

    def _note(self, attention: Attention, cache: Any, query: Query, hits: Sequence[Hit], corpus: Corpus) -> None:
        """What the attention did, and where the model looked, if that was kept."""
        trace.current().note(attention=attention.summary(cache))
        if (share := attention.attended(cache)) is not None:
            prompt, offsets = self.lm.prompt(messages(query, hits, self.instruction, corpus))
            trace.current().note(looked_at=looked_at(prompt, offsets, share, hits))

    def _fitting(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Sequence[Hit]:
        """As many of the first passages as leave room for the answer; the others are said to be dropped."""
        if (fits := self._fit(query, hits, corpus)) < len(hits):
            trace.warn(f"{len(hits) - fits} of {len(hits)} passages did not fit the window of {self.model}")
            for hit in hits[fits:]:
                trace.current().drop(hit, "no room in the model's window")
        return hits[:fits]

    def _fit(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> int:
        room = self.lm.window and self.lm.window - self.max_new_tokens
        if room is None or len(self._tokens(query, hits, corpus)) <= room:
            return len(hits)
        fits = bisect_right(range(len(hits)), room, key=lambda n: len(self._tokens(query, hits[:n], corpus))) - 1
        if fits < 1:
            first = len(self._tokens(query, hits[:1], corpus))
            raise QueryError(
                f"the window of {self.model} holds {self.lm.window:,} tokens; {self.max_new_tokens:,} for the answer, "
                f"the question and the first passage do not fit ({first:,} tokens)",
                fix="a lower max_new_tokens, smaller chunks, a shorter question or a model with a larger window",
            )
        return fits

    def _tokens(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[int]:
        return self.lm.tokens(messages(query, hits, self.instruction, corpus))

    def finish(self, text: str, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Answer:
        """The text without markers, each sentence with the evidence found for it."""
        given = self.once.held(hits, corpus).hits if self.once and hits else hits
        looks = partial(self._looked, query, corpus) if self.cite_with_attention else None
        return cite(text, given, corpus, question=query.text, looks=looks)

    def _looked(self, query: Query, corpus: Corpus, answer: Answer) -> list[Look]:
        try:
            return self.looks(query, answer, corpus)
        except (ModelError, QueryError) as error:
            trace.warn(f"cited by words alone: where {self.model} looked is not known: {error}")
            return []
