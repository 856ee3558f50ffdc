"""What a question costs: seconds by stage, tokens, money."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fovea.pipelines.evaluation.metrics.metric import metric_of

if TYPE_CHECKING:
    from fovea.pipelines.evaluation.case import Case

STAGES = ("retrieve", "fuse", "refine", "generate", "cite", "feedback")
"""First words of the names of stages, after that of a turn ("again", "round 2")."""
_STAGE = re.compile(rf"(?:again |round \d+ )?({'|'.join(STAGES)})\b")
MILLION = 1_000_000


@metric_of("seconds", direction="minimise")
def seconds(case: Case, cut: int | None) -> float:
    """Wall clock of the whole question."""
    return case.seconds["total"]


def _stage(name: str) -> None:
    def spent(case: Case, cut: int | None) -> float:
        return sum(s for stage, s in case.seconds.items() if (m := _STAGE.match(stage)) and m[1] == name)

    spent.__doc__ = f"Wall clock of the stages named {name}."
    metric_of(f"seconds_{name}", direction="minimise")(spent)


for _name in STAGES:
    _stage(_name)


@metric_of("tokens_passages", direction="minimise")
def tokens_passages(case: Case, cut: int | None) -> float:
    """Tokens of the passages that were kept, by the encoder's tokenizer."""
    return case.tokens["passages"]


@metric_of("tokens_in", direction="minimise", needs=["answer"])
def tokens_in(case: Case, cut: int | None) -> float:
    """Tokens that a model read to answer, as it says itself; 0 where no model was asked."""
    return case.tokens["in"]


@metric_of("tokens_out", direction="minimise", needs=["answer"])
def tokens_out(case: Case, cut: int | None) -> float:
    """Tokens that a model wrote, as it says itself; 0 where no model was asked."""
    return case.tokens["out"]


@metric_of("cost", direction="minimise", needs=["answer", "prices"])
def cost(case: Case, cut: int | None) -> float:
    """Money for the tokens of the answer: `(in * price_in + out * price_out) / 1,000,000`."""
    return sum(case.tokens[way] * case.prices.get(way, 0.0) for way in ("in", "out")) / MILLION
