"""Growth: what a hostile text of four times the size costs, in processor time; proportional is 4, quadratic 16."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

TIMES, MOST = 4, 8.0
FLOOR = 0.03
"""Seconds of processor time below which the larger text is cheap, whatever the ratio."""


def spent(do: Callable[[], object]) -> float:
    """Seconds of processor time that one call takes; a collection of all that other tests left is not among them."""
    collects = gc.isenabled()
    gc.disable()
    try:
        began = time.process_time()
        do()
        return time.process_time() - began
    finally:
        if collects:
            gc.enable()


def growth(do: Callable[[int], Callable[[], object]], size: int) -> float:
    """How many times as long `do(4 * size)()` takes as `do(size)()`; 0 where the longer is below the floor.

    The least of several times each: whatever else a machine does only adds.
    """
    small, large = do(size), do(TIMES * size)
    long = spent(large)
    if long < FLOOR:
        return 0.0
    short = min(spent(small), spent(small))
    for _ in range(3):
        if long < MOST * short:
            break
        short, long = min(short, spent(small)), min(long, spent(large))
    return long / max(short, 1e-9) if long >= FLOOR else 0.0
