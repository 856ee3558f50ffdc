"""ModelWriter: what generators have in common that ask a model elsewhere: prompt, errors, what is told of the run.

Such a generator says how its client is asked (`said`, `asaid`); each piece of the reply is a `Said`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from fovea.pipelines.answering.citing import cite
from fovea.pipelines.answering.prompt import INSTRUCTION, messages
from fovea.pipelines.answering.reasoning import Listening
from fovea.pipelines.answering.refusals import NO_ANSWER
from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.errors import FoveaError, ModelError
from fovea.rag.generation import Generator
from fovea.rag.provider_errors import explain
from fovea.rag.types import Answer, Hit, Query

CUT = frozenset({"length", "max_tokens", "max_output_tokens", "model_context_window_exceeded"})
REFUSED = frozenset({"content_filter", "refusal", "safety", "recitation", "blocklist", "prohibited_content"})
"""Words by which providers say why a model stopped."""

Messages = Sequence[tuple[str, str]]


class Said(NamedTuple):
    """One piece of a reply: text, what was thought aloud apart from it, tokens so far, and why the model stopped."""

    text: str = ""
    thought: str = ""
    tokens: tuple[int, int] | None = None
    """Of the prompt and of the reply; those of a later piece are added."""
    stopped: str = ""


class ModelWriter(Generator):
    """Asks a model with numbered passages. Its tokens are counted in the trace where it reports them.

    Raises ModelError for whatever the client raises, and for an empty answer. Without passages no model is asked.
    """

    replies: ClassVar[bool] = True

    instruction: str = INSTRUCTION
    """The system message: how to answer and cite."""

    @abstractmethod
    def said(self, messages: Messages, limit: int | None = None) -> Iterator[Said]:
        """The pieces as they come; at most `limit` tokens where the client can be told so. Closed in the middle, it
        lets go of the connection."""

    @abstractmethod
    def asaid(self, messages: Messages) -> AsyncIterator[Said]:
        """Like `said`, on the event loop."""

    @property
    @abstractmethod
    def called(self) -> str:
        """The model's name for people."""

    def explained(self, error: Exception, length: int) -> FoveaError:
        """What the client raised, after so many characters of the answer, as an error that says what mends it."""
        return explain(error, self.called, length)

    def stream(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Iterator[str]:
        """The text as the model makes it; in one piece if it cannot stream."""
        if not hits:
            yield _no_passages()
            return
        yield from self._told(messages(query, hits, self.instruction, corpus))

    def _told(self, asked: Messages, limit: int | None = None) -> Iterator[str]:
        told = Told(self.called)
        try:
            with closing(self.said(asked, limit)) as pieces:  # type: ignore[type-var]
                for said in pieces:
                    if piece := told.take(said):
                        yield piece
        except Exception as error:  # every client raises its own kinds
            raise self.explained(error, told.length) from error
        if piece := told.close():
            yield piece

    async def astream(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> AsyncIterator[str]:
        """Like `stream`, on the event loop by the client's own asynchronous way."""
        if not hits:
            yield _no_passages()
            return
        told = Told(self.called)
        try:
            async with aclosing(self.asaid(messages(query, hits, self.instruction, corpus))) as pieces:  # type: ignore[type-var]
                async for said in pieces:
                    if piece := told.take(said):
                        yield piece
        except Exception as error:  # every client raises its own kinds
            raise self.explained(error, told.length) from error
        if piece := told.close():
            yield piece

    def reply(self, messages: Messages, limit: int) -> str:
        """What the model says to these messages."""
        with trace.Trace().stage("reply"):
            return "".join(self._told(messages, limit))

    def finish(self, text: str, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Answer:
        """The text without markers, each sentence with the evidence found for it."""
        return cite(text, hits, corpus, question=query.text)


@dataclass
class Told:
    """What a model has said so far: how much text, what it thought aloud, how many tokens, and why it stopped."""

    model: str
    length: int = 0
    tokens: tuple[int, int] | None = None
    stopped: set[str] = field(default_factory=set)
    heard: Listening = field(default_factory=Listening)
    thoughts: list[str] = field(default_factory=list)

    def take(self, said: Said) -> str:
        """What of a piece is known to be answer."""
        text = self.heard.take(said.text) if said.text else ""
        self.length += len(text.strip())
        self.thoughts += [said.thought] if said.thought else []
        if said.tokens:
            before = self.tokens or (0, 0)
            self.tokens = before[0] + said.tokens[0], before[1] + said.tokens[1]
        self.stopped |= {said.stopped.lower()} if said.stopped else set()
        return text

    def close(self) -> str:
        """What of the answer was held back. Reports tokens and reasoning; a cut answer is a warning, one without words
        or refused an error.
        """
        stage, rest = trace.current(), self.heard.close()
        self.length += len(rest.strip())
        stage.note(model=self.model)
        if thought := "".join(self.thoughts) or self.heard.parts[0]:
            stage.note(reasoning=thought)
        if self.tokens:
            stage.count(input_tokens=self.tokens[0], output_tokens=self.tokens[1])
        if self.stopped & REFUSED:
            raise ModelError(
                f"{self.model} stopped after {self.length} characters: the provider's filter held the answer back",
                fix="ask in other words, or use another model",
            )
        if not self.length:
            raise ModelError(
                f"{self.model} gave an empty answer (stopped: {', '.join(sorted(self.stopped)) or 'no reason given'})",
                fix="raise max_tokens (a reasoning model may spend all of them on thinking), or use another model",
            )
        if self.stopped & CUT:
            trace.warn(f"{self.model} reached its limit of tokens: the answer is cut off")
        return rest


def _no_passages() -> str:
    trace.current().note(no_answer="no passages came back, so the model was not asked")
    return NO_ANSWER
