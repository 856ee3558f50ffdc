"""A method of attention is a choice at each of its moments: prefill, eviction, heads, selection, correction."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.attention_retrieval.cache import tensorfile  # noqa: E402
from fovea.rag.errors import ConfigError, ModelError  # noqa: E402
from tests.tiny_lms import CONFIGS, greedy, model, text  # noqa: E402

ZONES = {"sinks": 4, "window": 16, "dense_below": 50, "insert_every": 8, "dtype": "fp32"}
NAMES = ("llama, 4 to 1", "qwen2, 7 to 1", "gpt-neox", "qwen3, hybrid")


def policy(name: str, keep: float) -> dict:
    config = CONFIGS[name]
    scores = np.random.default_rng(0).random((config.num_hidden_layers, config.num_attention_heads))
    return {"use": "retrieval_heads", "scores": scores.tolist(), "keep": keep, "window": 20}


def whole(name: str) -> dict:
    """Every moment chosen, none of them leaving anything out."""
    return {
        "prefill": {"use": "band", "window": 1000},
        "evict": {"use": "snapkv", "keep": 1000},
        "heads": policy(name, 1),
        "select": {"use": "wave", "rest": 0, "most": 10_000},
    }


def some(name: str) -> dict:
    """Every moment chosen, all but the last of them leaving something out."""
    return {
        "prefill": {"use": "band", "window": 60},
        "evict": {"use": "snapkv", "keep": 90, "window": 8},
        "heads": policy(name, 0.5),
        "select": {"use": "wave", "rest": 0, "most": 10_000},
    }


@pytest.mark.parametrize("name", NAMES)
def test_choices_that_leave_nothing_out_are_full_attention(name):
    ids = text(150)
    sequences, logits = greedy(model(name, "sdpa"), ids)
    made = RetrievalCache(config_of(name), Retrieval(**ZONES, **whole(name)))
    got = greedy(model(name, "fovea_retrieval"), ids, past_key_values=made)
    assert torch.equal(got[0], sequences)
    torch.testing.assert_close(got[1], logits, atol=3e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_composition_goes_on_after_saving_and_after_cropping(name, tmp_path):
    lm, ids = model(name, "fovea_retrieval"), text(200)
    made = RetrievalCache(config_of(name), Retrieval(**ZONES, **some(name)))
    made.activate_past_recording()
    with torch.inference_mode():
        for piece in ids.split(70, dim=1):
            lm(piece, past_key_values=made)
    made.save(tmp_path / "read.kv")  # read, and nothing decoded yet
    loaded = RetrievalCache.load(tmp_path / "read.kv")
    longer = torch.cat([ids, text(1, seed=1)], dim=1)
    first = greedy(lm, longer, 12, past_key_values=made)
    torch.testing.assert_close(greedy(lm, longer, 12, past_key_values=loaded)[1], first[1], atol=1e-5, rtol=1e-5)
    assert any(head.tokens > 150 and head.indexed < 90 for head in made.report()), "evicted"
    assert {"window", "wave"} == {head.engine for head in made.report()}
    made.save(tmp_path / "asked.kv")
    again = RetrievalCache.load(tmp_path / "asked.kv")
    further = torch.cat([first[0], text(1, seed=2)], dim=1)
    one, two = (greedy(lm, further, 12, past_key_values=each)[1] for each in (made, again))
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    loaded.crop(200 - loaded.get_seq_length())
    twice = greedy(lm, longer, 12, past_key_values=loaded)
    torch.testing.assert_close(twice[1], first[1], atol=1e-5, rtol=1e-5)
    before = made.get_seq_length()
    with pytest.raises(ModelError, match="so no layer was cropped"):
        made.crop(100 - made.get_seq_length())
    assert made.get_seq_length() == before


def config_of(name: str):
    return model(name, "fovea_retrieval").config


def test_padding_and_a_batch_are_evicted_by_sequence():
    name = "llama, 4 to 1"
    lm, ids, mask = model(name, "fovea_retrieval"), text(160, batch=2), torch.ones(2, 160, dtype=torch.long)
    mask[0, :40] = 0
    both = RetrievalCache(lm.config, Retrieval(**ZONES, **some(name)))
    alone = RetrievalCache(lm.config, Retrieval(**ZONES, **some(name)))
    made = greedy(lm, ids, mask=mask, past_key_values=both)[1]
    torch.testing.assert_close(
        made[:, 0], greedy(lm, ids[:1, 40:], past_key_values=alone)[1][:, 0], atol=5e-5, rtol=1e-5
    )


@pytest.mark.parametrize("chosen", ["evict", "heads"])
def test_what_watch_cannot_count_is_refused(chosen):
    own = {chosen: some("llama, 4 to 1")[chosen]}
    with pytest.raises(ValueError, match=f"leave out {chosen}, or watch"):
        Retrieval(watch=True, **own)


def test_two_corrections_are_refused():
    lift, tail = {"use": "lift"}, {"use": "tail"}
    for there, here in ((None, lift), (lift, None)):
        with pytest.raises(ValueError, match="correct stands here and under select"):
            Retrieval(select={"use": "retrieval", "correct": there}, correct=here)
    for settings in (
        {"select": {"use": "retrieval", "correct": lift}},
        {"select": {"use": "retrieval"}, "correct": lift},
    ):
        assert Retrieval(**settings).selection.correct.name == "lift"
        assert Retrieval.model_validate(Retrieval(**settings).settings()) == Retrieval(**settings)
    assert Retrieval(select={"use": "retrieval", "correct": tail}).selection.correct.name == "tail"


def test_heads_of_another_model_are_refused_when_attached():
    with pytest.raises(ConfigError, match="3 layers of 8 heads, the model has 3 of 7"):
        RetrievalCache(config_of("qwen2, 7 to 1"), Retrieval(heads=policy("llama, 4 to 1", 1)))


def test_a_file_of_the_format_before_is_read(tmp_path):
    """Format 3 named an engine a row, and `prompt_window` among the settings; its text is read, its index made anew."""
    lm, ids = model("llama, 4 to 1", "fovea_retrieval"), text(200)
    made = RetrievalCache(lm.config, Retrieval(**ZONES, top_k=500, engine={"use": "flat"}))
    greedy(lm, ids, 3, past_key_values=made)
    made.crop(200 - made.get_seq_length())
    made.save(tmp_path / "new.kv")
    arrays, about = tensorfile.read(tmp_path / "new.kv")
    about["format"], about["settings"]["prompt_window"] = 3, 70
    for name in ("prefill", "evict", "heads"):
        about["settings"].pop(name, None)
    for layer in about["layers"]:
        for row in layer["rows"]:
            del row["built"], row["evicted"]
            row["engine"] = {"use": "flat"}
    kept = {name: array for name, array in arrays.items() if ".selected." not in name}
    tensorfile.write(tmp_path / "old.kv", kept, about)
    old = RetrievalCache.load(tmp_path / "old.kv")
    assert (old.settings.prefill.name, old.settings.prefill.window) == ("band", 70)
    longer = torch.cat([ids, text(1, seed=1)], dim=1)
    one, two = (greedy(lm, longer, 12, past_key_values=each)[1] for each in (made, old))
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
