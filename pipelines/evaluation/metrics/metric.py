"""Metric: a name, which way is better, what it needs, and how it is computed; and the table of all of them.

A name may end in a cut: `R@5` looks at the first five places, `span_recall@500t` at the first 500 tokens.

Every metric that rates an answer is one number for every question, abstained ones too, so that nobody gains by leaving
hard questions out: an answer that abstains (refuses, or says nothing) is worth 1 where the set says that there is no
answer, else 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from fovea.pipelines.evaluation.case import Case
from fovea.pipelines.evaluation.gold import Question
from fovea.pipelines.evaluation.value import Direction
from fovea.rag.errors import ConfigError

Need = Literal["answer", "judge", "prices"]
Gold = Literal["ranking", "spans", "answers", "either", ""]
Cut = Literal["", "k", "t"]
"""None, the first k places, or the first so many tokens."""
FILES = ("ranking", "spans", "lite", "judged", "costs")

_APPLIES: dict[str, Callable[[Question], bool]] = {
    "": lambda q: True,
    "spans": lambda q: bool(q.spans),
    "ranking": lambda q: bool(q.spans or q.relevant),
    "answers": lambda q: bool(q.answers or q.spans),
    "either": lambda q: bool(q.spans or q.answers),
}
_NAME = re.compile(r"([A-Za-z_]+)(?:@([1-9]\d*)(t?))?")


@dataclass(frozen=True)
class Metric:
    """One metric, ready to be computed."""

    name: str
    direction: Direction
    needs: frozenset[Need]
    gold: Gold
    about: str
    score: Callable[[Case], float]
    """The number of one question; raises `Missing` where it cannot be had."""
    cut: int | None = None
    unit: Cut = ""

    def applies(self, question: Question) -> bool:
        """Whether the question has the gold that it is measured by."""
        return _APPLIES[self.gold](question)


@dataclass(frozen=True)
class _Family:
    name: str
    score: Callable[[Case, int | None], float]
    gold: Gold
    needs: frozenset[Need]
    direction: Direction
    cuts: tuple[Cut, ...]
    rates: bool

    def value(self, case: Case, cut: int | None) -> float:
        """The number of one question."""
        if self.rates and case.abstained:
            return float(case.unanswerable)
        return self.score(case, cut)

    @property
    def about(self) -> str:
        return " ".join((self.score.__doc__ or "").split("\n\n")[0].split())

    @property
    def shown(self) -> str:
        """The name with the cut that it must or may have."""
        forms = {("k",): "@k", ("", "k"): "[@k]", ("", "t"): "[@Nt]"}
        return self.name + forms.get(self.cuts, "")


_families: dict[str, _Family] = {}


def metric_of(
    name: str,
    *,
    gold: Gold = "",
    needs: Collection[Need] = (),
    direction: Direction = "maximise",
    cuts: tuple[Cut, ...] = ("",),
    rates: bool | None = None,
) -> Callable[[Callable[[Case, int | None], float]], Callable[[Case, int | None], float]]:
    """Enter a function `(case, cut)` under a name. `rates` says whether it is a rating of the answer; left out, it is
    one where it needs an answer and is to be high.
    """
    rated = "answer" in needs and direction == "maximise" if rates is None else rates

    def entered(score: Callable[[Case, int | None], float]) -> Callable[[Case, int | None], float]:
        _families[name] = _Family(name, score, gold, frozenset(needs), direction, cuts, rated)
        return score

    return entered


def families() -> dict[str, _Family]:
    """Every metric by name, without cuts."""
    for file in FILES:
        import_module(f"fovea.pipelines.evaluation.metrics.{file}")
    return _families


_ALSO = {"recall": "R@k", "precision": "P@k", "hit": "Success@k", "hits": "Success@k", "hit_rate": "Success@k"}
"""What others call a metric, for "did you mean"."""


def metric(name: str) -> Metric:
    """The metric of a name; raises ConfigError for an unknown one and for a cut that it has not."""
    known, match = families(), _NAME.fullmatch(name)
    family = known.get(match[1]) if match else None
    if match is None or family is None:
        asked = name.split("@")[0]
        allowed, got = [f.shown for f in known.values()], _ALSO.get(asked.lower(), asked)
        raise ConfigError(f"there is no metric {name!r}", where="metrics", got=got, allowed=allowed)
    cut = int(match[2]) if match[2] else None
    unit: Cut = "" if cut is None else "t" if match[3] else "k"
    if unit not in family.cuts:
        raise ConfigError(f"the metric {name!r} is none: write {family.shown}", where="metrics", fix=family.about)
    return Metric(
        name, family.direction, family.needs, family.gold, family.about, lambda case: family.value(case, cut), cut, unit
    )
