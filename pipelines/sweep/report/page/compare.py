"""Two trials question by question: wins, losses and ties, and what each of them retrieved where they differ most."""

from __future__ import annotations

from itertools import combinations

from fovea.pipelines.evaluation.gold import Question
from fovea.pipelines.evaluation.outcome import Outcome
from fovea.pipelines.sweep.record import Direction, TrialRecord
from fovea.pipelines.sweep.report.figures import count
from fovea.pipelines.sweep.report.page.facts import Facts
from fovea.pipelines.sweep.report.page.headline import in_words
from fovea.pipelines.sweep.report.page.markup import cut, note, text
from fovea.pipelines.sweep.report.page.passages import gold, retrieved
from fovea.pipelines.sweep.report.ranking import direction
from fovea.pipelines.sweep.report.significance import Difference, difference

TOP, FIRST, NEXT, STROKES = 3, 10, 4, 300
"""The first TOP trials and the baseline, in pairs: FIRST questions of the first pair, NEXT of every other."""
BUDGET = 120_000
"""Bytes of HTML that the questions may take together, so that the page stays small."""


def comparisons(facts: Facts) -> str:
    """A block a pair, the winner against the baseline first; a script of the page lets one choose."""
    trials = list({t.id: t for t in [*facts.order[:TOP], *([facts.base] if facts.base else [])]}.values())
    pairs = sorted(combinations(trials, 2), key=lambda pair: not (facts.best in pair and facts.base in pair))
    found = [d for a, b in pairs if (d := _pair(facts, a, b)) is not None]
    if not found:
        return note("Fewer than two trials have values by question, so none can be compared.") if facts.order else ""
    left, blocks = BUDGET, []
    for at, one in enumerate(found):
        block = _block(facts, one, FIRST if at == 0 else NEXT, left, shown=at == 0)
        left -= len(block.encode())
        blocks.append(block)
    return f'<div class="pairs">{"".join(blocks)}</div>'


def _pair(facts: Facts, a: TrialRecord, b: TrialRecord) -> Difference | None:
    tests = facts.to_base if b is facts.base else facts.to_best if b is facts.best else {}
    return tests.get(a.id) or difference(a, b, facts.main)


def _title(facts: Facts, d: Difference) -> str:
    return " against ".join(_called(facts, trial) for trial in (d.trial, d.other))


def _called(facts: Facts, trial: TrialRecord) -> str:
    word = facts.mark(trial)
    return f"#{trial.number} ({word})" if word in ("best", "baseline") else f"#{trial.number}"


def _block(facts: Facts, d: Difference, most: int, budget: int, *, shown: bool) -> str:
    towards = direction(facts.record, facts.main)
    won, lost, tied = d.counts(towards)
    line = f"{in_words(facts, d)} in {facts.main}: {won} won, {lost} lost, {tied} tied"
    line += f"; {count(d.left_out, 'question')} without a value of both left out." if d.left_out else "."
    title, state = text(_title(facts, d)), " open" if shown else ""
    body = f'<p>{text(line)}</p>{_strip(d, towards)}<div class="questions">{_questions(facts, d, most, budget)}</div>'
    summary = f"<summary><h3>{title}</h3></summary>"
    return f'<details class="pair" data-title="{title}"{state}>{summary}{body}</details>'


def _questions(facts: Facts, d: Difference, most: int, budget: int) -> str:
    """Those with the largest difference, as many as `most` and the budget allow."""
    asked = {q.id: q for q in facts.record.questions.questions}
    largest = [i for i in sorted(range(len(d.values)), key=lambda i: -abs(d.values[i])) if d.values[i]]
    items: list[str] = []
    for i in largest[:most]:
        question = asked.get(d.questions[i], Question(d.questions[i], d.questions[i]))
        item = _question(facts, d, float(d.values[i]), question)
        budget -= len(item.encode())
        if budget < 0:
            return "".join([*items, note("Further questions are left out to keep this page small.")])
        items.append(item)
    return "".join(items)


def _strip(d: Difference, towards: Direction) -> str:
    """All differences, sorted: a stroke a question, in the accent where the first trial is the better one."""
    values = sorted(d.values.tolist(), reverse=towards == "maximise")
    label = f"Differences of {count(len(values), 'question')}, sorted"
    if len(values) > STROKES:
        values = [values[round(i * (len(values) - 1) / (STROKES - 1))] for i in range(STROKES)]
        label += f", {STROKES} of them at equal steps"
    top, wide = max(map(abs, values)) or 1.0, 600 / len(values)
    paths = ["", ""]
    for i, v in enumerate(values):
        if v:
            paths[(v < 0) == (towards == "maximise")] += f"M{(i + 0.5) * wide:.1f} 40V{40 - 38 * v / top:.1f}"
    width = f'stroke-width="{max(0.6, min(8.0, wide * 0.7)):.1f}"'
    return (
        f'<svg class="strip" viewBox="0 0 600 80" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f'<title>{label}</title><path class="grid" d="M0 40H600"/><path class="won" {width} d="{paths[0]}"/>'
        f'<path class="lost" {width} d="{paths[1]}"/></svg>'
    )


def _question(facts: Facts, d: Difference, value: float, question: Question) -> str:
    sides = "".join(_side(facts, d, trial, question) for trial in (d.trial, d.other))
    figure = facts.figures.mean(facts.main, value, sign=True)
    asked = f'<span dir="auto">{text(cut(question.text, 240))}</span> <small>{text(cut(question.id, 60))}</small>'
    return (
        f'<details class="q"><summary><span class="n">{figure}</span> {asked}</summary>'
        f'{gold(facts.record, question)}<div class="sides">{sides}</div></details>'
    )


def _side(facts: Facts, d: Difference, trial: TrialRecord, question: Question) -> str:
    outcome = _outcome(trial, question.id)
    score = outcome.scores.get(d.metric) if outcome else None
    head = f"#{trial.number}" + ("" if score is None else f": {facts.figures.mean(d.metric, score)}")
    return f"<div><h4>{text(head)}</h4>{retrieved(facts.record, question, outcome)}</div>"


def _outcome(trial: TrialRecord, question: str) -> Outcome | None:
    return next((o for o in trial.outcomes if o.question == question), None)
