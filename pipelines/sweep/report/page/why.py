"""What mattered: how much each parameter explains, and what each of its levels does."""

from __future__ import annotations

from fovea.pipelines.sweep.report.effects import Effect, effects
from fovea.pipelines.sweep.report.figures import LACKING, count
from fovea.pipelines.sweep.report.importance import Importance
from fovea.pipelines.sweep.report.page.facts import Facts
from fovea.pipelines.sweep.report.page.markup import cut, figures, heads, note, table, text
from fovea.pipelines.sweep.report.page.scale import Scale

METHOD = (
    "Importance: the share of the variance between trials that the parameter's main effect explains, averaged over the "
    "orders in which parameters may be taken into account."
)
PARAMETERS, LEVELS = 12, 12


def importances(facts: Facts) -> str:
    """A table of bars: parameters down, objectives across."""
    if not facts.names or not facts.importances:
        return note("No parameter varies between the ranked trials, so none can matter.") if facts.order else ""
    first = facts.importances[facts.main]
    names = list(first.shares)[:PARAMETERS]
    found = facts.importances.values()
    rows = [_bars(name, [one.shares.get(name, 0.0) for one in found]) for name in names]
    if len(first.shares) > len(names):
        rows.append(_bars("others", [sum(v for k, v in one.shares.items() if k not in names) for one in found]))
    rows.append(_bars("together, or by chance", [one.rest for one in found], "rest"))
    head = heads("parameter", *facts.importances)
    return table("What explains the differences between trials", head, rows, "bars") + note(METHOD) + _hints(found)


def _bars(name: str, shares: list[float], kind: str = "") -> str:
    cells = "".join(
        f'<td><svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect class="{kind or "bar"}" '
        f'width="{share * 100:.1f}" height="10"/></svg> <span>{share * 100:.0f} %</span></td>'
        for share in shares
    )
    return f'<tr><th scope="row">{text(cut(name, 60))}</th>{cells}</tr>'


def _hints(found: object) -> str:
    lines = []
    for one in found:  # type: ignore[attr-defined]
        assert isinstance(one, Importance)
        if one.trials and not one.effects:
            lines.append(f"{one.metric}: all {one.trials:,} trials are equal, so there is nothing to explain.")
        elif one.trials < 3 * one.effects:
            few = f"{count(one.trials, 'trial')} for {count(one.effects, 'effect')}"
            lines.append(f"{one.metric}: {few}: few, so read this as a hint.")
    return "".join(map(note, lines))


def main_effects(facts: Facts) -> str:
    """The levels of every parameter, by the first objective."""
    if len(facts.order) < 2 or not facts.names:
        return ""
    found = effects(facts.record, facts.main)
    names = [n for n in facts.importances[facts.main].shares if n in found][:PARAMETERS]
    ends = [end for n in names for e in found[n] for end in (e.low, e.high, 0.0) if end is not None]
    x = Scale(min(ends), max(ends), 4, 116) if any(ends) else None
    rows = [_level(facts, e, at, x) for n in names for at, e in enumerate(found[n][:LEVELS])]
    head = [*heads("parameter", "level"), *figures("trials", f"mean {facts.main}", "difference")]
    head += [*heads("95 % interval"), *figures("pairs")]
    caption = f"Main effects on {facts.main}: a level against the reference, all other parameters equal"
    left = sum(max(0, len(found[n]) - LEVELS) for n in names)
    return table(caption, head, rows, "effects") + note(f"{count(left, 'level')} left out." if left else "")


def _level(facts: Facts, e: Effect, at: int, x: Scale | None) -> str:
    name = f'<th scope="row">{text(cut(e.parameter, 60))}</th>' if at == 0 else "<td></td>"
    cells = f"{name}<td>{text(cut(e.level, 60))}</td>{_n(f'{e.trials}')}{_n(facts.figures.mean(facts.main, e.mean))}"
    if e.reference:
        return f'<tr{_first(at)}>{cells}<td class="n ref">reference</td><td></td><td></td></tr>'
    if e.difference is None:
        return f"<tr{_first(at)}>{cells}{_n(LACKING)}<td>no equal pair was tried</td>{_n('0')}</tr>"
    around = f"{_whisker(e, x)} <small>{facts.figures.span(facts.main, e.low, e.high, sign=True)}</small>"
    mean = facts.figures.mean(facts.main, e.difference, sign=True)
    return f"<tr{_first(at)}>{cells}{_n(mean)}<td>{around}</td>{_n(f'{e.pairs}')}</tr>"


def _n(figure: str) -> str:
    return f'<td class="n">{figure}</td>'


def _first(at: int) -> str:
    return ' class="first"' if at == 0 else ""


def _whisker(e: Effect, x: Scale | None) -> str:
    """The interval on a line with a stroke at 0."""
    if e.low is None or e.high is None or e.difference is None or x is None:
        return ""
    sure = "sure" if e.low > 0 or e.high < 0 else "unsure"
    return (
        f'<svg class="whisker" viewBox="0 0 120 12" aria-hidden="true"><path class="zero" d="M{x(0.0)} 0V12"/>'
        f'<path class="{sure}" d="M{x(e.low)} 6H{x(e.high)}"/>'
        f'<circle class="{sure}" cx="{x(e.difference)}" cy="6" r="3"/></svg>'
    )
