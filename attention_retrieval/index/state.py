"""Reading an index's arrays back: what does not fit together is refused, naming the part.

Arrays are copied: they are read to be checked anyway, an index changes as the text grows, and compiled code need not be
compiled again for arrays that are read-only.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fovea.rag.errors import StoreError


def part(state: Mapping[str, np.ndarray], name: str, dtype: type, shape: tuple[int | None, ...]) -> np.ndarray:
    """A copy of the array `name`; raises StoreError unless it has this type and shape (None: any length)."""
    array = mapped(state, name, dtype, shape)
    if array.dtype.kind == "f" and not np.isfinite(array[array != -np.inf]).all():
        raise damaged(f"part {name!r} holds numbers that are not finite")
    return np.array(array, order="C")


def mapped(state: Mapping[str, np.ndarray], name: str, dtype: type, shape: tuple[int | None, ...]) -> np.ndarray:
    """The array `name` itself, its numbers unread; raises StoreError unless it has this type and shape."""
    if name not in state:
        raise damaged(f"it has no part {name!r}")
    array = np.asanyarray(state[name])
    fits = array.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, array.shape))
    if array.dtype != dtype or not fits:
        want = ", ".join("any" if size is None else str(size) for size in shape)
        raise damaged(f"part {name!r} is {array.dtype} {array.shape}, wanted {np.dtype(dtype)} ({want})")
    return array


def within(array: np.ndarray, name: str, low: int, high: int) -> np.ndarray:
    """The same array; raises StoreError where a number of it is outside [low, high)."""
    if array.size and (array.min() < low or array.max() >= high):
        raise damaged(f"part {name!r} has numbers from {array.min()} to {array.max()}, wanted {low} to {high - 1}")
    return array


def under(start: str, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `start`, by the rest of their names."""
    return {name.removeprefix(start): array for name, array in state.items() if name.startswith(start)}


def damaged(what: str) -> StoreError:
    """The error for a state that cannot be used."""
    return StoreError(f"the saved cache is damaged: {what}", fix="read the document again, and save it again")
