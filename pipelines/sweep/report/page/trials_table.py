"""All ranked trials with their intervals, what they are made of, and which can be told from the best."""

from __future__ import annotations

from pipelines.sweep.record import TrialRecord
from pipelines.sweep.report.figures import LACKING, chance, count, number
from pipelines.sweep.report.page.facts import TESTED, Facts
from pipelines.sweep.report.page.markup import cut, heads, note, table, text
from pipelines.sweep.report.ranking import cached, show

MOST, PARAMETERS, METRICS = 200, 10, 8
LETTERS = "b: differs from the best; s: differs from the baseline (p under 0.05 after Holm's correction"


def trials_table(facts: Facts) -> str:
    """The table; a script of the page makes it sortable."""
    if not facts.order:
        return ""
    kept = _kept(facts)
    metrics, names = facts.metrics[:METRICS], facts.names[:PARAMETERS]
    head = heads(
        "=rank", "trial", *(f"={m}" for m in metrics), "against the best", "=n", *names, "=cached", "=seconds of trial"
    )
    rows = [_row(facts, place, facts.order[place], metrics, names) for place in kept]
    caption = f"Trials by {facts.main}, with 95 % intervals"
    return table(caption, head, rows, "trials sortable") + _notes(facts, len(kept), metrics, names)


def _kept(facts: Facts) -> list[int]:
    """Places in the order: the first MOST, and the baseline and the front wherever they are."""
    also = [i for i, t in enumerate(facts.order) if i >= MOST and (t is facts.base or t.id in facts.front)]
    return [*range(min(MOST, len(facts.order))), *also[:MOST]]


def _row(facts: Facts, place: int, trial: TrialRecord, metrics: list[str], names: list[str]) -> str:
    mark = facts.mark(trial)
    badge = f' <span class="badge {mark}">{mark}</span>' if mark else ""
    cells = [f'<td class="n">{place + 1}</td><th scope="row" id="t{trial.number}">#{trial.number}{badge}</th>']
    cells += [_cell(facts, trial, metric) for metric in metrics]
    main = trial.values[facts.main]
    few = ' class="n few"' if main.n < main.of else ' class="n"'
    cells.append(f"<td>{_to_best(facts, trial)}</td><td{few}>{main.n}/{main.of}</td>")
    for name in names:
        choice = text(cut(show(trial.params[name]), 40)) if name in trial.params else LACKING
        cells.append(f"<td>{choice}</td>")
    found, asked = cached(trial)
    share = f"{found}/{asked}" if asked else LACKING
    cells.append(f'<td class="n">{share}</td><td class="n">{number(trial.seconds, 1)}</td>')
    return f"<tr{f' class={mark}' if mark else ''}>{''.join(cells)}</tr>"


def _cell(facts: Facts, trial: TrialRecord, metric: str) -> str:
    found = trial.values.get(metric)
    if found is None:
        return f'<td class="n">{LACKING}</td>'
    around = facts.figures.span(metric, found.low, found.high)
    letters = f"<sup>{_letters(facts, trial)}</sup>" if metric == facts.main else ""
    return f'<td class="n">{facts.figures.mean(metric, found.mean)}{letters} <small>{around}</small></td>'


def _letters(facts: Facts, trial: TrialRecord) -> str:
    tests = (("b", facts.to_best.get(trial.id)), ("s", facts.to_base.get(trial.id)))
    return "".join(letter for letter, found in tests if found is not None and found.significant)


def _to_best(facts: Facts, trial: TrialRecord) -> str:
    found = facts.to_best.get(trial.id)
    if found is None:
        return LACKING
    mean = facts.figures.mean(facts.main, found.mean, sign=True)
    around = facts.figures.span(facts.main, found.low, found.high, sign=True)
    return f"{mean} <small>{around} p {chance(found.corrected)}</small>"


def _notes(facts: Facts, kept: int, metrics: list[str], names: list[str]) -> str:
    lines = [f"{LETTERS}; the first {min(TESTED, len(facts.order))} are tested)."]
    lost = [d.left_out for d in (*facts.to_best.values(), *facts.to_base.values()) if d.left_out]
    if lost:
        lines.append(f"Tests leave out questions that one of the two has no value for: up to {max(lost)}.")
    if len(facts.order) > kept:
        lines.append(f"{count(len(facts.order) - kept, 'trial')} of lower rank left out here; the CSV has them all.")
    for kind, all_, shown in (("metrics", facts.metrics, metrics), ("parameters", facts.names, names)):
        if len(all_) > len(shown):
            lines.append(f"Left out {kind}: {', '.join(all_[len(shown) :])}.")
    if constant := _constant(facts):
        lines.append(f"The same in all: {constant}.")
    return "".join(map(note, lines))


def _constant(facts: Facts) -> str:
    params = facts.best.params
    return ", ".join(f"{name} {cut(show(params[name]), 60)}" for name in params if name not in facts.names)
