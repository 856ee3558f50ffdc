"""Gates as selections: what they choose is what their formulas say, and a file of another model is refused."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
from pydantic import ValidationError

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from benchmarks.gates import rows  # noqa: E402
from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.attention_retrieval.capture.dump import Facts, Run, write  # noqa: E402
from fovea.attention_retrieval.selection.gated_blocks import pooled  # noqa: E402
from fovea.attention_retrieval.selection.selection import Selection  # noqa: E402
from fovea.attention_retrieval.testing.selections import HEADS, START, D, Layer, layer, nothing  # noqa: E402
from fovea.attention_retrieval.vectors import Vectors  # noqa: E402
from fovea.rag.errors import ConfigError, ModelError  # noqa: E402
from fovea.rag.trained import save  # noqa: E402
from tests.gates_of_tests import gates  # noqa: E402
from tests.tiny_lms import greedy, model, text  # noqa: E402

OURS = "fovea_retrieval"
METHODS = ("seer", "landmark", "value_gate")
SIZE = 16
STILL = {"turns": [1e-9] * (D // 2), "gate_turns": [1e-9] * (D // 2), "size": SIZE}
"""Of a model whose keys hardly turn."""


def made(method: str, folder: str, **settings: object) -> Selection:
    return Selection.model_validate({"use": method, "gates": folder, "size": SIZE, **settings})


def blocks_of_one_key(count: int) -> Layer:
    """Blocks whose rows are alike, so that what stands for one says all of it."""
    rng, made = np.random.default_rng(0), Layer(Vectors(HEADS, D, "fp32"), Vectors(HEADS, D, "fp32"))
    keys = np.repeat(rng.normal(size=(HEADS, count, D)), SIZE, axis=1).astype(np.float32)
    made.keys.append(keys)
    made.values.append(rng.normal(size=keys.shape).astype(np.float32))
    return made


@pytest.mark.parametrize("method", ["seer", "landmark"])
def test_gates_that_are_wide_enough_choose_as_attention_itself_does(method, tmp_path):
    """The mean of blocks of one key is that key: the oracle's blocks, the last one beside them."""
    mean = np.concatenate([np.zeros((2 * D, D)), np.eye(D)]).astype(np.float32)
    arrays = {"key": np.stack([mean] * HEADS)[None], "query": np.stack([np.eye(D, dtype=np.float32)] * HEADS)[None]}
    arrays = arrays if method == "seer" else {"landmark": arrays["key"]}
    folder = gates(tmp_path, method, arrays=arrays, heads=HEADS, width=D, **STILL)
    held = blocks_of_one_key(20)
    selected = made(method, folder, top_k=5 * SIZE).over(held.keys, held.values, 0, 20 * SIZE)
    for seed in range(5):
        q = np.random.default_rng(seed).normal(size=(HEADS, 1, D)).astype(np.float32)
        selected.now = 20 * SIZE
        ids = selected.attend(q, nothing(q)).found
        logits = np.einsum("hgd,hbd->hb", q, held.keys.block(0, 20 * SIZE)[:, ::SIZE])[:, :-1]
        for head in range(HEADS):
            oracle = {*np.argsort(-logits[head])[:4].tolist(), 19}
            assert set((ids[head].ids[0] // SIZE).tolist()) == oracle


def test_a_gate_scores_by_its_formula(tmp_path):
    """Written out row by row: keys turned back, pooled, gated, turned by the gate's own frequencies."""
    held = layer(300, dtype="fp32")
    selection = made("seer", gates(tmp_path, "seer", size=SIZE), top_k=64)
    selected = selection.over(held.keys, held.values, START, 300)
    selected.now, q = 310, held.asked(3, seed=1)
    query, key = (selection.trained.arrays[name][0] for name in ("query", "key"))
    turns, own = (np.array(selection.trained.about[name]) for name in ("turns", "gate_turns"))
    scores = selected.scores(q)
    for head in range(HEADS):
        back = np.stack([turn(row, -t, turns) for t, row in enumerate(held.keys.block(0, 300)[head])])
        asked = turn(np.concatenate([turn(each, -310, turns) for each in q[head]]) @ query[head], 310, own)
        for block in (0, 7, 18):
            low = START + block * SIZE
            here = back[low : min(low + SIZE, 300)]
            shown = np.concatenate([here.max(axis=0), here.min(axis=0), here.mean(axis=0)]) @ key[head]
            middle = low + (SIZE - 1) / 2
            assert scores[head, block] == pytest.approx(asked @ turn(shown, middle, own), rel=1e-3, abs=1e-2)


def turn(row: np.ndarray, by: int, turns: np.ndarray) -> np.ndarray:
    """A row turned by a place, as complex numbers."""
    half = len(turns)
    z = (row[:half] + 1j * row[half : 2 * half]) * np.exp(1j * by * turns)
    return np.concatenate([z.real, z.imag, row[2 * half :]])


def test_values_say_what_a_row_is_worth(tmp_path):
    held = layer(300, dtype="fp32")
    selection = made("value_gate", gates(tmp_path, "value_gate", size=SIZE), top_k=40)
    selected = selection.over(held.keys, held.values, START, 200)
    selected.insert(300)
    weight, amplitude = (selection.trained.arrays[name][0] for name in ("weight", "amplitude"))
    values = np.concatenate(list(held.values.block(START, 300)), axis=1)
    q = held.asked(3, seed=1)
    for head, found in enumerate(selected.attend(q, nothing(q)).found):
        worth = amplitude[head] * np.log1p(np.exp((values @ weight[head]).astype(np.float64)))
        assert worth[found.ids[0] - START].min() >= np.sort(worth)[-40] - 1e-3


def test_pooling_is_by_channel_and_takes_a_short_block_as_it_is():
    keys = np.random.default_rng(0).normal(size=(2, 10, 3)).astype(np.float32)
    got = pooled(keys, 4)
    assert got.shape == (2, 3, 9)
    np.testing.assert_allclose(got[1, 2], [*keys[1, 8:].max(0), *keys[1, 8:].min(0), *keys[1, 8:].mean(0)], rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_model_reads_by_gates_of_each_layer_and_a_loaded_cache_answers_alike(method, tmp_path):
    shape = {"layers": 3, "heads": 8, "kv_heads": 2, "d": 16, "size": SIZE}
    folder = gates(tmp_path, method, **shape)
    ours, ids = model("llama, 4 to 1", OURS), text(200)
    settings = {"sinks": 4, "window": 16, "dense_below": 32, "insert_every": 8, "dtype": "fp32"}
    cache = RetrievalCache(ours.config, Retrieval(**settings, select=made(method, folder, top_k=48)))
    greedy(ours, ids, 2, past_key_values=cache)
    held = [each.rows[0].cache.selected for each in cache.layers]
    assert [each.settings._layer for each in held] == [0, 1, 2]
    states = [next(iter(each.state().values())) for each in held]
    assert not np.allclose(states[0], states[1], atol=1e-3)
    cache.save(tmp_path / "text.kv")
    loaded, longer = RetrievalCache.load(tmp_path / "text.kv"), torch.cat([ids, text(5, seed=1)], dim=1)
    for each in (cache, loaded):
        each.crop(200 - each.get_seq_length())
    one, other = (greedy(ours, longer, 4, past_key_values=each)[1] for each in (cache, loaded))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValidationError, match="gates were learned on whole texts"):
        Retrieval(**settings, select=made(method, folder, top_k=48), evict={"use": "snapkv"})


def test_gates_that_do_not_fit_are_refused_by_name(tmp_path):
    folder, config = gates(tmp_path / "seer", "seer", size=SIZE), model("llama, 4 to 1", OURS).config
    with pytest.raises(ConfigError) as refused:
        RetrievalCache(config, Retrieval(select=made("seer", folder, top_k=48)))
    assert str(refused.value) == (
        f"select.gates: the gates {folder!r} are of a model with 1 layers, not 3; 6 heads, not 8\n"
        "  fix: fovea train gates seer --model MODEL --out FOLDER"
    )
    with pytest.raises(ConfigError) as refused:
        made("seer", folder).check_model("smollm2", lambda name: "another")
    assert str(refused.value) == (
        f"select.gates: the gates {folder!r} were learned on tiny, and this is smollm2\n"
        "  fix: fovea train gates seer --model smollm2 --out FOLDER"
    )
    made("seer", folder).check_model("here", lambda name: "tiny")
    held, wide = layer(100), Layer(Vectors(3, D, "fp32"), Vectors(3, D, "fp32"))
    wide.keys.append(np.zeros((3, 100, D), np.float32))
    with pytest.raises(ConfigError, match="are of 1 layers, 2 kv heads of 32 numbers, and this is layer 0, with 3 of"):
        made("seer", folder).over(wide.keys, wide.keys, 0, 100)
    with pytest.raises(ConfigError, match="are of blocks of 16 rows, not 32"):
        made("seer", folder, size=32).over(held.keys, held.values, 0, 100)
    with pytest.raises(ConfigError, match="are of 3 query heads a kv head, and there are 2"):
        made("seer", folder, top_k=32).over(held.keys, held.values, 0, 100).choose(held.asked(2, seed=0))
    save(tmp_path / "less" / "weights.safetensors", {"key": np.zeros(1)}, {"method": "seer", "layers": 1})
    with pytest.raises(ModelError, match="do not say of which model they are: no model, model_name, heads"):
        made("seer", str(tmp_path / "less")).over(held.keys, held.values, 0, 100)
    with pytest.raises(ModelError, match="belong to seer, not to landmark"):
        made("landmark", folder).over(held.keys, held.values, 0, 100)
    with pytest.raises(ModelError) as missing:
        made("seer", str(tmp_path / "nowhere")).over(held.keys, held.values, 0, 100)
    assert "fovea train gates seer --model MODEL --out" in str(missing.value)
    with pytest.raises(ValidationError, match="must hold two blocks of 64 rows"):
        Selection.model_validate({"use": "seer", "gates": folder, "top_k": 100})


def test_the_benchmark_reads_what_selections_choose(tmp_path):
    """No blocks that a group shares hold more than those of most mass; one budget; all is everything."""
    rng = np.random.default_rng(0)
    runs = (Run(kind="continuation", start=256, decoded=264, stop=264),)
    facts = Facts(model="m", tokenizer="t", source="prefill", blocks=1, tokens=256, layers=(0,), scaling=(0.2,),
                  heads=6, kv_heads=2, d=D, dtype="fp32", runs=runs)  # fmt: skip
    parts = {"tokens": np.zeros(264, np.int32), "query_rows": np.r_[0:256:4, 256:264]}
    for name, heads, count in (("queries", 6, 72), ("keys", 2, 264), ("values", 2, 264)):
        parts[f"0.{name}"] = rng.normal(size=(heads, count, D)).astype(np.float32)
    write(tmp_path / "a.st", facts, parts)
    folders = {name: gates(tmp_path / name, name, size=SIZE) for name in METHODS}
    asked = {"data": [tmp_path / "a.st"] * 2, "size": SIZE, "steps": 4, "window": 0, **folders}
    for share, sinks in ((0.25, 0), (0.25, 32), (1, 0)):
        found = rows(argparse.Namespace(share=share, sinks=sinks, **asked))
        mass = {row.method: row.value for row in found if row.metric == "mass"}
        assert set(mass) == {"oracle", "most mass", "bounds", "mean", "last", "queries", *METHODS}
        blocks = {name: value for name, value in mass.items() if name != "value_gate"}
        assert share / 4 < min(mass.values()) <= max(blocks.values()) == mass["most mass"] <= 1 + 1e-6
        if share == 1:
            assert min(mass.values()) == pytest.approx(1, abs=1e-6)
