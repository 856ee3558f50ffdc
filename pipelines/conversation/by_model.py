"""A follow-up question rewritten by the generator's model, held to what was said: it may add no name and no number."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fovea.pipelines.answering.claims import names
from fovea.pipelines.answering.prompt import spoken
from fovea.pipelines.answering.reasoning import split
from fovea.rag.generation import Generator
from fovea.rag.stems import stems
from fovea.rag.types import Turn

INSTRUCTION = """\
You are given a conversation and its last question. Write that question so that it can be understood without the \
conversation: put names in the place of pronouns, and add what was left out. Change nothing else, answer nothing, and \
keep its language. If it can be understood already, repeat it. Reply with the question alone.\
"""
LIMIT = 128
"""Tokens of a reply."""
LONGER = 400
"""Characters by which a question may grow."""
_NUMBER = re.compile(r"\d+")
_LABEL = re.compile(r"\A\s*(?:(?:rewritten|last|standalone|new)\s+)?question\s*:\s*", re.IGNORECASE)


class Refused(Exception):
    """A reply that is no rewriting of the question; says why."""


def rewritten(question: str, told: Sequence[Turn], generator: Generator) -> str:
    """The question in the model's words. Raises Refused, and ModelError where the model cannot be asked."""
    asked = f"Conversation:\n{spoken(told)}\n\nLast question: {question}"
    reply = split(generator.reply([("system", INSTRUCTION), ("user", asked)], LIMIT))[1]
    return held_to(question, told, reply)


def held_to(question: str, told: Sequence[Turn], reply: str) -> str:
    """A reply without what frames it, as far as it is the question; raises Refused."""
    said = " ".join(_LABEL.sub("", reply).split())
    if len(said) > 1 and said[0] in "\"'“«" and said[-1] in "\"'”»":
        said = said[1:-1].strip()
    if not said:
        raise Refused("it is empty")
    if len(said) > len(question) + LONGER:
        raise Refused(f"it has {len(said):,} characters")
    before = " ".join([question, *(turn.content for turn in told)])
    known, numbers = stems(before), set(_NUMBER.findall(before))
    if new := [" ".join(name) for name in sorted(names(said)) if not known.issuperset(name)]:
        raise Refused(f"it names what nobody has named: {new[0]}…")
    if more := sorted(set(_NUMBER.findall(said)) - numbers):
        raise Refused(f"it gives a number that nobody has given: {more[0]}")
    if not stems(said) & known:
        raise Refused("it shares no word with the conversation")
    return question if said == " ".join(question.split()) else said
