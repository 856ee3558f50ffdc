"""All ranked trials with their intervals, what they are made of, and which can be told from the best."""

from __future__ import annotations

from fovea.pipelines.sweep.record import TrialRecord
from fovea.pipelines.sweep.report.figures import LACKING, chance, count, number
from fovea.pipelines.sweep.report.page.facts import TESTED, Facts
from fovea.pipelines.sweep.report.page.markup import cut, figures, heads, note, table, text
from fovea.pipelines.sweep.report.ranking import cached, show

MOST, FURTHER, PARAMETERS, METRICS = 200, 30, 10, 8
LETTERS = "b: differs from the best; s: differs from the baseline (p under 0.05 after Holm's correction"


def trials_table(facts: Facts) -> str:
    """The table; a script of the page makes it sortable."""
    if not facts.order:
        return ""
    kept, names = _kept(facts), facts.names[:PARAMETERS]
    first, others = _columns(facts)
    head = [
        *figures("rank"),
        *heads("trial"),
        *figures(*first),
        *heads(*names, "against the best"),
        *figures("n", *others),
    ]
    head += figures("cached", "seconds of trial")
    rows = [_row(facts, place, facts.order[place], names) for place in kept]
    caption = f"Trials by {facts.main}, with 95 % intervals"
    return table(caption, head, rows, "trials sortable") + _notes(facts, len(kept), names)


def _columns(facts: Facts) -> tuple[list[str], list[str]]:
    """The metrics before the settings, which are objectives, and those after them."""
    shown = facts.metrics[:METRICS]
    objectives = sum(m in facts.record.objectives for m in shown)
    return shown[:objectives], shown[objectives:]


def _kept(facts: Facts) -> list[int]:
    """Places in the order: the first MOST, and the baseline and the front from wherever they are, up to FURTHER."""
    also = [i for i, t in enumerate(facts.order) if i >= MOST and (t is facts.base or t.id in facts.front)]
    also.sort(key=lambda i: facts.order[i] is not facts.base)
    return [*range(min(MOST, len(facts.order))), *sorted(also[:FURTHER])]


def _row(facts: Facts, place: int, trial: TrialRecord, names: list[str]) -> str:
    mark = facts.mark(trial)
    badge = f' <span class="badge {mark}">{mark}</span>' if mark else ""
    first, others = ([_cell(facts, trial, m) for m in metrics] for metrics in _columns(facts))
    main, (found, asked) = trial.values[facts.main], cached(trial)
    cells = [
        _n(f"{place + 1}"),
        f'<th scope="row" id="t{trial.number}">#{trial.number}{badge}</th>',
        *first,
        *(f"<td>{_choice(trial, name)}</td>" for name in names),
        f"<td>{_to_best(facts, trial)}</td>",
        _n(f"{main.n}/{main.of}", " few" if main.n < main.of else ""),
        *others,
        _n(f"{found}/{asked}" if asked else LACKING),
        _n(number(trial.seconds, 1)),
    ]
    return f"<tr{f' class={mark}' if mark else ''}>{''.join(cells)}</tr>"


def _n(figure: str, kind: str = "") -> str:
    return f'<td class="n{kind}">{figure}</td>'


def _choice(trial: TrialRecord, name: str) -> str:
    return text(cut(show(trial.params[name]), 40)) if name in trial.params else LACKING


def _cell(facts: Facts, trial: TrialRecord, metric: str) -> str:
    found = trial.values.get(metric)
    if found is None:
        return f'<td class="n">{LACKING}</td>'
    around = facts.figures.span(metric, *found.ends)
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


def _notes(facts: Facts, kept: int, names: list[str]) -> str:
    lines = [f"{LETTERS}; the first {min(TESTED, len(facts.order))} are tested)."]
    lost = [d.left_out for d in (*facts.to_best.values(), *facts.to_base.values()) if d.left_out]
    if lost:
        lines.append(f"Tests leave out questions that one of the two has no value for: up to {max(lost)}.")
    if len(facts.order) > kept:
        lines.append(f"{count(len(facts.order) - kept, 'trial')} of lower rank left out here; the CSV has them all.")
    for kind, all_, shown in (("metrics", facts.metrics, facts.metrics[:METRICS]), ("parameters", facts.names, names)):
        if len(all_) > len(shown):
            lines.append(f"Left out {kind}: {', '.join(all_[len(shown) :])}.")
    if constant := _constant(facts):
        lines.append(f"The same in all: {constant}.")
    return "".join(map(note, lines))


def _constant(facts: Facts) -> str:
    params = facts.best.params
    return ", ".join(f"{name} {cut(show(params[name]), 60)}" for name in params if name not in facts.names)
