"""The settings of conversations: `conversation: {rewrite: rule, turns: 6}`."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, NonNegativeInt

from fovea.rag.written import Written


class Conversation(Written):
    """What is made of what was said before a question."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rewrite: Literal["auto", "model", "rule", "off"] = "auto"
    """Who rewrites a follow-up question so that it stands alone: the generator's `model`, a `rule` that carries on
    names and topics (it reads English), or nobody; `auto` takes the rule where it can read the question, else the model
    where the generator has one."""

    turns: NonNegativeInt = 6
    """How many turns back are looked at, and told to a model that answers; a question and its answer are two."""

    max_tokens: NonNegativeInt = 1000
    """The most tokens of them (words and marks) that a model is told."""
