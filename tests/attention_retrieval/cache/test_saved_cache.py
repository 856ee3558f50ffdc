"""A cache as a file: the same answers after loading, and every kind of damage refused by name."""

from __future__ import annotations

import copy
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.attention_retrieval.cache import tensorfile  # noqa: E402
from fovea.attention_retrieval.rounding import decode  # noqa: E402
from fovea.rag import registry  # noqa: E402
from fovea.rag.errors import ModelError  # noqa: E402
from tests.tiny_lms import greedy, model, text  # noqa: E402

OURS = "fovea_retrieval"
SETTINGS = {"sinks": 4, "window": 16, "top_k": 12, "dense_below": 50, "insert_every": 8, "audit_every": 5}


def read(lm, ids, **settings) -> RetrievalCache:
    """A cache that has read `ids`, and one token more than that, so that its index is built."""
    made = RetrievalCache(lm.config, Retrieval(**{**SETTINGS, **settings}))
    greedy(lm, ids, 3, past_key_values=made)
    return made


KEPT = [
    *((engine, "bf16", None) for engine in registry.names("engine")),
    *((engine, dtype, None) for engine in ("flat", "query_ivf") for dtype in ("int8", "fp32")),
    *((engine, "bf16", name) for engine in ("flat", "query_ivf") for name in registry.names("correction")),
]
"""Corrections know neither engines nor types, and few engines read rows their own way: not all are crossed."""


@pytest.mark.parametrize(("engine", "dtype", "correction"), KEPT)
def test_a_loaded_cache_answers_alike(tmp_path, engine, dtype, correction):
    lm, ids = model("llama, 4 to 1", OURS), text(300)
    own = {"heads": [[0, 1], [1, 2]]} if correction == "act" else {}  # it is of heads that are named
    made = read(lm, ids, engine={"use": engine}, dtype=dtype, correct=correction and {"use": correction, **own})
    made.save(tmp_path / "text.kv")
    loaded = RetrievalCache.load(tmp_path / "text.kv")
    longer = torch.cat([ids, text(12, seed=1)], dim=1)
    assert loaded.settings == made.settings
    assert loaded.get_seq_length() == made.get_seq_length()
    for _ in range(2):
        made.crop(300 - made.get_seq_length())
        loaded.crop(300 - loaded.get_seq_length())
        one, other = (greedy(lm, longer, 12, past_key_values=each) for each in (made, loaded))
        assert torch.equal(one[0], other[0])
        torch.testing.assert_close(one[1], other[1], atol=1e-5, rtol=1e-5)


def test_a_second_prompt_is_sampled_alike(tmp_path):
    """As many of its queries are kept, for an index to learn from, as in the cache that was not saved."""
    lm = model("llama, 4 to 1", OURS)
    made = RetrievalCache(lm.config, Retrieval(engine={"use": "query_ivf"}, queries=32))
    greedy(lm, text(60), 1, past_key_values=made)
    made.save(tmp_path / "text.kv")
    loaded = RetrievalCache.load(tmp_path / "text.kv")
    for each in (made, loaded):
        greedy(lm, text(100), 1, past_key_values=each)
    one, other = (each.layers[0].rows[0].cache.sample for each in (made, loaded))
    np.testing.assert_array_equal(one.positions, other.positions)
    assert len(one.positions) < 100


@pytest.mark.parametrize("engine", registry.names("engine"))
def test_a_copy_stands_by_itself(engine):
    lm, ids = model("llama, 4 to 1", OURS), text(300)
    made = read(lm, ids, engine={"use": engine}, dtype="int8", correct={"use": "tail"})
    made.crop(300 - made.get_seq_length())
    twin, longer = copy.deepcopy(made), torch.cat([ids, text(12, seed=1)], dim=1)
    one = greedy(lm, longer, 12, past_key_values=made)[1]
    made.crop(300 - made.get_seq_length())
    for layer in made.layers:
        for vectors in (layer.rows[0].cache.keys, layer.rows[0].cache.values):
            for slab in (*vectors.slabs.codes, *vectors.slabs.scales):
                slab[:] = 77  # what the copy must not read
    torch.testing.assert_close(greedy(lm, longer, 12, past_key_values=twin)[1], one, atol=1e-5, rtol=1e-5)


