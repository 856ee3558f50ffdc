"""Wide heads out of narrow ones: logits add up, and queries stay with those they followed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from benchmarks.attention_wide import widened
from fovea.attention_retrieval.capture.dump import Dump, Facts, write
from fovea.pipelines.bench.attention_heads import Plan, heads


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    path, rng = tmp_path_factory.mktemp("dumps") / "narrow.st", np.random.default_rng(0)
    facts = Facts(model="m", tokenizer="t", source="windows", blocks=3, tokens=60, layers=(1, 4), scaling=(0.5, 0.25),
                  heads=7, kv_heads=7, d=4, dtype="fp32")  # fmt: skip
    parts = {"tokens": np.zeros(60, np.int32), "query_rows": np.r_[3:30:2, 60:70]}
    for layer in facts.layers:
        parts |= {f"{layer}.{name}": rng.normal(size=(7, rows, 4)).astype(np.float32)
                  for name, rows in (("queries", 24), ("keys", 60), ("values", 60))}  # fmt: skip
    write(path, facts, parts)
    return Dump.open(path)


def test_a_logit_is_the_sum_of_the_heads(narrow, tmp_path):
    write(tmp_path / "wide.st", *widened(narrow, 4, wide=3, group=2))
    wide = Dump.open(tmp_path / "wide.st")
    assert (wide.facts.layers, wide.facts.scaling, wide.facts.kv_heads) == ((4,), (0.25,), 2)
    assert (wide.facts.heads, wide.facts.d, wide.facts.group) == (4, 12, 2)
    old, new = narrow.layer(4), wide.layer(4)
    for head in range(2):
        mine = slice(3 * head, 3 * head + 3)
        logits = np.einsum("hqd,hkd->qk", old.queries[mine], old.keys[mine])
        for place, kept in enumerate([[n, n + 1] for n in (*range(0, 14, 2), *range(14, 24, 2))]):
            asked = new.queries[2 * head : 2 * head + 2, place]
            np.testing.assert_allclose(asked @ new.keys[head].T, logits[kept], rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(new.values[head], np.concatenate(old.values[mine], axis=1))
    assert (len(wide.train), len(wide.held_out)) == (7, 5), "trained on and held out are not mixed"


def test_the_bench_reads_it(narrow, tmp_path):
    write(tmp_path / "wide.st", *widened(narrow, 1, wide=2, group=4))
    found = list(heads(Dump.open(tmp_path / "wide.st"), Plan(k=5, steps=9)))
    assert [head.label for head in found] == ["l1 h0", "l1 h1", "l1 h2"]
    assert all(step.q.shape == (4, 8) for head in found for step in head.steps)
    assert found[0].train.shape == (12, 8)
    assert len(found[0].steps) == 2
