"""Where the time of a question goes: a line a stage, from the median to the 95th percentile."""

from __future__ import annotations

import numpy as np

from fovea.pipelines.sweep.record import TrialRecord
from fovea.pipelines.sweep.report.page.facts import Facts
from fovea.pipelines.sweep.report.page.markup import cut, note, text
from fovea.pipelines.sweep.report.page.scale import Scale, fitted, tick
from fovea.pipelines.sweep.report.ranking import by_question

TOP, STAGES, WIDTH, NAME, FIGURES, LINE = 4, 12, 720, 190, 150, 20
Times = dict[str, tuple[float, float]]
"""By stage, in the order in which they run, p50 and p95 in seconds."""


def timeline(facts: Facts) -> str:
    """The best trials and the baseline, on one scale."""
    trials = list({t.id: t for t in [*facts.order[:TOP], *([facts.base] if facts.base else [])]}.values())
    found = [(trial, times) for trial in trials if (times := stage_times(trial))]
    if not found:
        return note("No stage's time was measured.") if facts.order else ""
    end = max(at + p95 for _, times in found for at, _, p95 in _begun(times))
    unit, by = ("ms", 1000.0) if end < 2 else ("s", 1.0)
    made = "".join(_figure(facts, trial, _scaled(times, by), end * by, unit) for trial, times in found)
    return note(f"Time of a question, in {unit}. {HOW}") + made


HOW = (
    "A bar is the median of a stage and its line reaches to the 95th percentile; both stand at the right. A stage is "
    "drawn from where the medians before it end. What came from the cache has the time it once took."
)


def _scaled(times: Times, by: float) -> Times:
    return {stage: (p50 * by, p95 * by) for stage, (p50, p95) in times.items()}


def stage_times(trial: TrialRecord) -> Times:
    """Percentiles over the questions that did not fail and had the stage; `total` is left out."""
    seconds: dict[str, list[float]] = {}
    for outcome in trial.outcomes:
        for stage, taken in outcome.seconds.items() if not outcome.failed else ():
            if stage != "total":
                seconds.setdefault(stage, []).append(taken)
    return {stage: (float(np.median(x)), float(np.quantile(x, 0.95))) for stage, x in seconds.items()}


def _begun(times: Times) -> list[tuple[float, float, float]]:
    """Where each stage begins, its p50 and p95."""
    made, at = [], 0.0
    for p50, p95 in times.values():
        made.append((at, p50, p95))
        at += p50
    return made


def _figure(facts: Facts, trial: TrialRecord, times: Times, end: float, unit: str) -> str:
    shown = dict(list(times.items())[:STAGES])
    x = fitted([0.0, end], NAME, WIDTH - FIGURES)
    height = LINE * len(shown) + 18
    rows = [
        f'<g transform="translate(0 {i * LINE})">{_line(stage, *line, x)}</g>'
        for i, (stage, line) in enumerate(zip(shown, _begun(shown)))
    ]
    title = f"#{trial.number}" + (f", {facts.mark(trial)}" if facts.mark(trial) else "")
    left = f" {len(times) - len(shown)} more stages are not drawn." if len(times) > len(shown) else ""
    spoken = "; ".join(f"{stage} p50 {_short(a)} {unit}, p95 {_short(b)} {unit}" for stage, (a, b) in shown.items())
    return (
        f'<figure class="stages"><figcaption><b>{text(title)}</b>{_total(trial)}{left}</figcaption>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="Stages of {text(title)}">'
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{text(spoken)}">{_grid(x, height)}{"".join(rows)}'
        "</svg></div></figure>"
    )


def _total(trial: TrialRecord) -> str:
    found = sorted(by_question(trial, "seconds").values())
    if not found:
        return ""
    p50, p95 = np.median(found), np.quantile(found, 0.95)
    return f": {_short(float(p50))} s a question, {_short(float(p95))} s at the 95th percentile."


def _grid(x: Scale, height: int) -> str:
    y = height - 3
    lines = [f'<path class="grid" d="M{x(t)} 0V{y - 13}"/>' for t in x.ticks()]
    lines += [f'<text class="mid" x="{x(t)}" y="{y}">{tick(t)}</text>' for t in x.ticks()]
    return "".join(lines) + f'<text x="{WIDTH - 4}" y="{y}" class="end">p50 · p95</text>'


def _line(name: str, at: float, p50: float, p95: float, x: Scale) -> str:
    start, mid, end = x(at), x(at + p50), x(at + p95)
    return (
        f'<text x="{NAME - 8}" y="14" class="end">{text(cut(name, 30))}</text>'
        f'<path class="whisker-line" d="M{mid} 10H{end}V6V14"/>'
        f'<rect class="bar" x="{start}" y="4" width="{max(1.0, mid - start):.1f}" height="12"/>'
        f'<text x="{WIDTH - 4}" y="14" class="end">{_short(p50)} · {_short(p95)}</text>'
    )


def _short(x: float) -> str:
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}"
