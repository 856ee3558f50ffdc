"""A model whose cache reads by the wave selection: exact where it reads all, and after all that happens to a cache."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.attention_retrieval.cache import tensorfile  # noqa: E402
from fovea.attention_retrieval.selection.wave import WaveSelected  # noqa: E402
from fovea.rag.errors import FoveaError  # noqa: E402
from tests.tiny_lms import greedy, model, text  # noqa: E402

OURS, ALL = "fovea_retrieval", {"use": "wave", "rest": 0, "most": 10_000}
SETTINGS = {"sinks": 4, "window": 16, "dense_below": 0, "dtype": "fp32", "insert_every": 8}


def cache(lm, **settings) -> RetrievalCache:
    return RetrievalCache(lm.config, Retrieval(**{**SETTINGS, "select": ALL, **settings}))


@pytest.fixture(params=["gemma", "gpt2", "llama, 4 to 1", "qwen2, 7 to 1", "qwen3, hybrid"], scope="module")
def pair(request):
    return model(request.param, OURS), model(request.param, "sdpa")


def test_all_rows_read_is_full_attention(pair):
    ours, full = pair
    ids = text(150)
    sequences, logits = greedy(full, ids)
    for settings in ({}, {"dense_below": 5000}, {"sinks": 0, "window": 1}, {"sinks": 400}):
        made = greedy(ours, ids, past_key_values=cache(ours, **settings))
        assert torch.equal(made[0], sequences), settings
        torch.testing.assert_close(made[1], logits, atol=3e-5, rtol=1e-5)


def test_padding_a_batch_and_further_questions(pair):
    ours, full = pair
    ids, mask = text(90, batch=3), torch.ones(3, 90, dtype=torch.long)
    mask[0, :41], mask[2, :7] = 0, 0
    torch.testing.assert_close(
        greedy(ours, ids, mask=mask, past_key_values=cache(ours))[1],
        greedy(full, ids, mask=mask)[1],
        atol=5e-5,
        rtol=1e-5,
    )
    kept, ids = cache(ours), text(100)
    kept.activate_past_recording()
    for question in (1, 2):
        ids = torch.cat([ids, text(9, seed=question)], dim=1)
        made = greedy(ours, ids, 12, past_key_values=kept)
        torch.testing.assert_close(made[1], greedy(full, ids, 12)[1], atol=3e-5, rtol=1e-5)
        ids = made[0]
    kept.crop(100 - kept.get_seq_length())
    torch.testing.assert_close(
        greedy(ours, ids[:, :115], 12, past_key_values=kept)[1], greedy(full, ids[:, :115], 12)[1], atol=3e-5, rtol=1e-5
    )


def test_it_is_what_auto_means_and_keeps_no_queries():
    ours = model("llama, 4 to 1", OURS)
    made = RetrievalCache(ours.config, Retrieval(sinks=4, window=16, dense_below=50))
    greedy(ours, text(300), 5, past_key_values=made)
    row = made.layers[0].rows[0].cache
    assert isinstance(row.selected, WaveSelected)
    assert row.sample.queries is None
    report = made.report()
    assert {head.engine for head in report} == {"wave"}
    assert all(0 < head.scanned < 1.2 and head.bytes for head in report), "rows, and a mean key for every eight"
    assert "wave" in report.summary
    for settings in ({"top_k": 20}, {"engine": {"use": "flat"}}, {"reuse": True}, {"correct": None}):
        assert Retrieval(**settings).selection.name == "retrieval"


@pytest.mark.parametrize("dtype", ["bf16", "int8", "fp32"])
def test_a_loaded_cache_and_a_copy_answer_alike(tmp_path, dtype):
    ours, ids = model("llama, 4 to 1", OURS), text(300)
    made = cache(ours, dtype=dtype, select={"use": "wave", "rest": 0.1})
    greedy(ours, ids, 3, past_key_values=made)
    made.save(tmp_path / "text.kv")
    loaded, copied = RetrievalCache.load(tmp_path / "text.kv"), copy.deepcopy(made)
    assert loaded.settings == made.settings
    longer = torch.cat([ids, text(12, seed=1)], dim=1)
    for each in (made, loaded, copied):
        each.crop(300 - each.get_seq_length())
    one, *others = (greedy(ours, longer, 40, past_key_values=each)[1] for each in (made, loaded, copied))
    for other in others:
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_forged_file_is_refused(tmp_path):
    ours = model("llama, 4 to 1", OURS)
    made = cache(ours)
    greedy(ours, text(200), 3, past_key_values=made)
    made.save(tmp_path / "text.kv")
    arrays, about = tensorfile.read(tmp_path / "text.kv")
    arrays = {name: np.array(array) for name, array in arrays.items()}
    names = [name for name in arrays if name.startswith("layer.0.row.0.selected.0.")]
    assert len(names) == 6
    for name in names:
        for wrong in (None, arrays[name][:-1], arrays[name].astype(np.uint8), arrays[name][None]):
            forged = {**arrays, name: wrong} if wrong is not None else {k: v for k, v in arrays.items() if k != name}
            tensorfile.write(tmp_path / "forged.kv", forged, about)
            with pytest.raises(FoveaError, match="forged.kv"):
                RetrievalCache.load(tmp_path / "forged.kv")
    values = next(name for name in names if name.endswith("values"))
    for name, number in ((values, 0x7FC0), (values.replace("values", "keys"), 0xFF80)):
        wild = arrays[name].copy()
        wild[0, 0] = number
        tensorfile.write(tmp_path / "forged.kv", {**arrays, name: wild}, about)
        with pytest.raises(FoveaError, match="numbers that are not finite"):
            RetrievalCache.load(tmp_path / "forged.kv")
    seed = {"layer.0.row.0.selected.seed": np.array([-5], np.int64)}
    tensorfile.write(tmp_path / "forged.kv", {**arrays, **seed}, about)
    with pytest.raises(FoveaError, match="'seed' has numbers from -5"):
        RetrievalCache.load(tmp_path / "forged.kv")
    twice = arrays[(members := next(name for name in names if name.endswith("members")))].copy()
    twice[0] = twice[1]
    tensorfile.write(tmp_path / "forged.kv", {**arrays, members: twice}, about)
    with pytest.raises(FoveaError, match="names a row twice"):
        RetrievalCache.load(tmp_path / "forged.kv")


@pytest.mark.parametrize("select", [ALL, {"use": "wave", "rest": 0.1}])
def test_watched_attention_is_that_of_eager(select):
    ours, eager = model("llama, 4 to 1", OURS), model("llama, 4 to 1", "eager")
    ids, made = text(120), cache(ours, watch=True, select=select)
    sequences, _ = greedy(ours, ids, 21, past_key_values=made)
    with torch.inference_mode():
        whole = eager(sequences[:, :-1], output_attentions=True).attentions
    expected = torch.stack([layer[0, :, 120:].mean(0).mean(0) for layer in whole]).numpy()
    np.testing.assert_allclose(made.attention(), expected, atol=1e-6 if select is ALL else 0.02)
    np.testing.assert_allclose(made.attention().sum(axis=1), 1, atol=1e-5 if select is ALL else 0.02)


def test_after_an_interrupted_insertion_the_state_is_made_anew(monkeypatch):
    ours, ids = model("llama, 4 to 1", OURS), text(150)
    made, whole = cache(ours), cache(ours)
    greedy(ours, ids, 2, past_key_values=made)
    row = made.layers[0].rows[0].cache
    assert row.built

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("fovea.attention_retrieval.selection.wave.kmeans", interrupt)
        with pytest.raises(KeyboardInterrupt):
            greedy(ours, torch.cat([ids, text(30, seed=1)], dim=1), 5, past_key_values=made)
    assert row.selected is None
    assert not row.built
    made.crop(150 - made.get_seq_length())
    torch.testing.assert_close(
        greedy(ours, torch.cat([ids, text(9, seed=1)], dim=1), 20, past_key_values=made)[1],
        greedy(ours, torch.cat([ids, text(9, seed=1)], dim=1), 20, past_key_values=whole)[1],
        atol=3e-5,
        rtol=1e-5,
    )
