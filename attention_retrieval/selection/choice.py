"""Which engine `auto` means, and why.

A scan of few keys costs less than any index. Beyond that, `query_ivf` reads least and its time hardly grows with the
text, but it compares thousands of the prompt's queries with every key before the first answer: that pays where a text
is asked again, and where the build fits the budget. A few lists of `ivf` beside it find the key that no query of the
prompt wanted. Whether a head's queries can be learnt from differs from model to model, so it is tried. `fast_scan`
knows nothing of queries, is built in a moment, and its time grows slowly.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from fovea.attention_retrieval.index.engine import Engine, Keys, recall

if TYPE_CHECKING:
    from fovea.attention_retrieval.selection.retrieval import RetrievalSelection

SCANNED = 16_384
"""Up to so many keys a scan takes less than a search in an index and what surrounds it."""
ONE_OFF = 131_072
"""From so many keys on, an index that learns from queries pays within one answer of some hundred tokens."""
TRIED, ENOUGH = 32, 0.9
"""Queries of a trial, and the recall that is asked of it."""
LEARNED = 8192
"""Queries that `query_ivf` compares with every key."""
PER_PAIR, PER_NUMBER = 4e-9, 4e-11
"""Seconds for a query and a key, and for each of their d numbers, on one core of a 2-core machine, rounded up."""


def chosen(settings: RetrievalSelection, keys: Keys, queries: np.ndarray | None) -> tuple[Engine, str]:
    """The engine for an index over `keys`, and a sentence that says why; `queries` are the prompt's, in order.

    An engine that learns is tried first: what it finds for the last queries, having learnt from those before.
    """
    tokens = len(keys)
    if settings.engine != "auto":
        return settings.engine, f"{settings.engine.name} was asked for"
    if tokens <= SCANNED:
        return _engine("flat"), f"flat: a scan of {tokens:,} keys costs less than an index"
    seconds = LEARNED * tokens * (PER_PAIR + PER_NUMBER * keys.rows.d)
    why = "is asked once"
    if settings.reuse or tokens >= ONE_OFF:
        if settings.build_seconds is not None and seconds > settings.build_seconds:
            why = f"would take about {seconds:.1f} s for query_ivf"
        elif (found := trial(learning := _learning(), keys, queries, settings.top_k)) >= ENOUGH:
            again = "will be asked again" if settings.reuse else "is long"
            return (
                learning,
                f"query_ivf and ivf: the text of {tokens:,} keys {again}, and they find {found:.0%} in a trial",
            )
        else:
            why = f"wants more than query_ivf and ivf find, {found:.0%} in a trial"
    if find_spec("faiss") is None:
        return _engine("ivf"), f"ivf: the text of {tokens:,} keys {why}, and faiss is not installed"
    return _engine("fast_scan"), f"fast_scan: the text of {tokens:,} keys {why}"


def trial(engine: Engine, keys: Keys, queries: np.ndarray | None, k: int) -> float:
    """Recall at `k` for the last queries of the prompt by an index that learns from the others; 0 without queries."""
    if queries is None or len(queries) < 4 * TRIED:
        return 0.0
    index = engine.build(keys, queries[:-TRIED])
    asked = queries[-TRIED:].reshape(-1, 4, queries.shape[1])
    return float(np.mean([recall(index.search(q, k).ids, keys.best(q, k).ids) for q in asked]))


def _learning() -> Engine:
    """Beside `ivf` a tenth of the keys' bytes is enough: both and a correction stay within a quarter at d=128."""
    engines = [{"use": "query_ivf", "memory": 0.1}, {"use": "ivf", "nprobe": 8}]
    return Engine.model_validate({"use": "joined", "engines": engines})


def _engine(name: str) -> Engine:
    return Engine.model_validate({"use": name})
