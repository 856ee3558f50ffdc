"""Which engine `auto` means, and why.

A scan of few keys costs less than any index. Beyond that, `query_ivf` reads least and its time hardly grows with the
text, but it compares thousands of the prompt's queries with every key before the first answer: that pays where a text
is asked again, and where the build fits the budget. A few lists of `ivf` beside it find the key that no query of the
prompt wanted. `fast_scan` is built in a moment, and its time grows slowly.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from attention_retrieval.engine import Engine

if TYPE_CHECKING:
    from attention_retrieval.methods.retrieval import Retrieval

SCANNED = 16_384
"""Up to so many keys a scan takes less than a search in an index and what surrounds it."""
ONE_OFF = 131_072
"""From so many keys on, an index that learns from queries pays within one answer of some hundred tokens."""
LEARNED = 8192
"""Queries that `query_ivf` compares with every key."""
LEARNING = Engine.model_validate({"use": "joined", "engines": [{"use": "query_ivf"}, {"use": "ivf", "nprobe": 8}]})
PER_PAIR, PER_NUMBER = 4e-9, 4e-11
"""Seconds for a query and a key, and for each of their d numbers, on one core of a 2-core machine, rounded up."""


def chosen(settings: Retrieval, tokens: int, d: int) -> tuple[Engine, str]:
    """The engine for an index over `tokens` keys of `d` numbers, and a sentence that says why."""
    if settings.engine != "auto":
        return settings.engine, f"{settings.engine.name} was asked for"
    if tokens <= SCANNED:
        return _engine("flat"), f"flat: a scan of {tokens:,} keys costs less than an index"
    seconds = LEARNED * tokens * (PER_PAIR + PER_NUMBER * d)
    affordable = settings.build_seconds is None or seconds <= settings.build_seconds
    if affordable and (settings.reuse or tokens >= ONE_OFF):
        why = "will be asked again" if settings.reuse else "is long"
        return LEARNING, f"query_ivf and ivf: the text of {tokens:,} keys {why}; an index takes about {seconds:.1f} s"
    why = "is asked once" if affordable else f"would take about {seconds:.1f} s for query_ivf"
    if find_spec("faiss") is None:
        return _engine("ivf"), f"ivf: the text of {tokens:,} keys {why}, and faiss is not installed"
    return _engine("fast_scan"), f"fast_scan: the text of {tokens:,} keys {why}"


def _engine(name: str) -> Engine:
    return Engine.model_validate({"use": name})
