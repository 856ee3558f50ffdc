"""The first screen: what won, what it gains over the baseline, what it costs, and whether a cheaper one would do."""

from __future__ import annotations

from fovea.pipelines.sweep.record import TrialRecord
from fovea.pipelines.sweep.report.figures import chance, count, times
from fovea.pipelines.sweep.report.page.facts import Facts
from fovea.pipelines.sweep.report.page.markup import note, text
from fovea.pipelines.sweep.report.ranking import BESIDE, COSTS, changes, value
from fovea.pipelines.sweep.report.significance import Difference, difference


def headline(facts: Facts) -> str:
    """The top of the page."""
    record = facts.record
    states = [sum(t.state == s for t in record.trials) for s in ("complete", "pruned", "failed")]
    line = f"{count(len(record.trials), 'trial')}: {states[0]:,} complete, {states[1]:,} pruned, {states[2]:,} failed"
    line += f" · {count(len(record.questions.questions), 'question')} of {record.questions.name}"
    top = f'<header><p class="eyebrow">{text(record.name)}</p>'
    if not facts.order:
        return f"{top}<h1>No trial can be ranked</h1><p class='sub'>{text(line)}</p></header>"
    cards = "".join(_card(facts, metric) for metric in _shown(facts))
    return (
        f'{top}<h1>{_sentence(facts)}</h1><p class="sub">{text(line)}</p></header>'
        f'<dl class="cards">{cards}</dl>{_settings(facts)}{_caution(facts)}{note(_cheaper(facts))}'
    )


def _shown(facts: Facts) -> list[str]:
    wanted = dict.fromkeys([*facts.record.objectives, *BESIDE])
    return [m for m in wanted if value(facts.best, m) is not None]


def _sentence(facts: Facts) -> str:
    name, best = f'<a href="#t{facts.best.number}">Trial {facts.best.number}</a>', facts.best
    if facts.base is best:
        return f"{name}, the baseline itself, is the best"
    found = facts.to_base.get(best.id)
    if found is None:
        return f"{name} is the best in {text(facts.main)}"
    if facts.base and value(facts.base, facts.main) == value(best, facts.main):
        return f"{name} is as good as the baseline in {text(facts.main)}"
    sure = "gains" if found.significant else "may gain"
    gain = facts.figures.mean(facts.main, abs(found.mean))
    return f"{name} {sure} <em>{gain}</em> of {text(facts.main)} over the baseline"


def _card(facts: Facts, metric: str) -> str:
    found = facts.best.values[metric]
    figures = facts.figures
    lines = [figures.span(metric, *found.ends) or "no interval", _against_base(facts, metric)]
    lines.append(f"{found.n} of {count(found.of, 'question')}" if found.n < found.of else "")
    below = "".join(f"<dd>{text(line)}</dd>" for line in lines if line)
    return f'<div><dt>{text(metric)}</dt><dd class="big">{text(figures.mean(metric, found.mean))}</dd>{below}</div>'


def _against_base(facts: Facts, metric: str) -> str:
    """`+0.084 [+0.051, +0.118] over the baseline, p < 0.001`, and of a cost its ratio."""
    if facts.base is None:
        return "" if facts.record.baseline is None else "the baseline is not among the complete trials"
    if facts.base is facts.best:
        return "the baseline"
    ours, theirs = value(facts.best, metric), value(facts.base, metric)
    if ours is None or theirs is None:
        return "not measured of the baseline"
    if metric in COSTS and theirs > 0:
        return f"{times(ours / theirs)} the baseline's {facts.figures.mean(metric, theirs)}"
    found = facts.to_base.get(facts.best.id) if metric == facts.main else difference(facts.best, facts.base, metric)
    if found is None:
        return f"baseline {facts.figures.mean(metric, theirs)}"
    return f"{in_words(facts, found)} against the baseline"


def in_words(facts: Facts, found: Difference) -> str:
    """`+0.084 [+0.051, +0.118], p < 0.001`."""
    mean = facts.figures.mean(found.metric, found.mean, sign=True)
    p = chance(found.corrected)
    around = facts.figures.span(found.metric, found.low, found.high, sign=True)
    return f"{mean} {around}, p {p if p.startswith('<') else '= ' + p}"


def _settings(facts: Facts) -> str:
    """What the winner changes, as chips."""
    lines = changes(facts.best, facts.base if facts.base is not facts.best else None, facts.names)
    if not lines:
        return ""
    what = "Its settings" if facts.base in (None, facts.best) else "What it changes"
    return f'<p class="chips"><b>{what}</b> {" ".join(f"<code>{text(line)}</code>" for line in lines)}</p>'


def _caution(facts: Facts) -> str:
    asked = facts.best.values[facts.main].of
    if len(facts.order) < 2:
        return note("One trial was ranked: there was nothing to choose from.")
    found = facts.to_base.get(facts.best.id)
    chosen = (
        f"The best of {len(facts.order):,} was chosen on the same {count(asked, 'question')} that it is shown with: "
    )
    unsure = "" if found is None or found.significant else "Chance alone could do as much. "
    return note(f"{unsure}{chosen}on new ones expect a little less.")


def _cheaper(facts: Facts) -> str:
    """Whether a trial that is as good for all one can tell costs less: its interval reaches 0, and no test speaks
    against it."""
    tests = facts.to_best.values()
    equal = [d for d in tests if not d.significant and (d.mean == 0 or d.low <= 0 <= d.high)]
    if not tests:
        return ""
    sure = sum(d.significant for d in tests)
    line = f"Of the next {f'{len(tests)} trials' if len(tests) > 1 else 'one'}, {sure} differ{'s' * (sure == 1)} from "
    line += f"the best by more than chance, and {len(equal)} cannot be told from it"
    found = ((cost, [d for d in equal if _less(d.trial, facts.best, cost)]) for cost in COSTS if cost != facts.main)
    cost, cheap = next(((cost, cheap) for cost, cheap in found if cheap), ("", []))
    if not cheap:
        return f"{line}."
    least = min(cheap, key=lambda d: value(d.trial, cost) or 0.0)
    share = (value(least.trial, cost) or 0.0) / (value(facts.best, cost) or 1.0)
    return f"{line}; trial {least.trial.number} takes {times(share)} its {cost} ({in_words(facts, least)})."


def _less(trial: TrialRecord, best: TrialRecord, cost: str) -> bool:
    ours, theirs = value(trial, cost), value(best, cost)
    return ours is not None and theirs is not None and ours < theirs
