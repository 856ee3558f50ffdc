"""What a request to `/v1/chat/completions` holds. What clients send beside it is read and does nothing; what would
change the answer's shape is refused."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from fovea.pipelines.server.problems import Problem
from fovea.pipelines.server.shapes import MOST_TURNS
from fovea.rag.written import Written


class Part(Written):
    """A part of a message; only texts can be asked."""

    model_config = ConfigDict(extra="allow")
    type: str
    text: str | None = None


class Message(Written):
    """One message of the conversation."""

    model_config = ConfigDict(extra="allow")
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None

    def text(self) -> str:
        """The text of all parts; raises Problem for a picture and the like."""
        if not isinstance(self.content, list):
            return self.content or ""
        if odd := next((part for part in self.content if part.type != "text"), None):
            raise Problem(400, f"only texts can be asked, not {odd.type[:40]!r}", where="messages")
        return "\n".join(part.text or "" for part in self.content)


class StreamOptions(Written):
    """How a stream ends."""

    model_config = ConfigDict(extra="allow")
    include_usage: bool | None = False


class Completion(Written):
    """A question with the conversation before it, in OpenAI's shape."""

    model_config = ConfigDict(extra="allow")
    model: str = Field(description="The name of a pipeline.")
    messages: list[Message] = Field(min_length=1, max_length=MOST_TURNS)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: int | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    where: str | None = Field(None, description="Ours: keep passages whose fields match (`extra_body`).")
    as_of: str | None = Field(None, description="Ours: the moment of asking.")
    k: int | None = Field(None, ge=1, le=1000, description="Ours: how many passages at most.")

    def question(self) -> str:
        """The last message, which is the user's; raises Problem for what this server cannot do."""
        if self.n not in (None, 1):
            raise Problem(400, "there is one answer to a question", where="n", fix="n: 1, or leave it out")
        if self.tools or self.functions:
            raise Problem(400, "a pipeline calls no tools", where="tools", fix="leave them out")
        if self.response_format and self.response_format.get("type", "text") != "text":
            raise Problem(400, "answers are texts with citations", where="response_format", fix="leave it out")
        if self.messages[-1].role != "user":
            raise Problem(400, "the last message is the question, with the role 'user'", where="messages")
        return self.messages[-1].text()

    def options(self) -> dict[str, Any]:
        """What `Pipeline.ask` takes beside the question. Instructions (`system`) are the pipeline's own."""
        turns = [
            {"role": message.role, "content": message.text()}
            for message in self.messages[:-1]
            if message.role in ("user", "assistant") and message.text()
        ]
        options = {"k": self.k, "where": self.where, "as_of": self.as_of}
        return options | ({"history": turns} if turns else {})
