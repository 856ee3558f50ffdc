"""Contextual retrieval: a chat model reads the document and says in a sentence or two where a passage of it stands
(Anthropic, "Introducing Contextual Retrieval", 2024).

situate: {use: chat, model: "openai:gpt-4o-mini"}

One question a chunk, with the document in front, so that providers which remember the beginning of a prompt read it
once. Replies are kept by what was asked (`fovea.rag.replies`): taking the same documents in again, with another weight
or in another store, asks nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from hashlib import blake2b
from typing import Any

from pydantic import PositiveInt

from fovea.rag import trace
from fovea.rag.chat import ChatModel
from fovea.rag.component import SpeedOnly
from fovea.rag.errors import ModelError
from fovea.rag.provider_errors import explain
from fovea.rag.replies import Replies
from fovea.rag.situator import Situator
from fovea.rag.types import Chunk, Document
from fovea.rag.windows import around

INSTRUCTION = """\
You make passages of documents easy to find. You are given a document, or a long part of one, and a passage of it. In \
one or two short sentences, say what the passage is about and where in the document it stands. Name the persons, \
things, places and times that the passage itself only points at. Say nothing that the document does not say. Answer in \
the language of the passage, with these sentences alone."""
LONGEST = 1000
"""Characters of a reply; a longer one situates nothing, it tells."""
PATIENCE = 3
"""So many failures in a row, and the rest of the document is not asked about."""


class ChatSituator(ChatModel, Situator, name="chat"):
    """What a chat model says of each chunk's place. A chunk about which it fails is counted as a warning and indexed as
    it is; it is asked about again when its document is taken in again.
    """

    separator: str = "\n"
    """Stands between what is said and the chunk, where they are encoded as one text."""
    instruction: str = INSTRUCTION
    """The system message: what to say of a passage."""
    characters: PositiveInt = 20_000
    """How much of the document around a passage the model reads; of a longer one the rest is not shown."""
    parallel: SpeedOnly[PositiveInt] = 4
    """Questions asked at the same time."""

    def texts(self, document: Document, chunks: Sequence[Chunk]) -> list[str]:
        """What the model says of each chunk; raises MissingExtra and ModelError where there is no model to ask."""
        prompts = [self.prompt(document, chunk) for chunk in chunks]
        keys = tuple(map(self._key, prompts))
        if keys not in self._last:  # Vectors and words ask for the same: what failed a moment ago is not asked again.
            found = self._replies.get(list(dict.fromkeys(keys)))
            found |= self._ask({key: prompt for key, prompt in zip(keys, prompts) if key not in found})
            self._last.clear()
            self._last[keys] = [found.get(key, "") for key in keys]
        return list(self._last[keys])

    def prompt(self, document: Document, chunk: Chunk) -> str:
        """What is asked about a chunk: `characters` of the document around it, then the chunk."""
        start, end = around(chunk.start, chunk.end, self.characters, len(document.text))
        title = f"The document's title: {document.title}\n\n" if document.title else ""
        return (
            f"{title}<document>\n{document.text[start:end]}\n</document>\n\n<passage>\n{chunk.text}\n</passage>\n\n"
            "What is this passage about, and where in the document does it stand?"
        )

    def _key(self, prompt: str) -> str:
        """Names the reply to a prompt by all that decides it."""
        asked = [self.model, self.temperature, self.max_tokens, self.base_url, self.options, self.instruction, prompt]
        return blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=16).hexdigest()

    @cached_property
    def _replies(self) -> Replies:
        return Replies()

    @cached_property
    def _last(self) -> dict[tuple[str, ...], list[str]]:
        return {}

    def _ask(self, prompts: Mapping[str, str]) -> dict[str, str]:
        """The replies of the model, by key; what fails is left out and counted."""
        if not prompts:
            return {}
        client, failed, replies = self.client, Counter[str](), self._replies
        in_a_row: list[str] = []

        def reply(key: str, prompt: str) -> tuple[str, Any]:
            if len(in_a_row) >= PATIENCE:
                return in_a_row[-1], None
            try:
                made = client.invoke([("system", self.instruction), ("human", prompt)])
                replies.put(key, _checked(str(made.text), self.model))
            except Exception as error:  # every provider raises its own kinds
                in_a_row.append(explain(error, self.model).what)
                return in_a_row[-1], None
            in_a_row.clear()
            return "", made

        with ThreadPoolExecutor(self.parallel) as pool:
            for why, made in pool.map(reply, prompts, prompts.values()):
                failed.update([why] if why else [])
                if usage := getattr(made, "usage_metadata", None):
                    trace.current().count(input_tokens=usage["input_tokens"], output_tokens=usage["output_tokens"])
        for why, times in failed.items():
            trace.warn(f"chunks were not situated: {why}", times)
        trace.current().count(asked=len(prompts) - failed.total())
        return replies.get(list(prompts))


def _checked(reply: str, model: str) -> str:
    """The reply with its white space made even; raises ModelError for one that situates nothing."""
    said = " ".join(reply.split())
    if not said or len(said) > LONGEST:
        raise ModelError(
            f"the model {model} gave {len(said) or 'no'} characters, where a sentence or two were asked for"
        )
    return said
