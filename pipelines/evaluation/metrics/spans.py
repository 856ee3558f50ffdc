"""Span metrics by characters (`fovea.pipelines.evaluation.span_metrics`), over the passages that were kept, or over
the first N tokens of them (`span_recall@500t`: passages in order until the budget is filled, the last cut off where it
ends).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fovea.pipelines.evaluation import span_metrics
from fovea.pipelines.evaluation.metrics.metric import metric_of

if TYPE_CHECKING:
    from fovea.pipelines.evaluation.case import Case


@metric_of("span_recall", gold="spans", cuts=("", "t"))
def span_recall(case: Case, cut: int | None) -> float:
    """The share of the gold characters that the passages hold."""
    return float(_scores(case, cut).recall[0])


@metric_of("span_precision", gold="spans", cuts=("", "t"))
def span_precision(case: Case, cut: int | None) -> float:
    """The share of the passages' characters that are gold; what two passages share counts in both."""
    return float(_scores(case, cut).precision[0])


@metric_of("span_iou", gold="spans", cuts=("", "t"))
def span_iou(case: Case, cut: int | None) -> float:
    """Gold characters held / (characters of the passages + gold characters not held)."""
    return float(_scores(case, cut).iou[0])


@metric_of("citation_precision", gold="spans", needs=["answer"])
def citation_precision(case: Case, cut: int | None) -> float:
    """The share of the cited characters that are gold; 0 where nothing is cited."""
    return float(_of_citations(case).precision[0])


@metric_of("citation_recall", gold="spans", needs=["answer"])
def citation_recall(case: Case, cut: int | None) -> float:
    """The share of the gold characters that the answer cites."""
    return float(_of_citations(case).recall[0])


def _of_citations(case: Case) -> span_metrics.SpanScores:
    """The scores of what is cited, each character once."""
    cited = span_metrics.union(case.line.spans((c.document_id, c.start, c.end) for c in case.said.citations))
    return span_metrics.score([case.nearest_gold(cited)], [cited])


def _scores(case: Case, budget: int | None) -> span_metrics.SpanScores:
    if budget not in case.covered:
        passages = case.passages
        if budget is not None:
            passages = span_metrics.within_budget(passages, case.sizes, budget)
        case.covered[budget] = span_metrics.score([case.nearest_gold(passages)], [passages])
    return case.covered[budget]
