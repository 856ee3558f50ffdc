"""A case as tokens: the longest text that fits a length, and behind it what differs from question to question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

from fovea.pipelines.bench.longcontext.task import Case, Question, Task
from fovea.rag.causal_lm import CausalLM
from fovea.rag.errors import ConfigError

TAIL = 3
"""Tokens that are read behind what questions share, at the least: one token alone would be taken for an answer's."""


@dataclass(frozen=True)
class Prompt:
    """`prefix` is common to all questions; a question's tokens are `prefix` and its tail."""

    prefix: list[int]
    questions: list[tuple[Question, list[int]]]


def fit(task: Task, case: Case, lm: CausalLM, length: int) -> Prompt:
    """With as many of the case's units as `length` tokens allow, the chat template, question and lead among them.

    Raises ConfigError where nothing fits. O(length log length) tokenising.
    """
    units = list(islice(case.units, length))  # a unit is a token at least
    few, many = 0, len(units) + 1
    if _longest(_tokens(task, case, lm, units[:0])) > length:
        raise ConfigError(f"the task {task.name} does not fit {length:,} tokens", where="--lengths")
    while many - few > 1:
        middle = (few + many) // 2
        if _longest(_tokens(task, case, lm, units[:middle])) <= length:
            few = middle
        else:
            many = middle
    made = _tokens(task, case, lm, units[:few])
    lists = [ids for _, ids in made]
    shared = len(list(takewhile(lambda same: same, (len(set(column)) == 1 for column in zip(*lists)))))
    shared = min(shared, *(len(ids) - TAIL for ids in lists))
    return Prompt(lists[0][:shared], [(question, ids[shared:]) for question, ids in made])


def _longest(made: Sequence[tuple[Question, list[int]]]) -> int:
    return max(len(ids) for _, ids in made)


def _tokens(task: Task, case: Case, lm: CausalLM, units: Sequence[str]) -> list[tuple[Question, list[int]]]:
    text = case.text(units)
    return [(question, _of(task, question, text, lm)) for question in case.questions(units)]


def _of(task: Task, question: Question, text: str, lm: CausalLM) -> list[int]:
    said = task.prompt.format(text=text, question=question.text)
    lead = lm.tokenizer(question.lead, add_special_tokens=False)["input_ids"] if question.lead else []
    return [*lm.tokens([("user", said)]), *lead]
