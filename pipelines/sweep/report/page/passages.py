"""Passages as people read them: where they come from, and which of their characters are gold."""

from __future__ import annotations

from collections.abc import Sequence

from fovea.pipelines.evaluation.gold import Question
from fovea.pipelines.evaluation.outcome import Outcome, Place
from fovea.pipelines.sweep.record import Record
from fovea.pipelines.sweep.report.page.markup import cut, text

HITS, LONG, GOLD = 4, 420, 3
Span = tuple[int, int]


def gold(record: Record, question: Question) -> str:
    """What is right: reference answers, the gold spans with their text, graded documents."""
    lines = [f'<li dir="auto"><q>{text(cut(answer, 200))}</q></li>' for answer in question.answers[:GOLD]]
    for span in question.spans[:GOLD]:
        found = record.text(span.document, span.start, span.end)
        words = "its text is not at hand" if found is None else f"<mark>{text(cut(found, LONG))}</mark>"
        lines.append(f'<li dir="auto">{words} {_where(span.document, span.start, span.end)}</li>')
    graded = [f"{document} ({grade})" for document, grade in question.relevant.items()]
    if graded:
        lines.append(f"<li>relevant: {text(cut(', '.join(graded), 200))}</li>")
    left = max(0, len(question.answers) - GOLD) + max(0, len(question.spans) - GOLD)
    lines += [f"<li>and {left} more</li>"] if left else []
    return f'<h4>What is right</h4><ul class="gold">{"".join(lines)}</ul>' if lines else ""


def retrieved(record: Record, question: Question, outcome: Outcome | None) -> str:
    """The first passages of one trial, gold characters marked, and the answer."""
    if outcome is None:
        return "<p>not asked</p>"
    if outcome.failed:
        return f'<p class="reason">failed: {text(cut(outcome.failed, LONG))}</p>'
    answer = f'<p class="answer" dir="auto">{text(cut(outcome.answer, LONG))}</p>' if outcome.answer else ""
    items = "".join(_hit(record, question, hit) for hit in outcome.hits[:HITS])
    more = len(outcome.hits) - HITS
    left = f'<p class="note">and {more} more</p>' if more > 0 else ""
    return f'{answer}<ol class="hits">{items}</ol>{left}' if items else f"{answer}<p>nothing was retrieved</p>"


def _hit(record: Record, question: Question, hit: Place) -> str:
    document, start, end, score = hit
    found = record.text(document, start, end)
    marks = [
        (low - start, high - start)
        for gold in question.spans
        for there, low, high in gold.places
        if there == document and low < end and high > start
    ]
    kind = "has" if marks or document in question.relevant else "lacks"
    words = "<i>its text is not at hand</i>" if found is None else marked(found, marks)
    return f'<li class="{kind}"><p dir="auto">{words}</p>{_where(document, start, end)} <small>{score:.3g}</small></li>'


def _where(document: str, start: int, end: int) -> str:
    return f"<small><bdi>{text(cut(document, 80))}</bdi> {start}–{end}</small>"


def marked(passage: str, marks: Sequence[Span], most: int = LONG) -> str:
    """A window of at most `most` characters, over the first mark where there is one, as HTML; marked characters stand
    in `<mark>`. Marks are half-open, may overlap and may reach over the ends."""
    begin, end = _window(len(passage), marks, most)
    parts, at = ["…" if begin else ""], begin
    for low, high in _joined(marks):
        low, high = max(low, at), min(high, end)
        if low < high:
            parts += [text(passage[at:low]), f"<mark>{text(passage[low:high])}</mark>"]
            at = high
    return "".join([*parts, text(passage[at:end]), "…" if end < len(passage) else ""])


def _window(length: int, marks: Sequence[Span], most: int) -> Span:
    if length <= most:
        return 0, length
    low = max(0, min((low for low, _ in marks), default=0))
    begin = 0 if low + most // 7 < most else min(low - most // 7, length - most)
    return begin, begin + most


def _joined(marks: Sequence[Span]) -> list[Span]:
    """Sorted, those that touch made one."""
    found: list[Span] = []
    for low, high in sorted(marks):
        if found and low <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], high)
        else:
            found.append((low, high))
    return found
