"""Matrix products in one thread: indexes of heads are built side by side, and small products lose by being shared.

Where the machine is busy, threads of BLAS that wait for each other take ten times the processor time of one alone.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from fovea.rag.errors import require


def one_thread() -> AbstractContextManager[Any]:
    """Within, NumPy's products take one thread; then as before. Raises MissingExtra."""
    limit: AbstractContextManager[Any] = _libraries().limit(limits=1, user_api="blas")
    return limit


@cache
def _libraries() -> Any:
    import numpy as np

    np.dot(np.ones(1), np.ones(1))  # its BLAS is loaded by now
    return require("threadpoolctl", extra="attention", needed_by="building an index").ThreadpoolController()
