"""An evaluation as flat rows, and as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from fovea.pipelines.evaluation.compare import Difference, Paired
from fovea.pipelines.evaluation.evaluation import Evaluation
from fovea.pipelines.evaluation.measurements import Row, machine
from fovea.pipelines.evaluation.value import Value
from fovea.rag.printable import counted

SHOWN = 10
"""Reasons of failure that are listed."""


def rows(evaluation: Evaluation, method: str, chunks: Mapping[str, Value]) -> list[Row]:
    """One row a metric, a property of the chunks and a quantile of a stage's seconds; at last the failures."""
    data, asked = evaluation.questions.name, len(evaluation.outcomes)
    values = {**dict.fromkeys(evaluation.metrics), **evaluation.values(), **chunks}
    found = [_row(data, method, name, value) for name, value in values.items()]
    for stage, (middle, high) in evaluation.latency().items():
        for name, seconds in (("p50", middle), ("p95", high)):
            found.append(Row("eval", data, method, f"seconds {name} {stage}", seconds, n=asked))
    reasons = dict(evaluation.failures())
    found.append(
        Row("eval", data, method, "failed", float(evaluation.failed), n=asked, seconds=evaluation.seconds,
            settings={"reasons": reasons, "warnings": dict(evaluation.warnings)})
    )  # fmt: skip
    return found


def _row(data: str, method: str, name: str, value: Value | None) -> Row:
    if value is None:
        return Row("eval", data, method, name, None, n=0)
    low, high = value.ends
    return Row("eval", data, method, name, value.mean, low, high, value.n, settings={"of": value.of})


def differences(found: Sequence[Difference], paired: Paired, data: str, method: str) -> list[Row]:
    """One row for the pairs, with the ids of what has no partner; then one a metric: the paired difference, with its
    tests in the settings.
    """
    alone = {
        "only before": [o.question for o in paired.before],
        "only after": [o.question for o in paired.after],
        "other gold": paired.other_gold,
    }
    count = len(paired.pairs)
    head = Row("eval", data, method, "paired questions", float(count), n=count, settings=alone)
    return [head] + [
        replace(
            _row(data, method, f"{d.metric} difference", d.difference),
            settings={"before": d.before, "after": d.after, "p": d.p, "p_holm": d.p_holm},
        )
        for d in found
    ]


def table(evaluation: Evaluation, method: str, chunks: Mapping[str, Value], *, quiet: bool = False) -> str:
    """What `fovea eval` prints; without the warnings where it is to be `quiet`."""
    asked = len(evaluation.outcomes)
    values = {**evaluation.values(), **chunks}
    head = f"{method} on {evaluation.questions.name}: {counted(asked, 'questions')} in {evaluation.seconds:.1f} s"
    lines = [["metric", "mean", "95 % interval", "n"]]
    lines += [_line(name, values.get(name), asked) for name in dict.fromkeys([*evaluation.metrics, *values])]
    stages = [["stage, ms", "p50", "p95"]]
    stages += [[s, f"{a * 1000:,.2f}", f"{b * 1000:,.2f}"] for s, (a, b) in evaluation.latency().items()]
    parts = [machine(), head, _aligned(lines), _aligned(stages), "\n".join(_counted(evaluation, quiet))]
    return "\n\n".join(parts)


def _line(name: str, value: Value | None, asked: int) -> list[str]:
    if value is None:
        return [name, "none", "", f"0 of {asked}"]
    row = _row("", "", name, value)
    between = f"{_short(row.low, 3)} to {_short(row.high, 3)}" if row.low is not None and row.high is not None else ""
    return [name, _short(value.mean), between, f"{value.n} of {value.of}"]


def _counted(evaluation: Evaluation, quiet: bool) -> Iterator[str]:
    what = "; what failed is in no mean" if evaluation.failed else ""
    yield f"failed: {evaluation.failed} of {counted(len(evaluation.outcomes), 'questions')}{what}"
    reasons = evaluation.failures().most_common()
    yield from (f"  {times} x {why}" for why, times in reasons[:SHOWN])
    if len(reasons) > SHOWN:
        yield f"  and {len(reasons) - SHOWN} reasons more"
    yield from (f"warning: {times} x {what}" for what, times in evaluation.warnings.items() if not quiet)


def difference_table(found: Sequence[Difference], paired: Paired, against: str) -> str:
    """Metric by metric before, after, and what lies between them; below, how many questions were paired."""
    lines = [[f"against {against}", "before", "after", "difference", "95 % interval", "n", "p (Holm)"]]
    for d in found:
        value = d.difference
        between = "" if None in value.ends else f"{value.low:+.3g} to {value.high:+.3g}"
        cells = [_short(d.before), _short(d.after), f"{value.mean:+.4g}", between, f"{value.n} of {value.of}"]
        lines.append([d.metric, *cells, f"{d.p_holm:.3g}"])
    return f"{_aligned(lines)}\n{paired}"


def _short(number: float, digits: int = 4) -> str:
    return f"{number:,.0f}" if abs(number) >= 10 ** (digits - 1) else f"{number:.{digits}g}"


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = ["  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(x, widths))) for x in lines]
    return "\n".join([text[0], "-" * len(text[0]), *(line.rstrip() for line in text[1:])])
