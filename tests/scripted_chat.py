"""A LangChain chat model that replies by a script: `{words of the instruction: [replies]}`, the last one for ever."""

import json
from typing import Any

from langchain_core.language_models.chat_models import SimpleChatModel


class Scripted(SimpleChatModel):
    script: dict[str, list[Any]]
    label: str = "scripted"
    heard: list[Any] = []

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"label": self.label}

    def _call(self, messages, stop=None, run_manager=None, **kwargs) -> str:
        self.heard.append(messages)
        instruction = messages[0].content
        [word] = [word for word in self.script if word in instruction]
        replies = self.script[word]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, str) else json.dumps(reply)
