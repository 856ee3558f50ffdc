"""What every correction must keep to: `check_correction(MyCorrection())` runs it all, in a few seconds."""

from __future__ import annotations

import numpy as np

from fovea.attention_retrieval.corrections.correction import Corrected, Correction
from fovea.attention_retrieval.index.engine import Index, Keys
from fovea.attention_retrieval.index.flat import FlatEngine
from fovea.attention_retrieval.kernels.reference import attend
from fovea.attention_retrieval.partial import Partial
from fovea.attention_retrieval.rounding import Dtype
from fovea.attention_retrieval.testing.engines import D, K, asked, topics
from fovea.attention_retrieval.vectors import Rows, Vectors


class Head:
    """Keys and values of one head, an exact index, and the correction over it."""

    def __init__(self, correction: Correction, tokens: int, *, dtype: Dtype = "fp32", start: int = 8, seed: int = 0):
        self.correction, self.dtype, self.seed = correction, dtype, seed
        self.both = Vectors(2, D, dtype)
        self.append(tokens, seed)
        self.index = self._index(start, tokens)
        self.corrected = correction.over(self.index.keys, self.values, self.queries, seed=seed)

    @property
    def values(self) -> Rows:
        """Rows of values."""
        return self.both.head(1)

    @property
    def queries(self) -> np.ndarray | None:
        """Those that the prefill made."""
        return asked(topics(500, self.seed), 600, seed=1) / 4 if self.correction.needs_queries else None

    def append(self, tokens: int, seed: int) -> None:
        """Values are a function of keys, and noise."""
        rng = np.random.default_rng(seed + 100)
        keys = topics(tokens, seed)
        values = np.tanh(keys @ rng.normal(size=(D, D)) / 20) + rng.normal(size=(tokens, D)) * 0.3
        self.both.append(np.stack([keys, values.astype(np.float32)]))

    def insert(self, stop: int) -> None:
        """The index and the correction take rows in."""
        self.index = self._index(self.index.keys.start, stop)
        self.corrected.insert(self.index.keys)

    def exact(self, q: np.ndarray) -> Partial:
        """Attention over all rows."""
        keys = self.index.keys
        block, values = keys.rows.block(keys.start, keys.stop), self.values.block(keys.start, keys.stop)
        return Partial(*attend(values, q @ block.T))

    def corrected_by(self, corrected: Corrected, q: np.ndarray, k: int) -> Partial:
        """Attention over the k best rows, corrected."""
        return corrected.attend(q, self.index.search(q, k + self.correction.more))

    def near(self, q: np.ndarray, k: int) -> Partial:
        """The same, by this head's own correction."""
        return self.corrected_by(self.corrected, q, k)

    def _index(self, start: int, stop: int) -> Index:
        bias = self.correction.bias(stop, seed=self.seed, layer=1, head=2)
        return FlatEngine().build(Keys(self.both.head(0), start, stop, bias), None)


def check_correction(correction: Correction) -> None:
    """Raises AssertionError, naming the law, where `correction` breaks one."""
    check_bias(correction)
    for dtype in ("fp32", "bf16", "int8"):
        check_all(Head(correction, 500, dtype=dtype))
    for tokens in (8, 9, 12):
        check_all(Head(correction, tokens))
    check_all(Head(correction, 2500))
    check_better(correction)
    check_restored(correction)
    check_insert(correction)


def check_bias(correction: Correction) -> None:
    """More rows leave the bias of those before as it is."""
    few, many = (correction.bias(rows, seed=5, layer=1, head=2) for rows in (100, 9000))
    assert len(many) == 0 or (len(few) >= 100 and len(many) >= 9000), "a bias is of every row or of none"
    np.testing.assert_array_equal(few, many[: len(few)], err_msg="the bias of a row changes as rows come")


def check_all(head: Head) -> None:
    """Where every row was found, the result is attention over all of them."""
    q = asked(topics(500, seed=1), 4, seed=2)
    exact, near = head.exact(q), head.near(q, len(head.index.keys) + 3)
    np.testing.assert_allclose(near.out, exact.out, rtol=3e-5, atol=3e-5, err_msg="k >= rows is exact attention")
    np.testing.assert_allclose(near.lse, exact.lse, rtol=3e-5, atol=3e-5, err_msg="k >= rows is exact attention")


def check_better(correction: Correction, tokens: int = 6000) -> None:
    """Nearer to attention over all rows than the k best alone are, in output and in mass."""
    head = Head(correction, tokens)
    keys = head.index.keys
    q = asked(keys.rows.block(keys.start, keys.stop), 64, seed=3) / 4
    exact, near, plain = head.exact(q), head.near(q, 4 * K), plain_top_k(head, q, 4 * K)
    assert distance(near, exact) < distance(plain, exact) / 1.5, "a correction brings the output nearer"
    assert np.abs(near.lse - exact.lse).mean() < np.abs(plain.lse - exact.lse).mean() / 2, "and the mass"


def plain_top_k(head: Head, q: np.ndarray, k: int) -> Partial:
    """Attention over the k best rows alone."""
    keys = head.index.keys
    found = Keys(keys.rows, keys.start, keys.stop).best(q, k)
    parts = [attend(head.values.take(ids), logits[None]) for ids, logits in zip(found.ids, found.logits)]
    return Partial(np.concatenate([out for out, _ in parts]), np.concatenate([lse for _, lse in parts]))


def distance(a: Partial, b: Partial) -> float:
    """Mean relative L2 distance of outputs."""
    return float((np.linalg.norm(a.out - b.out, axis=1) / np.linalg.norm(b.out, axis=1)).mean())


def check_restored(correction: Correction) -> None:
    """One seed, one state; restored from read-only arrays it answers the same."""
    head = Head(correction, 3000)
    state = {name: array.copy() for name, array in head.corrected.state().items()}
    for array in state.values():
        array.flags.writeable = False
    again = correction.over(head.index.keys, head.values, head.queries, seed=head.seed)
    without = correction.over(head.index.keys, head.values)
    restored = correction.restore(head.index.keys, head.values, state)
    q = asked(topics(500, seed=1), 4, seed=2)
    assert np.isfinite(head.corrected_by(without, q, K).out).all(), "a prompt may have left no queries"
    for other in (again, restored):
        for a, b in zip(head.near(q, K), head.corrected_by(other, q, K)):
            np.testing.assert_array_equal(a, b, err_msg="the same seed or state, another answer")
    head.append(1500, seed=7)
    head.insert(4500)
    restored.insert(head.index.keys)  # after a restore too
    for a, b in zip(head.near(q, K), head.corrected_by(restored, q, K)):
        np.testing.assert_array_equal(a, b, err_msg="after a restore rows are taken in otherwise")


def check_insert(correction: Correction) -> None:
    """Rows that came later are stood for like those of the beginning, in whatever steps they came."""
    head = Head(correction, 2000)
    head.append(4000, seed=8)
    for stop in (2001, 2300, 2300, 4000, 6000):
        head.insert(stop)
        check_all(head)
    q = asked(head.index.keys.rows.block(8, 6000), 64, seed=3) / 4
    exact = head.exact(q)
    assert distance(head.near(q, 4 * K), exact) < distance(plain_top_k(head, q, 4 * K), exact) / 1.5
