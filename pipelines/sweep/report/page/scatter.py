"""Quality against cost: a point a trial, the Pareto front as a stair."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.sweep.record import TrialRecord
from pipelines.sweep.report.figures import count
from pipelines.sweep.report.page.facts import Facts
from pipelines.sweep.report.page.markup import cut, note, text
from pipelines.sweep.report.page.scale import Scale, fitted, tick
from pipelines.sweep.report.pareto import pareto
from pipelines.sweep.report.ranking import COSTS, changes, direction, value

WIDTH, HEIGHT, LEFT, RIGHT, ABOVE, BELOW = 440, 320, 46, 16, 14, 40
MOST, PICTURES, LINES = 200, 3, 8


def scatters(facts: Facts) -> str:
    """A picture for each other objective and each cost against the first quality."""
    up = _quality(facts)
    across = [m for m in dict.fromkeys([*facts.record.objectives, *COSTS]) if m != up and m in facts.metrics]
    made = [picture for metric in across[:PICTURES] if (picture := _scatter(facts, metric, up))]
    if not made:
        return note("Neither a second objective nor seconds nor tokens were measured, so there is no trade to show.")
    left = f"Not drawn: {', '.join(across[PICTURES:])}." if len(across) > PICTURES else ""
    return f'<div class="pictures">{"".join(made)}</div>{note(left)}'


def _quality(facts: Facts) -> str:
    upward = [m for m, d in facts.record.objectives.items() if d == "maximise" and m in facts.metrics]
    return upward[0] if upward else facts.main


def _scatter(facts: Facts, across: str, up: str) -> str:
    both = [t for t in facts.record.complete if value(t, across) is not None and value(t, up) is not None]
    if not both:
        return ""
    front = pareto(facts.record, (across, up))
    shown = _shown(facts, both, front)
    x = fitted([value(t, across) or 0.0 for t in shown], LEFT, WIDTH - RIGHT, logs=True)
    y = fitted([value(t, up) or 0.0 for t in shown], HEIGHT - BELOW, ABOVE)
    front = sorted((t for t in front if t in shown), key=lambda t: value(t, across) or 0.0)
    places = [(x(value(t, across) or 0.0), y(value(t, up) or 0.0)) for t in front]
    is_front = {t.id for t in front}
    plain = [t for t in shown if t.id not in is_front and not _named(facts, t)]
    named = [t for t in shown if t.id in is_front or _named(facts, t)]
    title = f"{up} against {across}"
    left = f" {count(len(both) - len(shown), 'trial')} of lower rank not drawn." if len(both) > len(shown) else ""
    return (
        f'<figure class="scatter"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{text(title)}">'
        f"<title>{text(title)}</title>{_axes(x, y, across, up)}{_stair(places, direction(facts.record, across))}"
        f"{''.join(_point(facts, t, across, up, x, y, '') for t in plain)}"
        f"{''.join(_point(facts, t, across, up, x, y, _kind(facts, t, is_front)) for t in named)}"
        f"{_labels(facts, named, across, up, x, y)}</svg>"
        f"<figcaption><b>{text(title)}</b>{_wanted(facts, across, up)} {count(len(front), 'trial')} on the front.{left}"
        '<output class="tip" aria-live="polite"></output></figcaption></figure>'
    )


def _wanted(facts: Facts, across: str, up: str) -> str:
    sides = "left" if direction(facts.record, across) == "minimise" else "right"
    return f": best at the {'top' if direction(facts.record, up) == 'maximise' else 'bottom'} {sides}."


def _shown(facts: Facts, both: Sequence[TrialRecord], front: Sequence[TrialRecord]) -> list[TrialRecord]:
    """As many as a picture can hold: the front, the baseline, the best, then by rank."""
    wanted = [*front[:MOST], *([facts.base] if facts.base else []), *facts.order]
    has = {t.id for t in both}
    unique = {t.id: t for t in [*wanted, *both] if t.id in has}
    return list(unique.values())[:MOST]


def _named(facts: Facts, trial: TrialRecord) -> bool:
    return trial is facts.base or trial is facts.best


def _kind(facts: Facts, trial: TrialRecord, front: set[str]) -> str:
    return "best" if trial is facts.best else "base" if trial is facts.base else "front" if trial.id in front else ""


def _axes(x: Scale, y: Scale, across: str, up: str) -> str:
    floor = HEIGHT - BELOW
    parts = []
    for t in x.ticks():
        parts.append(f'<path class="grid" d="M{x(t)} {ABOVE}V{floor}"/>')
        parts.append(f'<text x="{x(t)}" y="{floor + 15}" class="mid">{tick(t)}</text>')
    for t in y.ticks(5):
        parts.append(f'<path class="grid" d="M{LEFT} {y(t)}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(t) + 4:.1f}" class="end">{tick(t)}</text>')
    logs = " (logarithmic)" if x.log else ""
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" class="end name">{text(across)}{logs} →</text>')
    parts.append(f'<text x="{LEFT + 4}" y="{ABOVE + 2}" class="name">↑ {text(up)}</text>')
    return "".join(parts)


def _stair(places: Sequence[tuple[float, float]], across: str) -> str:
    if len(places) < 2:
        return ""
    steps = [f"M{places[0][0]} {places[0][1]}"]
    for x, y in places[1:]:
        steps.append(f"H{x}V{y}" if across == "minimise" else f"V{y}H{x}")
    return f'<path class="stair" d="{"".join(steps)}"/>'


def _point(facts: Facts, t: TrialRecord, across: str, up: str, x: Scale, y: Scale, kind: str) -> str:
    at = f'cx="{x(value(t, across) or 0.0)}" cy="{y(value(t, up) or 0.0)}"'
    focus = ' tabindex="0"' if kind else ""
    r = {"best": 6, "base": 5, "front": 4.5}.get(kind, 3)
    return f'<circle class="p {kind}" {at} r="{r}"{focus}><title>{text(_tip(facts, t, across, up))}</title></circle>'


def _tip(facts: Facts, t: TrialRecord, across: str, up: str) -> str:
    """`#12: nDCG@10 0.731, seconds 0.82 · size 200 → 400`."""
    word = {"best": " (best)", "baseline": " (baseline)"}.get(facts.mark(t), "")
    values = ", ".join(f"{m} {facts.figures.mean(m, value(t, m))}" for m in (up, across))
    lines = changes(t, facts.base, facts.names)
    lines = [*lines[:LINES], f"and {len(lines) - LINES} more"] if len(lines) > LINES else lines
    same = "as the baseline" if facts.base and t is not facts.base and not lines else ""
    return f"#{t.number}{word}: {values}" + "".join(f" · {cut(line, 60)}" for line in [*lines, same] if line)


def _labels(facts: Facts, named: Sequence[TrialRecord], across: str, up: str, x: Scale, y: Scale) -> str:
    """Numbers beside the points, the best and the baseline first, each where it covers no other."""
    made: list[str] = []
    taken: list[tuple[float, float]] = []
    for t in sorted(named, key=lambda t: not _named(facts, t)):
        words = {"best": " best", "baseline": " baseline"}.get(facts.mark(t), "")
        px, py = x(value(t, across) or 0.0), y(value(t, up) or 0.0)
        right = px < WIDTH - RIGHT - 70
        at = (px + 9 if right else px - 9, py + 4)
        if any(abs(at[0] - a) < 46 and abs(at[1] - b) < 13 for a, b in taken):
            continue
        taken.append(at)
        made.append(
            f'<text class="tag{" end" if not right else ""}" x="{at[0]:.1f}" y="{at[1]:.1f}">#{t.number}{words}</text>'
        )
    return "".join(made)
