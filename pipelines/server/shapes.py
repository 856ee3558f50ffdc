"""What requests hold: pydantic models, from which the OpenAPI description is made."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from fovea.rag.types import Document
from fovea.rag.written import Written

MOST_TURNS = 2000
MOST_HITS = 1000


class Turn(Written):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["user", "assistant"]
    content: str


class Question(Written):
    """What is asked."""

    model_config = ConfigDict(extra="forbid")
    question: str = Field(description="The question, of at most 20,000 characters.")
    k: int | None = Field(None, ge=1, le=MOST_HITS, description="How many passages at most.")
    where: str | None = Field(None, description="Keep passages whose fields match, such as year >= 2020.")
    as_of: str | None = Field(None, description="The moment of asking, in ISO 8601.")
    pipeline: str | None = Field(None, description="Which pipeline is asked; left out, the first.")
    history: list[Turn] = Field([], max_length=MOST_TURNS, description="The conversation before, oldest first.")

    def options(self) -> dict[str, Any]:
        """What `Pipeline.ask` takes beside the question."""
        turns = [turn.model_dump() for turn in self.history]
        return {"k": self.k, "where": self.where, "as_of": self.as_of, **({"history": turns} if turns else {})}


class Search(Question):
    """What is looked for."""

    trace: bool = Field(False, description="Whether to tell what each stage did.")


class Ask(Question):
    """What is to be answered."""

    stream: bool = Field(False, description="Whether the answer comes piece by piece, as server-sent events.")


class Text(Written):
    """A document that is no file."""

    model_config = ConfigDict(extra="forbid")
    text: str
    title: str = ""
    media_type: str = Field("text/plain", description="text/plain, text/markdown or text/html.")
    metadata: dict[str, StrictBool | StrictInt | StrictFloat | StrictStr] = Field(
        {}, max_length=1000, description="Fields that filters can name."
    )

    def document(self, document_id: str) -> Document:
        """As it is stored."""
        return Document(document_id, self.text, document_id, self.title, self.media_type, self.metadata)
