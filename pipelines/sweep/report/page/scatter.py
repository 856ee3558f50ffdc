"""Quality against cost: a point a trial, the Pareto front as a stair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fovea.pipelines.sweep.record import TrialRecord
from fovea.pipelines.sweep.report.figures import count
from fovea.pipelines.sweep.report.page.facts import Facts
from fovea.pipelines.sweep.report.page.markup import cut, note, text
from fovea.pipelines.sweep.report.page.scale import Scale, fitted, tick
from fovea.pipelines.sweep.report.pareto import pareto
from fovea.pipelines.sweep.report.ranking import COSTS, changes, direction, value

WIDTH, HEIGHT, LEFT, RIGHT, ABOVE, BELOW = 440, 320, 46, 16, 14, 40
FLOOR = HEIGHT - BELOW
MOST, PICTURES = 200, 3
TIPS = 30_000
"""Characters that the tips of a picture may take together."""
RADIUS = {"best": 6, "base": 5, "front": 4.5, "": 3}


def scatters(facts: Facts) -> str:
    """A picture for each other objective and each cost against the first quality."""
    upward = [m for m, d in facts.record.objectives.items() if d == "maximise" and m in facts.metrics]
    up = upward[0] if upward else facts.main
    across = [m for m in dict.fromkeys([*facts.record.objectives, *COSTS]) if m != up and m in facts.metrics]
    made = [picture for metric in across[:PICTURES] if (picture := _scatter(facts, metric, up))]
    if not made:
        return note("Neither a second objective nor seconds nor tokens were measured, so there is no trade to show.")
    left = f"Not drawn: {', '.join(across[PICTURES:])}." if len(across) > PICTURES else ""
    return f'<div class="pictures">{"".join(made)}</div>{note(left)}'


@dataclass(frozen=True)
class _Picture:
    facts: Facts
    across: str
    up: str
    shown: list[TrialRecord]
    front: set[str]
    """Ids."""
    x: Scale
    y: Scale

    def place(self, trial: TrialRecord) -> tuple[float, float]:
        """Where a trial that has both metrics stands."""
        return self.x(value(trial, self.across) or 0.0), self.y(value(trial, self.up) or 0.0)

    def kind(self, trial: TrialRecord) -> str:
        """How its point is drawn."""
        if trial is self.facts.best or trial is self.facts.base:
            return "best" if trial is self.facts.best else "base"
        return "front" if trial.id in self.front else ""


def _scatter(facts: Facts, across: str, up: str) -> str:
    both = [t for t in facts.record.complete if value(t, across) is not None and value(t, up) is not None]
    if not both:
        return ""
    front = {t.id for t in pareto(facts.record, (across, up))}
    shown = _shown(facts, both, front)
    x = fitted([value(t, across) or 0.0 for t in shown], LEFT, WIDTH - RIGHT, logs=True)
    y = fitted([value(t, up) or 0.0 for t in shown], FLOOR, ABOVE)
    picture = _Picture(facts, across, up, shown, front, x, y)
    title = text(f"{up} against {across}")
    left = f" {count(len(both) - len(shown), 'trial')} of lower rank not drawn." if len(both) > len(shown) else ""
    return (
        f'<figure class="scatter"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{title}">'
        f"<title>{title}</title>{_axes(picture)}{_stair(picture)}{_points(picture)}{''.join(_labels(picture))}</svg>"
        f"<figcaption><b>{title}</b>: {_wanted(facts, across, up)} {count(len(front), 'trial')} on the front.{left}"
        '<output class="tip" aria-live="polite"></output></figcaption></figure>'
    )


def _shown(facts: Facts, both: Sequence[TrialRecord], front: set[str]) -> list[TrialRecord]:
    """As many as a picture can hold: the best, the baseline, the front, then by rank."""
    named = [facts.best, *([facts.base] if facts.base else [])]
    wanted = [*named, *(t for t in both if t.id in front), *facts.order, *both]
    has = {t.id for t in both}
    return list({t.id: t for t in wanted if t.id in has}.values())[:MOST]


def _wanted(facts: Facts, across: str, up: str) -> str:
    side = "left" if direction(facts.record, across) == "minimise" else "right"
    return f"best at the {'top' if direction(facts.record, up) == 'maximise' else 'bottom'} {side}."


def _axes(picture: _Picture) -> str:
    parts = []
    for t in picture.x.ticks():
        x = picture.x(t)
        parts.append(f'<path class="grid" d="M{x} {ABOVE}V{FLOOR}"/>')
        parts.append(f'<text x="{x}" y="{FLOOR + 15}" class="mid">{tick(t)}</text>')
    for t in picture.y.ticks(5):
        y = picture.y(t)
        parts.append(f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" class="end">{tick(t)}</text>')
    across = picture.across + (" (logarithmic)" if picture.x.log else "")
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" class="end name">{text(cut(across, 60))} →</text>')
    parts.append(f'<text x="{LEFT + 4}" y="{ABOVE + 2}" class="name">↑ {text(cut(picture.up, 60))}</text>')
    return "".join(parts)


def _stair(picture: _Picture) -> str:
    """From each point of the front to the next, by what the better of the two reaches at the cost between them."""
    places = sorted(picture.place(t) for t in picture.shown if t.id in picture.front)
    if len(places) < 2:
        return ""
    steps = [f"M{places[0][0]} {places[0][1]}"]
    for x, y in places[1:]:
        steps.append(f"H{x}V{y}" if direction(picture.facts.record, picture.across) == "minimise" else f"V{y}H{x}")
    return f'<path class="stair" d="{"".join(steps)}"/>'


def _points(picture: _Picture) -> str:
    """Those that stand out are drawn over the others, and are reached by the keyboard."""
    return "".join(_point(picture, t) for t in sorted(picture.shown, key=lambda t: RADIUS[picture.kind(t)]))


def _point(picture: _Picture, trial: TrialRecord) -> str:
    (x, y), kind = picture.place(trial), picture.kind(trial)
    focus = ' tabindex="0"' if kind else ""
    tip = text(cut(_tip(picture, trial), max(120, TIPS // len(picture.shown))))
    return f'<circle class="p {kind}" cx="{x}" cy="{y}" r="{RADIUS[kind]}"{focus}><title>{tip}</title></circle>'


def _tip(picture: _Picture, trial: TrialRecord) -> str:
    """`#12: nDCG@10 0.731, seconds 0.82 · size 200 → 400`."""
    facts = picture.facts
    word = {"best": " (best)", "base": " (baseline)"}.get(picture.kind(trial), "")
    values = ", ".join(f"{m} {facts.figures.mean(m, value(trial, m))}" for m in (picture.up, picture.across))
    lines = changes(trial, facts.base, facts.names)
    same = "as the baseline" if facts.base and trial is not facts.base and not lines else ""
    return f"#{trial.number}{word}: {values}" + "".join(f" · {cut(line, 60)}" for line in [*lines, same] if line)


def _labels(picture: _Picture) -> Iterator[str]:
    """Numbers beside the points that stand out, the best and the baseline first, each where it covers no other."""
    taken: list[tuple[float, float]] = []
    order = ("best", "base", "front")
    for trial in sorted((t for t in picture.shown if picture.kind(t)), key=lambda t: order.index(picture.kind(t))):
        words = {"best": " best", "base": " baseline"}.get(picture.kind(trial), "")
        x, y = picture.place(trial)
        right = x < WIDTH - RIGHT - 70
        x, y = (x + 9 if right else x - 9), y + 4
        if all(abs(x - a) >= 46 or abs(y - b) >= 13 for a, b in taken):
            taken.append((x, y))
            yield f'<text class="tag{"" if right else " end"}" x="{x:.1f}" y="{y:.1f}">#{trial.number}{words}</text>'
