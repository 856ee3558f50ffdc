"""The two most important parameters together: a table whose cells are tinted by the mean of the first objective."""

from __future__ import annotations

from collections.abc import Sequence

from fovea.pipelines.sweep.record import TrialRecord
from fovea.pipelines.sweep.report.figures import LACKING, count
from fovea.pipelines.sweep.report.levels import levels, ordered
from fovea.pipelines.sweep.report.page.facts import Facts
from fovea.pipelines.sweep.report.page.markup import cut, note, table, text
from fovea.pipelines.sweep.report.ranking import direction, value

MOST = 12


def heat(facts: Facts) -> str:
    """The map; "" with fewer than two parameters that vary."""
    names = list(facts.importances[facts.main].shares)[:2] if facts.importances else []
    if len(names) < 2:
        return ""
    down, across = names
    found = {name: levels(facts.order, name) for name in names}
    rows, columns = (ordered(facts.order, n, found[n]) for n in names)
    cells = _cells(facts.order, facts.main, found[down], found[across])
    means = [mean for mean, _ in cells.values()]
    low, high = min(means, default=0.0), max(means, default=0.0)
    head = [f'<th scope="col">{text(down)} ↓ {text(across)} →</th>']
    head += [f'<th scope="col" class="n">{text(cut(c, 40))}</th>' for c in columns[:MOST]]
    body = []
    for row in rows[:MOST]:
        tinted = "".join(_cell(facts, cells.get((row, c)), low, high) for c in columns[:MOST])
        body.append(f'<tr><th scope="row">{text(cut(row, 40))}</th>{tinted}</tr>')
    caption = f"Mean {facts.main} by {down} and {across}, the two that explain most; the stronger the tint, the better"
    left = sum(max(0, len(one) - MOST) for one in (rows, columns))
    return table(caption, head, body, "heat") + note(f"{count(left, 'level')} left out." if left else "")


def _cells(
    trials: Sequence[TrialRecord], metric: str, down: Sequence[str | None], across: Sequence[str | None]
) -> dict[tuple[str, str], tuple[float, int]]:
    """By two levels, the mean of the trials that have both, and how many."""
    found: dict[tuple[str, str], list[float]] = {}
    for trial, a, b in zip(trials, down, across):
        x = value(trial, metric)
        if a is not None and b is not None and x is not None:
            found.setdefault((a, b), []).append(x)
    return {key: (sum(xs) / len(xs), len(xs)) for key, xs in found.items()}


def _cell(facts: Facts, cell: tuple[float, int] | None, low: float, high: float) -> str:
    if cell is None:
        return f'<td class="n">{LACKING}</td>'
    mean, n = cell
    share = (mean - low) / (high - low) if high > low else 0.0
    share = share if direction(facts.record, facts.main) == "maximise" else 1 - share
    of = f' <small title="{count(n, "trial")}">{n}</small>'
    return f'<td class="n" style="--v:{share:.2f}">{facts.figures.mean(facts.main, mean)}{of}</td>'