def test_more_than_a_slab_is_mapped_not_copied(tmp_path):
    lm, ids = model("qwen3", OURS), text(5000)
    made = RetrievalCache(lm.config, Retrieval(dense_below=10000))
    with torch.inference_mode():
        for piece in ids.split(1000, dim=1):
            lm(piece, past_key_values=made, logits_to_keep=1)
    made.save(tmp_path / "text.kv")
    loaded = RetrievalCache.load(tmp_path / "text.kv")
    keys = loaded.layers[0].rows[0].cache.keys
    assert not keys.slabs.codes[0].flags.writeable
    assert isinstance(keys.slabs.codes[0], np.memmap)
    np.testing.assert_array_equal(keys.block(0, 5000), made.layers[0].rows[0].cache.keys.block(0, 5000))
    loaded.crop(-1500)  # back into the mapped slab, then on: it is copied first
    longer = torch.cat([ids[:, :3500], text(30, seed=2)], dim=1)
    made.crop(-1500)
    assert torch.equal(greedy(lm, longer, 5, past_key_values=loaded)[1], greedy(lm, longer, 5, past_key_values=made)[1])


def test_a_batch_with_padding_and_sliding_layers(tmp_path):
    lm, ids, mask = model("qwen3, hybrid", OURS), text(90, batch=2), torch.ones(2, 90, dtype=torch.long)
    mask[0, :30] = 0
    made = RetrievalCache(lm.config, Retrieval(**SETTINGS))
    first = greedy(lm, ids, 4, mask=mask, past_key_values=made)[0]
    made.save(tmp_path / "text.kv")
    loaded = RetrievalCache.load(tmp_path / "text.kv")
    longer = torch.cat([first, text(2, batch=2, seed=1)], dim=1)
    mask = torch.cat([mask, torch.ones(2, 6, dtype=torch.long)], dim=1)
    one, other = (greedy(lm, longer, 9, mask=mask, past_key_values=each)[1] for each in (made, loaded))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_another_model_is_refused_with_both_names(tmp_path):
    lm = model("llama, 4 to 1", OURS)
    read(lm, text(100)).save(tmp_path / "text.kv")
    for other, seed in (("llama, 4 to 1", 1), ("llama, own scaling", 0)):
        loaded = RetrievalCache.load(tmp_path / "text.kv")
        with pytest.raises(ModelError) as error:
            greedy(model(other, OURS, seed=seed), text(110), 2, past_key_values=loaded)
        assert str(error.value).startswith("this cache was made by llama (llama, 3 layers, 8/2 heads, weights ")
        assert ", not by llama (llama, 3 layers, " in str(error.value)


def test_the_same_weights_in_bf16_are_the_same_model(tmp_path):
    lm = model("llama, 4 to 1", OURS).bfloat16()
    read(lm, text(100)).save(tmp_path / "text.kv")
    loaded = RetrievalCache.load(tmp_path / "text.kv")
    greedy(lm.float(), text(110), 2, past_key_values=loaded)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "text.kv"
    read(model("llama, 4 to 1", OURS), text(200)).save(path)
    return path


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.3, 0.9, 0.9999])
def test_a_file_cut_short_is_refused(saved, tmp_path, share):
    content = saved.read_bytes()
    (tmp_path / "cut.kv").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError, match="damaged|ends within") as error:
        RetrievalCache.load(tmp_path / "cut.kv")
    assert "cut.kv" in str(error.value)
    assert "make the file anew" in str(error.value)


