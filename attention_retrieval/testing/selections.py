"""What every selection must keep to: `check_selection(MySelection())` runs it all, in a few seconds.

Keys and queries are easy, as for engines: the suite is about contracts. What a selection does to a real model's answers
is measured by `fovea bench longcontext`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from fovea.attention_retrieval.kernels.reference import attend
from fovea.attention_retrieval.partial import Partial
from fovea.attention_retrieval.rounding import Dtype
from fovea.attention_retrieval.selection.selection import Selected, Selection
from fovea.attention_retrieval.testing.engines import asked, topics
from fovea.attention_retrieval.vectors import Vectors
from fovea.rag.errors import FoveaError

HEADS, D, START = 2, 32, 8


class Layer(NamedTuple):
    """Keys and values of a layer's heads."""

    keys: Vectors
    values: Vectors

    def add(self, tokens: int, seed: int) -> None:
        """More tokens, whose values say what their keys are about."""
        keys = np.stack([topics(tokens, seed * HEADS + head) for head in range(HEADS)])
        mixed = np.random.default_rng(0).normal(size=(D, D)) / np.sqrt(D)
        self.keys.append(keys)
        self.values.append((keys @ mixed).astype(np.float32))

    def asked(self, group: int, seed: int) -> np.ndarray:
        """Queries (heads, group, d)."""
        return np.stack([asked(self.keys.block(0, len(self.keys))[head], group, seed) for head in range(HEADS)])

    def exact(self, q: np.ndarray, start: int, stop: int) -> Partial:
        """Attention to every row of [start, stop)."""
        keys, values = self.keys.block(start, stop), self.values.block(start, stop)
        parts = [attend(values[head], (q[head] @ keys[head].T).astype(np.float32)) for head in range(HEADS)]
        return Partial(np.stack([out for out, _ in parts]), np.stack([lse for _, lse in parts]))


def layer(tokens: int, seed: int = 0, dtype: Dtype = "bf16") -> Layer:
    """A layer of `tokens` easy tokens."""
    made = Layer(Vectors(HEADS, D, dtype, "channel"), Vectors(HEADS, D, dtype))
    made.add(tokens, seed)
    return made


def nothing(q: np.ndarray) -> Partial:
    """That nothing else was attended to."""
    return Partial(np.zeros_like(q), np.full(q.shape[:2], -np.inf, np.float32))


def check_selection(selection: Selection, *, error: float = 0.05) -> None:
    """Raises AssertionError, naming the law, where `selection` breaks one; `error` is the output's, relative."""
    for dtype in ("fp32", "bf16", "int8"):
        check_attention(selection, layer(3000, dtype=dtype), error)
    check_insert(selection, error)
    check_same(selection)
    check_few(selection)
    check_damage(selection)


def check_attention(selection: Selection, text: Layer, error: float) -> None:
    """Near attention over all rows and what was near, for groups of any size; and what was read is said."""
    selected = selection.over(text.keys, text.values, START, 2900, seed=3)
    for group in (1, 3, 4, 7):
        q = text.asked(group, seed=group)
        close_to(selected, text, q, error)
        read = selected.attend(q, nothing(q))
        assert read.rows.shape == read.bytes.shape == (HEADS,), "what was read is said for each head"
        assert min(read.rows.min(), read.bytes.min()) > 0, "a step says what it read"


def close_to(selected: Selected, text: Layer, q: np.ndarray, error: float) -> None:
    """With sinks and window merged in, and alone."""
    far = text.exact(q, selected.start, selected.stop)
    near = text.exact(q, selected.stop, len(text.keys))
    whole = text.exact(q, selected.start, len(text.keys))
    for given, wanted in ((nothing(q), far), (near, whole)):
        part = selected.attend(q, given).part
        shapes = part.out.shape, part.lse.shape
        assert shapes == (q.shape, q.shape[:2]), "(heads, queries, d) and (heads, queries)"
        assert part.out.dtype == part.lse.dtype == np.float32, "float32"
        away = np.linalg.norm(part.out - wanted.out) / np.linalg.norm(wanted.out)
        assert away <= error, f"the output is {away:.3f} away from exact attention, wanted {error}"
        assert np.abs(part.lse - wanted.lse).max() <= 2 * error, "the log-sum-exp is that of all rows"


def check_insert(selection: Selection, error: float) -> None:
    """Rows that came later count like those of the build; one that is by far the best is attended to."""
    text = layer(3000)
    selected = selection.over(text.keys, text.values, START, 1500, seed=3)
    for stop in (1501, 1501, 2600, 3000):
        selected.insert(stop)
        assert selected.stop == stop, "insert moves the end"
    close_to(selected, text, text.asked(4, seed=1), error)
    rng = np.random.default_rng(1)
    alone, value = rng.normal(size=(HEADS, 1, D)).astype(np.float32), rng.normal(size=(HEADS, 1, D)).astype(np.float32)
    text.keys.append(alone * 40)
    text.values.append(value)
    selected.insert(3001)
    found = selected.attend(alone, nothing(alone)).part.out
    np.testing.assert_allclose(found, value, atol=0.05, err_msg="a new row that is by far the best is found")


def check_same(selection: Selection) -> None:
    """One seed, one state; a restored one, from read-only arrays, and other threads answer alike."""
    text = layer(2000)
    made, again = (selection.over(text.keys, text.values, START, 2000, seed=3) for _ in range(2))
    state = {name: array.copy() for name, array in made.state().items()}
    for array in state.values():
        array.flags.writeable = False
    restored = selection.restore(text.keys, text.values, state, START, 2000)
    queries = [text.asked(4, seed=n) for n in range(8)]
    expected = [made.attend(q, nothing(q)).part.out for q in queries]
    for other in (again, restored):
        for q, out in zip(queries, expected):
            np.testing.assert_array_equal(other.attend(q, nothing(q)).part.out, out, err_msg="another answer")
    with ThreadPoolExecutor(4) as pool:
        for out, there in zip(expected, pool.map(lambda q: made.attend(q, nothing(q)).part.out, queries)):
            np.testing.assert_array_equal(there, out, err_msg="threads change an answer")
    text.add(300, seed=5)
    restored.insert(2300)
    assert restored.stop == 2300, "a restored state takes rows in"


def check_few(selection: Selection) -> None:
    """No rows, one row, fewer than a cluster: exact but for the estimate, and what was near as it was."""
    for count in (0, 1, 3, 20):
        text = layer(START + count + 5, seed=7)
        selected = selection.over(text.keys, text.values, START, START + count, seed=3)
        q = text.asked(3, seed=1)
        near = text.exact(q, 0, START)
        part = selected.attend(q, near).part
        assert np.isfinite(part.out).all(), "numbers stay finite"
        assert np.isfinite(part.lse).all(), "numbers stay finite"
        if not count:
            np.testing.assert_allclose(part.out, near.out, atol=1e-5, err_msg="without rows it is what was near")
            assert np.isneginf(selected.attend(q, nothing(q)).part.lse).all(), "without any row there is no weight"


def check_damage(selection: Selection) -> None:
    """A state of other rows, and one that lacks a part, are refused."""
    text = layer(500)
    state = selection.over(text.keys, text.values, START, 400, seed=3).state()
    wrong = [{name: array for name, array in state.items() if name != gone} for gone in state]
    for arrays, stop in ((state, 450), *((each, 400) for each in wrong)):
        try:
            selection.restore(text.keys, text.values, arrays, START, stop)
        except FoveaError:
            continue
        raise AssertionError("a state that is not of these rows is taken")
