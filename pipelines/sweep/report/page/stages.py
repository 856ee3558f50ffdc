"""Where the time of a question goes: a line a stage, from the median to the 95th percentile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.sweep.record import TrialRecord
from pipelines.sweep.report.page.facts import Facts
from pipelines.sweep.report.page.markup import cut, note, text
from pipelines.sweep.report.page.scale import fitted, tick

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
    made = "".join(_figure(facts, trial, times, end * by, unit, by) for trial, times in found)
    how = "A bar is the median of a stage, its line reaches to the 95th percentile; stages begin where the median of the one before ends."
    return note(f"Time of a question, in {unit}. {how} What came from the cache has the time it once took.") + made


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


def _figure(facts: Facts, trial: TrialRecord, times: Times, end: float, unit: str, by: float) -> str:
    shown = list(times.items())[:STAGES]
    x = fitted([0.0, end], NAME, WIDTH - FIGURES)
    height = LINE * len(shown) + 22
    lines = [_line(name, at, p50 * by, p95 * by, x) for (name, (p50, p95)), at in zip(shown, _places(shown, by))]
    floor = height - 18
    grid = "".join(
        f'<path class="grid" d="M{x(t)} 0V{floor}"/><text class="mid" x="{x(t)}" y="{height - 4}">{tick(t)}</text>'
        for t in x.ticks()
    )
    rows = "".join(f'<g transform="translate(0 {i * LINE})">{line}</g>' for i, line in enumerate(lines))
    word = facts.mark(trial)
    title = f"#{trial.number}" + (f", {word}" if word else "")
    left = f" {len(times) - len(shown)} more stages are not drawn." if len(times) > len(shown) else ""
    return (
        f'<figure class="stages"><figcaption><b>{text(title)}</b>{left}</figcaption><div class="scroll" tabindex="0" role="region" aria-label="stages of {text(title)}">'
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{text(title)}: {text(_spoken(shown, unit, by))}">{grid}{rows}</svg></div></figure>'
    )


def _places(shown: Sequence[tuple[str, tuple[float, float]]], by: float) -> list[float]:
    return [at * by for at, _, _ in _begun(dict(shown))]


def _line(name: str, at: float, p50: float, p95: float, x: object) -> str:
    start, mid, end = (x(v) for v in (at, at + p50, at + p95))  # type: ignore[operator]
    return (
        f'<text x="{NAME - 8}" y="14" class="end">{text(cut(name, 30))}</text><path class="whisker-line" d="M{mid} 10H{end}V6V14"/>'
        f'<rect class="bar" x="{start}" y="4" width="{max(1.0, mid - start):.1f}" height="12"/>'
        f'<text x="{WIDTH - 4}" y="14" class="end">{_short(p50)} · {_short(p95)}</text>'
    )


def _short(x: float) -> str:
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}"


def _spoken(shown: Sequence[tuple[str, tuple[float, float]]], unit: str, by: float) -> str:
    return "; ".join(
        f"{name} p50 {_short(p50 * by)} {unit}, p95 {_short(p95 * by)} {unit}" for name, (p50, p95) in shown
    )
