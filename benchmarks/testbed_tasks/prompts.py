"""Facts hidden in a page: prompts to measure with, and episodes to train on."""

from __future__ import annotations

import numpy as np

from benchmarks.testbed_tasks.page import Fact, Page, Prompt
from benchmarks.testbed_tasks.tasks import TASKS, Rng, key_value
from fovea.rag.errors import QueryError

NOTHING, TEXT, ANSWER = 0, 1, 2
"""What a token of an episode is learnt as: random by nature, text, or `ANSWER + i`, an answer of the i-th task."""
FIRST_MIX = {"text": 0.25, "key_value": 0.4, "copy": 0.25, "multi_needle": 0.1}
"""How often an episode is of each task on pages up to `FIRST` tokens: what makes induction heads form soonest."""
FIRST = 128
MIX = {
    "text": 0.22,
    "key_value": 0.24,
    "json_pairs": 0.09,
    "multi_needle": 0.12,
    "passkey": 0.03,
    "variable_tracking": 0.09,
    "frequent_word": 0.05,
    "count": 0.03,
    "copy": 0.13,
}
"""How often on longer ones."""


def make(task: str, page: Page, length: int, depth: float, seed: int) -> Prompt:
    """The prompt of `task` with `len(prompt) + len(answer) == length`, the same for the same seed.

    The asked fact stands at `depth` (0 the beginning, 1 just before the question) of the page; where a fact has several
    statements the first does. `frequent_word` fills the whole page and has no depth. Raises QueryError where the
    statements do not fit.
    """
    if task not in TASKS:
        raise QueryError(f"no testbed task {task!r}", allowed=TASKS, got=task)
    if not 0 <= depth <= 1:
        raise QueryError(f"depth is a share of the page from 0 to 1, got {depth}")
    sample = np.random.default_rng([seed, length, round(depth * 1000)])
    facts = TASKS[task].prompt_facts(sample, page, length)
    asked = facts[0]
    room = length - len(asked.question) - len(asked.answer)
    body, places = hide(sample, page, facts, room, depth)
    return Prompt([*body.tolist(), *asked.question], asked.answer, places[: len(asked.statements)])


def hide(rng: Rng, page: Page, facts: list[Fact], room: int, depth: float) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """`room` tokens of filler with all statements in it, the first of the first fact at `depth`; where each lies."""
    statements = [statement for fact in facts for statement in fact.statements]
    spare = room - sum(map(len, statements))
    if spare < 0:
        raise QueryError(f"{room} tokens are too few for {len(statements)} statements", fix="ask for a longer prompt")
    filler, depths = (
        page.text(rng, spare),
        (rng.permutation(len(statements)) + rng.random(len(statements))) / len(statements),
    )
    depths[0] = depth
    parts, places, at, done = [], [(0, 0)] * len(statements), 0, 0
    for i in np.argsort(depths, kind="stable"):
        cut = round(depths[i] * spare)
        parts += [filler[done:cut], np.array(statements[i], dtype=np.int64)]
        at += cut - done
        places[i] = (at, at + len(statements[i]))
        at, done = places[i][1], cut
    return np.concatenate([*parts, filler[done:]]), places


def episode(rng: Rng, page: Page, length: int) -> tuple[np.ndarray, np.ndarray]:
    """`length` tokens to train on and what each is learnt as (see `NOTHING`).

    Many questions follow one page, since a lookup is learnt from answers; half of the page's tasks leave room for text.
    """
    mix = FIRST_MIX if length <= FIRST else MIX
    name = str(rng.choice(list(mix), p=list(mix.values())))
    if name == "text":
        return page.text(rng, length), np.full(length, TEXT)
    facts, asked = _drawn(rng, page, name, length)
    tail = [(fact.question, fact.answer) for fact in asked]
    answer = ANSWER + list(TASKS).index(name)
    kinds = [k for q, a in tail for k in (*[NOTHING] * len(q), *[answer] * len(a))]
    body, places = hide(rng, page, facts, length - len(kinds), float(rng.random()))
    learnt = np.full(len(body), TEXT)
    for start, end in places:
        learnt[start : end + 1] = NOTHING
    tokens = [token for q, a in tail for token in (*q, *a)]
    return np.concatenate([body, np.array(tokens, dtype=np.int64)]), np.concatenate([learnt, kinds])


def _drawn(rng: Rng, page: Page, name: str, length: int) -> tuple[list[Fact], list[Fact]]:
    """Facts of a task that fit `length` together with questions about some of them, in random order."""
    task = TASKS[name]
    if name == "frequent_word":
        facts = task.facts(rng, page, int(rng.integers(24, length - 8)))
        return facts, facts
    probe = task.facts(np.random.default_rng(0), page, 1)[0]
    said, asked = sum(map(len, probe.statements)), len(probe.question) + len(probe.answer)
    most = (length - 8) // (said + asked) if name != "count" else 1
    if name not in ("key_value", "json_pairs", "copy"):
        most = min(most, 12)
    count = int(rng.integers(max(1, most // 8), most + 1))
    if name == "key_value":
        facts = key_value(rng, page, count, width=1 if count <= 100 and rng.random() < 0.5 else 2)
    else:
        facts = task.facts(rng, page, count)
    return facts, [facts[i] for i in rng.permutation(len(facts))[:200]]
