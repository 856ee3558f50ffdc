"""A question with what was said before it: rewritten to stand alone, and that in the trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fovea.pipelines.conversation import by_model, rule
from fovea.pipelines.conversation.settings import Conversation
from fovea.pipelines.conversation.turns import last
from fovea.rag.errors import FoveaError
from fovea.rag.generation import Generator
from fovea.rag.trace import Trace
from fovea.rag.types import Query, Turn


def standing_alone(query: Query, settings: Conversation, generator: Generator, trace: Trace) -> Query:
    """`query` with the text that is looked for, and the turns that a model is told. Without a history it is the very
    same and nothing is traced.

    Notes of the stage `rewrite`: `question` as given, `rewritten`, `standalone`, and `by` whom.
    """
    if not query.history:
        return query
    with trace.stage("rewrite") as stage:
        said = query.history[-settings.turns :] if settings.turns else ()
        told = last(query.history, settings.turns, settings.max_tokens)
        stage.count(turns=len(query.history), turns_told=len(told))
        text, by = query.text, "nobody"
        if said and settings.rewrite != "off":
            text, by = _rewritten(query.text, said, told, settings, generator)
        stage.note(question=query.text, rewritten=text, standalone=text == query.text, by=by)
        if any(turn not in said for turn in told):
            stage.warn("a turn of the conversation was cut: it is longer than conversation.max_tokens")
    return replace(query, text=text, history=told)


def _rewritten(
    question: str, said: Sequence[Turn], told: Sequence[Turn], settings: Conversation, generator: Generator
) -> tuple[str, str]:
    from fovea.rag import trace

    found, read = rule.rewritten(question, said), rule.is_english(question)
    asks = settings.rewrite == "model" and not (read and found == question)
    if not generator.replies or not (asks or (settings.rewrite == "auto" and not read)):
        return found, "rule"
    try:
        return by_model.rewritten(question, told, generator), "model"
    except by_model.Refused as error:
        trace.warn(f"what the model made of the question was refused ({error}): rewritten by rule")
    except FoveaError as error:
        trace.warn(f"the model could not be asked to rewrite the question ({error.what}): rewritten by rule")
    return found, "rule"
