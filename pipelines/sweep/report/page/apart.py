"""The trials that are not ranked, with their reasons."""

from __future__ import annotations

from fovea.pipelines.sweep.record import TrialRecord
from fovea.pipelines.sweep.report.figures import LACKING, count, number
from fovea.pipelines.sweep.report.page.facts import Facts
from fovea.pipelines.sweep.report.page.markup import cut, figures, heads, note, table, text
from fovea.pipelines.sweep.report.ranking import changes

MOST, LONG = 100, 400


def apart(facts: Facts) -> str:
    """Failed trials first, then those without the objective, then pruned ones."""
    ranked = {trial.id for trial in facts.order}
    rest = [trial for trial in facts.record.trials if trial.id not in ranked]
    rest.sort(key=lambda trial: (("failed", "complete", "pruned").index(trial.state), trial.number))
    if not rest:
        return ""
    rows = [_row(facts, trial) for trial in rest[:MOST]]
    what = "settings" if facts.base is None else "against the baseline"
    head = [*heads("trial", "state", "reason", what), *figures("questions", "seconds")]
    left = f"{count(len(rest) - MOST, 'trial')} left out here; the CSV has them all." if len(rest) > MOST else ""
    return table("Trials that are not ranked", head, rows, "apart") + note(left)


def _row(facts: Facts, trial: TrialRecord) -> str:
    reason = trial.reason or (f"{facts.main} was not measured" if trial.state == "complete" else "no reason was kept")
    names = list(trial.params)
    what = cut(", ".join(changes(trial, facts.base, names)) or LACKING, 200)
    return (
        f'<tr><th scope="row" id="t{trial.number}">#{trial.number}</th><td>{trial.state}</td>'
        f'<td class="reason">{text(cut(reason, LONG))}</td><td>{text(what)}</td>'
        f'<td class="n">{len(trial.outcomes) or LACKING}</td><td class="n">{number(trial.seconds, 1)}</td></tr>'
    )
