"""What every engine must keep to: `check_engine(MyEngine())` runs it all, in a few seconds.

Keys and queries here are easy on purpose (queries near keys, topics in clusters): the suite is about contracts. What
an engine finds among a model's own vectors is measured by `fovea bench attention`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fovea.attention_retrieval.index.engine import NO_BIAS, Engine, Found, Index, Keys
from fovea.attention_retrieval.index.engine import recall as shares
from fovea.attention_retrieval.rounding import Dtype
from fovea.attention_retrieval.vectors import Rows

D, K = 32, 16


def topics(tokens: int, seed: int, d: int = D) -> np.ndarray:
    """Keys in forty clusters around a shared mean, as heads have them: float32 (tokens, d)."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, d)) * 2
    keys = centres[rng.integers(0, 40, tokens)] + rng.normal(size=(tokens, d)) + rng.normal(size=d) * 2
    return keys.astype(np.float32)


def asked(keys: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Queries that want the keys of one topic each: float32 (count, d)."""
    rng = np.random.default_rng(seed)
    mean = keys.mean(axis=0)
    near = keys[rng.integers(0, len(keys), count)] - mean
    return ((near + rng.normal(size=near.shape) * 0.5) / np.sqrt(keys.shape[1])).astype(np.float32)


def built(
    engine: Engine, keys: np.ndarray, *, start: int = 8, dtype: Dtype = "bf16", bias: np.ndarray = NO_BIAS
) -> Index:
    """An index over all of `keys` from `start` on."""
    rows = Rows.of(keys, dtype, "channel")
    return engine.build(Keys(rows, start, len(keys), bias), asked(keys, 600, seed=1), seed=3)


def check_engine(engine: Engine, *, recall: float = 0.8) -> None:
    """Raises AssertionError, naming the law, where `engine` breaks one; `recall` is that at 16 of the easy keys."""
    keys = topics(3000, seed=0)
    for dtype in ("fp32", "bf16", "int8"):
        check_found(built(engine, keys, dtype=dtype), recall)
    check_found(built(engine, keys, bias=np.random.default_rng(2).exponential(size=9000).astype(np.float32)), recall)
    check_all(engine)
    check_same(engine, keys)
    check_insert(engine, recall)
    check_few(engine)


def check_found(index: Index, recall: float) -> None:
    """Rows of the index, each once, best first, with their exact logits; and most of the best ones."""
    for group in (1, 4, 7, 8):
        q = asked(index.keys.rows.block(index.keys.start, index.keys.stop), group, seed=group)
        found, exact = index.search(q, K), index.keys.best(q, K)
        assert found.ids.shape == found.logits.shape == (group, K), "ids and logits are (queries, k)"
        assert (found.ids.dtype, found.logits.dtype) == (np.int32, np.float32), "ids are int32, logits float32"
        check_rows(index, q, found)
        assert min(found.scanned, found.bytes) > 0, "a search says what it read"
        share = float(shares(found.ids, exact.ids).mean())
        assert share >= recall, f"recall@{K} of easy keys is {share:.2f}, wanted {recall}"


def check_rows(index: Index, q: np.ndarray, found: Found) -> None:
    """The laws of one answer."""
    keys = index.keys
    for query, ids, logits in zip(q, found.ids, found.logits):
        real = ids[ids >= 0]
        assert len(np.unique(real)) == len(real), "a row comes once"
        assert ((real >= keys.start) & (real < keys.stop)).all(), "rows are those of the index"
        assert (ids[len(real) :] == -1).all(), "what is missing comes last, as -1"
        assert np.isneginf(logits[len(real) :]).all(), "what is missing has logit minus infinity"
        exact = keys.rows.take(real) @ query + (keys.bias[real] if len(keys.bias) else 0)
        np.testing.assert_allclose(logits[: len(real)], exact, atol=1e-3, err_msg="logits are q . key + bias")
        assert (np.diff(logits[: len(real)]) <= 0).all(), "best first"


def check_all(engine: Engine) -> None:
    """Asked for as many rows as there are, an engine returns all of them: attention over them is exact."""
    keys = topics(400, seed=4)
    index = built(engine, keys)
    found = index.search(asked(keys, 3, seed=5), len(index.keys) + 7)
    for ids in found.ids:
        assert set(ids[ids >= 0].tolist()) == set(range(8, 400)), "k >= rows returns every row"


def check_same(engine: Engine, keys: np.ndarray) -> None:
    """One seed, one index; a restored index, from read-only arrays, and a second thread find the same."""
    index, again = built(engine, keys), built(engine, keys)
    state = {name: array.copy() for name, array in index.state().items()}
    for array in state.values():
        array.flags.writeable = False
    restored = engine.restore(Keys(index.keys.rows, index.keys.start, index.keys.stop, index.keys.bias), state)
    queries = [asked(keys, 4, seed=n) for n in range(12)]
    expected = [index.search(q, K).ids for q in queries]
    for other in (again, restored, index):
        for q, ids in zip(queries, expected):
            np.testing.assert_array_equal(other.search(q, K).ids, ids, err_msg="the same seed or state, another answer")
    with ThreadPoolExecutor(4) as pool:
        for ids, there in zip(expected, pool.map(lambda q: index.search(q, K).ids, queries)):
            np.testing.assert_array_equal(there, ids, err_msg="threads change an answer")
    keys_grown = topics(600, seed=9)
    index.keys.rows.vectors.append(keys_grown[None])
    restored.insert(len(keys) + 600)  # after a restore too
    assert restored.keys.stop == len(keys) + 600


def check_insert(engine: Engine, recall: float) -> None:
    """Rows that came later are found like those of the build, in whatever steps they came."""
    keys = topics(4000, seed=6)
    rows = Rows.of(keys)
    index = engine.build(Keys(rows, 8, 2000), asked(keys[:2000], 600, seed=1), seed=3)
    for stop in (2001, 2500, 2500, 4000):
        index.insert(stop)
        assert index.keys.stop == stop, "insert moves the end of the index"
    check_found(index, recall - 0.05)
    alone = (keys[3999] / np.linalg.norm(keys[3999]) * 4).astype(np.float32)
    rows.vectors.append(alone[None, None] * 20)
    index.insert(4001)
    found = index.search(alone[None], K)
    assert found.ids[0, 0] == 4000, "a new row that is by far the best is found"


def check_few(engine: Engine) -> None:
    """No rows, one row, fewer than asked for, and fewer than any cluster or neighbourhood wants."""
    for count in (8, 9, 12, 30):
        keys = topics(count, seed=7)
        index = built(engine, keys)
        q = asked(keys, 2, seed=8)
        check_rows(index, q, index.search(q, K))
        assert (index.search(q, K).ids >= 0).sum(axis=1).max() <= count - 8
        rows = index.keys.rows
        rows.vectors.append(topics(50, seed=9)[None])
        index.insert(count + 50)
        check_rows(index, q, index.search(q, K))
    without = engine.build(Keys(Rows.of(topics(500, seed=7)), 8, 500), None, seed=3)
    check_rows(without, q, without.search(q, K))