def test_any_flipped_bit_is_refused(saved, tmp_path):
    content = bytearray(saved.read_bytes())
    rng = np.random.default_rng(0)
    header = int.from_bytes(content[:8], "little")
    places = [*rng.integers(0, 8, 4), *rng.integers(8, 8 + header, 60), *rng.integers(8 + header, len(content), 60)]
    named = 0
    for place in places:
        bit = 1 << int(rng.integers(0, 8))
        content[place] ^= bit
        (tmp_path / "flipped.kv").write_bytes(content)
        content[place] ^= bit
        if chr(content[place]) == " " and place < 8 + header and place > 8 + header - 64:
            continue  # the padding behind the header may be any white space
        with pytest.raises(ModelError) as error:
            RetrievalCache.load(tmp_path / "flipped.kv")
        named += "layer." in str(error.value)
    assert named >= 60


def test_keys_that_waited_as_fp32_before_format_6_are_read(tmp_path):
    lm, ids = model("llama, 4 to 1", OURS).bfloat16(), text(600)
    made = read(lm, ids, dtype="int4", engine={"use": "flat"})
    made.save(tmp_path / "new.kv")
    arrays, about = tensorfile.read(tmp_path / "new.kv")
    plain = [name for name in arrays if name.endswith(".plain")]
    assert plain
    older = {name: decode(arrays[name]) if name in plain else arrays[name] for name in arrays}
    tensorfile.write(tmp_path / "old.kv", older, {**about, "format": 5})
    one, other = (RetrievalCache.load(tmp_path / name) for name in ("new.kv", "old.kv"))
    for mine, theirs in zip(one.layers, other.layers):
        keys, same = mine.rows[0].cache.keys, theirs.rows[0].cache.keys
        np.testing.assert_array_equal(keys.block(0, len(keys)), same.block(0, len(same)))
    assert other.layers[0].rows[0].cache.selected is not None, "its index too"


def test_no_file_and_another_format(saved, tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        RetrievalCache.load(tmp_path / "nothing.kv")
    arrays, about = tensorfile.read(saved)
    tensorfile.write(tmp_path / "new.kv", arrays, {**about, "format": 99})
    with pytest.raises(ModelError, match="format 99"):
        RetrievalCache.load(tmp_path / "new.kv")
    (tmp_path / "text.kv").write_text(json.dumps({"not": "a cache"}) * 50)
    with pytest.raises(ModelError, match="header is damaged"):
        RetrievalCache.load(tmp_path / "text.kv")


def test_safetensors_can_read_it(saved):
    from safetensors.numpy import load_file

    arrays, _ = tensorfile.read(saved)
    theirs = load_file(saved)
    assert set(arrays) == set(theirs)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, theirs[name])


WRITER = """
import sys, numpy as np
from pathlib import Path
from fovea.attention_retrieval.cache import tensorfile
arrays = {str(n): np.full(3_000_000, n, np.float32) for n in range(8)}
print("ready", flush=True)
while True:
    tensorfile.write(Path(sys.argv[1]), arrays, {"made": "whole"})
"""


def test_killed_while_saving_the_old_file_stays_whole(tmp_path):
    path = tmp_path / "text.kv"
    tensorfile.write(path, {"0": np.zeros(3, np.float32)}, {"made": "first"})
    for wait in (0.02, 0.07, 0.16, 0.3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(wait)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        _, about = tensorfile.read(path)
        assert about["made"] in ("first", "whole")


def test_an_interrupted_save_leaves_nothing_beside(tmp_path, monkeypatch):
    path = tmp_path / "text.kv"
    tensorfile.write(path, {"0": np.zeros(3, np.float32)}, {"made": "first"})
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        tensorfile.write(path, {"0": np.ones(3, np.float32)}, {"made": "second"})
    monkeypatch.undo()
    assert tensorfile.read(path)[1] == {"made": "first"}
    assert [each.name for each in tmp_path.iterdir()] == ["text.kv"]
