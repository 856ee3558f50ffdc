"""A study in a few lines for the terminal."""

from __future__ import annotations

import re

from rich.cells import cell_len, set_cell_size

from fovea.pipelines.sweep.record import Record, TrialRecord
from fovea.pipelines.sweep.report.figures import Figures, count
from fovea.pipelines.sweep.report.pareto import pareto
from fovea.pipelines.sweep.report.ranking import BESIDE, baseline, changes, first, metrics, ranked, varied

TOP = 10


def summary(record: Record) -> str:
    """The ten best trials with their intervals, the Pareto front marked, and how many were left out of the ranking."""
    order = ranked(record)
    front = {trial.id for trial in pareto(record)}
    lines = [_heading(record, order, len(front))]
    if not order:
        return "\n".join([*lines, *_reasons(record)])
    figures = Figures(record)
    rows = [_row(record, figures, place, trial, front) for place, trial in enumerate(order[:TOP], 1)]
    base = baseline(record)
    if base in order[TOP:]:
        rows.append(_row(record, figures, order.index(base) + 1, base, front))
    lines += ["", *_aligned([_header(record), *rows])]
    if len(order) > TOP:
        lines.append(f"and {len(order) - TOP:,} more")
    lines.append("* on the Pareto front" + (", b the baseline" if base in order else ""))
    return "\n".join([*lines, *_reasons(record)])


def _heading(record: Record, order: list[TrialRecord], on_front: int) -> str:
    states = [sum(t.state == s for t in record.trials) for s in ("complete", "pruned", "failed")]
    found = f"{_plain(record.name)}: {count(len(record.trials), 'trial')}, {states[0]:,} complete"
    found += f", {states[1]:,} pruned, {states[2]:,} failed"
    if lost := len(record.complete) - len(order):
        found += f"; {lost:,} complete without {first(record) or 'an objective'}, not ranked"
    return found + (f"; {on_front:,} on the front" if on_front else "")


def _shown(record: Record) -> list[str]:
    found = metrics(record)
    return [m for m in dict.fromkeys([*record.objectives, *BESIDE]) if m in found]


def _header(record: Record) -> list[str]:
    return ["", "", "trial", *_shown(record), "n", "settings" if baseline(record) is None else "against the baseline"]


def _row(record: Record, figures: Figures, place: int, trial: TrialRecord, front: set[str]) -> list[str]:
    base = baseline(record)
    marks = ("*" if trial.id in front else "") + ("b" if trial is base else "")
    main = trial.values[first(record)]
    values = [figures.value(metric, trial.values.get(metric)) for metric in _shown(record)]
    what = ", ".join(changes(trial, base, varied(record.complete)))
    return [f"{place}", marks, f"#{trial.number}", *values, f"{main.n}/{main.of}", what]


def _aligned(rows: list[list[str]]) -> list[str]:
    rows = [[_plain(cell) for cell in row] for row in rows]
    widths = [max(cell_len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(set_cell_size(cell, width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _plain(line: str) -> str:
    """Without control characters, which a terminal would obey."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", "\ufffd", line)


def _reasons(record: Record) -> list[str]:
    """Failed trials by their reason, the most frequent first."""
    counts: dict[str, int] = {}
    for trial in record.trials:
        if trial.state == "failed":
            line = _plain(next(iter(trial.reason.splitlines()), "no reason was kept"))
            counts[line] = counts.get(line, 0) + 1
    shown = sorted(counts, key=lambda line: -counts[line])[:5]
    lines = [f"failed {counts[line]:,} times: {line}" if counts[line] > 1 else f"failed: {line}" for line in shown]
    left = len(counts) - len(shown)
    return [*lines, *([f"and {count(left, 'other reason')} of failure"] if left > 0 else [])]
