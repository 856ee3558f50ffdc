"""Captured queries, keys and values are the model's own; a dump that was damaged is refused."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from fovea.attention_retrieval.cache import tensorfile
from fovea.attention_retrieval.capture.causal_lm import Plan, capture
from fovea.attention_retrieval.capture.dump import Dump, as_float
from fovea.pipelines.cli.main import main
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.models import cache_dir, find
from tests.conftest import SHARED
from tests.pipelines.answering.test_generator_transformers import save_llama
from tests.tiny import save_bert

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXT = " ".join(f"word{n % 37} {n}" for n in range(400))
OWN = cache_dir()
"""The user's cache, which has the model; tests have one of their own otherwise."""
STORIES = SHARED / "models/stories260K/hf"


class Letters:
    """A tokenizer of bytes."""

    chat_template, model_max_length = None, 10**12

    def __call__(self, text, add_special_tokens=True, verbose=True):
        return {"input_ids": list(text.encode())}

    def get_vocab(self):
        return {chr(n): n for n in range(256)}


def tiny(kind="Llama", **settings):
    """A random model of two layers with four query heads on two kv heads, its tokens bytes."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        **{"vocab_size": 256, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
           "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 4096,
           "initializer_range": 0.3, "bos_token_id": None, "eos_token_id": None, **settings}
    )  # fmt: skip
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    return SimpleNamespace(name=kind, model=model, tokenizer=Letters(), window=4096)


PLAN = Plan(tokens=300, chunk=64, decode=5, held_out=40, share=0.1, dtype="fp32")


def attended(dump, layer, at):
    """What a layer gives for the kept queries `at` by its own rows alone: (at, heads * d), by the formula."""
    facts, group = dump.facts, dump.facts.group
    out = []
    for one in at:
        row = int(dump.query_rows[one])
        start, stop = facts.behind(row)
        rows = np.r_[0 : min(facts.tokens, row + 1), start:stop]
        heads = []
        for head in range(facts.heads):
            q = layer.query(slice(head, head + 1), np.array([one]))[0, 0]
            logits = as_float(layer.keys[head // group][rows]) @ q
            weights = np.exp(logits - logits.max())
            heads.append(weights / weights.sum() @ as_float(layer.values[head // group][rows]))
        out.append(np.concatenate(heads))
    return np.stack(out)


def own_output(lm, ids, layer):
    """What goes into the layer's output projection when the model reads `ids` at once with sdpa."""
    kept = []
    attention = lm.model.model.layers[layer].self_attn
    hook = attention.o_proj.register_forward_pre_hook(lambda _, args: kept.append(args[0][0]))
    with torch.inference_mode():
        logits = lm.model(torch.tensor([ids])).logits[0]
    hook.remove()
    return kept[0].numpy(), logits.numpy()


def check(lm, dump):
    """Captured vectors give the model's own attention, for prefill, question or continuation, and its own words."""
    tokens, facts = dump.parts["tokens"], dump.facts
    for run in facts.runs:
        text = [*tokens[: facts.tokens], *tokens[run.start : run.stop]]
        for n in facts.layers:
            real, logits = own_output(lm, [int(t) for t in text], n)
            at = [i for i, r in enumerate(dump.query_rows) if r < facts.tokens or run.start <= r < run.stop]
            rows = [int(r) - (run.start - facts.tokens if r >= facts.tokens else 0) for r in dump.query_rows[at]]
            np.testing.assert_allclose(attended(dump, dump.layer(n), at), real[rows], atol=2e-4)
        said = facts.tokens + run.decoded - run.start
        np.testing.assert_array_equal(tokens[run.decoded : run.stop], logits[said - 1 : -1].argmax(axis=1))


@pytest.mark.parametrize("kind", ["Llama", "Qwen3"])
def test_captured_vectors_reproduce_the_models_own_attention(tmp_path, kind):
    lm = tiny(kind)
    facts = capture(lm, TEXT, tmp_path / "d", PLAN, ["why is it word3", "and 17?"])
    assert lm.model.config._attn_implementation == "sdpa", "the model is as it was"
    assert (facts.tokens, facts.heads, facts.kv_heads, facts.d, facts.source) == (300, 4, 2, 16, "prefill")
    assert [(r.kind, r.stop - r.decoded) for r in facts.runs] == [("question", 5), ("question", 5)]
    dump = Dump.open(tmp_path / "d")
    check(lm, dump)
    assert {facts.kind(int(r)) for r in dump.query_rows[dump.held_out]} == {"question", "decode"}
    assert {facts.kind(int(r)) for r in dump.query_rows[dump.train]} == {"prefill"}


def test_the_continuation_is_held_out(tmp_path):
    lm = tiny()
    facts = capture(lm, TEXT, tmp_path / "d", PLAN)
    dump = Dump.open(tmp_path / "d")
    check(lm, dump)
    (run,) = facts.runs
    assert (run.kind, run.decoded - run.start, len(dump.held_out)) == ("continuation", 40, 45)
    early, late = np.split(dump.query_rows[dump.train], [-75])
    assert list(late) == list(range(225, 300)), "the last quarter is kept whole"
    assert len(early) == pytest.approx(0.1 * 225, abs=2)
    assert np.diff(early).max() < 20, "one of each stretch"


def test_chunks_give_what_one_shot_gives(tmp_path):
    lm = tiny()
    capture(lm, TEXT, tmp_path / "a", PLAN)
    capture(lm, TEXT, tmp_path / "b", Plan(**{**PLAN.__dict__, "chunk": 4096}))
    a, b = Dump.open(tmp_path / "a"), Dump.open(tmp_path / "b")
    assert a.facts == b.facts
    for n in a.facts.layers:
        for one, other in zip(a.layer(n), b.layer(n)):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_blocks_do_not_see_each_other_and_keep_their_positions(tmp_path):
    lm = tiny()
    facts = capture(lm, TEXT, tmp_path / "d", Plan(**{**PLAN.__dict__, "blocks": 3}), ["why?"])
    assert (facts.source, facts.blocks) == ("block-prefill", 3)
    dump, whole = Dump.open(tmp_path / "d"), DynamicKeys(lm, list(TEXT.encode())[100:200], offset=100)
    for n in facts.layers:
        np.testing.assert_allclose(dump.layer(n).keys[:, 100:200], whole.keys(n), atol=1e-5)
    (run,) = facts.runs
    layer, at = dump.layer(1), dump.held_out[:1]
    assert int(dump.query_rows[at[0]]) == run.start
    assert np.isfinite(attended(dump, layer, at)).all()


class DynamicKeys:
    """Keys of a text that is read by itself, its first token at position `offset`."""

    def __init__(self, lm, ids, offset):
        self.cache = transformers.DynamicCache(config=lm.model.config)
        positions = torch.arange(offset, offset + len(ids))[None]
        with torch.inference_mode():
            lm.model(torch.tensor([ids]), position_ids=positions, past_key_values=self.cache)

    def keys(self, layer):
        return self.cache.layers[layer].keys[0].numpy()


def test_the_function_is_sdpa(tmp_path):
    from fovea.attention_retrieval.capture.recording import Recording, recorded

    lm = tiny()
    ids = torch.tensor([list(TEXT.encode())[:200]])
    with torch.inference_mode():
        plain = lm.model(ids).logits
        with recorded(lm.model, Recording((0,), np.ones(200, bool), "fp32")):
            assert torch.equal(lm.model(ids).logits, plain)


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_bf16_is_the_upper_half(tmp_path, dtype):
    capture(tiny(), TEXT, tmp_path / "a", PLAN)
    capture(tiny(), TEXT, tmp_path / "b", Plan(**{**PLAN.__dict__, "dtype": dtype}))
    a, b = Dump.open(tmp_path / "a").layer(0), Dump.open(tmp_path / "b").layer(0)
    np.testing.assert_allclose(as_float(b.keys), a.keys, rtol=2**-8 if dtype == "bf16" else 0)


def test_damage_is_named(tmp_path):
    path = tmp_path / "d"
    capture(tiny(), TEXT, path, PLAN)
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:start])
    keys, rows = (start + header[name]["data_offsets"][0] + 9 for name in ("1.keys", "query_rows"))
    for at, part in ((keys, "'1.keys'"), (rows, "'query_rows'"), (whole.index(b"Llama") + 1, "the header")):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(ModelError, match=f"{part} is damaged: its checksum does not fit"):
            Dump.open(path)
    path.write_bytes(whole[:-7])
    with pytest.raises(ModelError, match="the file ends within"):
        Dump.open(path)
    path.write_bytes(b"no dump")
    with pytest.raises(ModelError, match="the header is damaged"):
        Dump.open(path)
    with pytest.raises(ModelError, match="there is no such dump"):
        Dump.open(tmp_path / "none")
    tensorfile.write(path, {"a": np.zeros(3, np.float32)}, {"facts": {}})
    with pytest.raises(ModelError, match="is no dump of queries and keys"):
        Dump.open(path)
    path.write_bytes(whole)
    with pytest.raises(ModelError, match="layer 7 is not in the dump"):
        Dump.open(path).layer(7)


def test_models_that_cannot_be_captured_are_refused(tmp_path):
    bloom = transformers.BloomConfig(vocab_size=256, hidden_size=32, n_layer=1, n_head=2)
    lm = SimpleNamespace(name="b", model=transformers.BloomForCausalLM(bloom), tokenizer=Letters(), window=None)
    with pytest.raises(ModelError, match="does not call attention through transformers' attention interface"):
        capture(lm, TEXT, tmp_path / "d", PLAN)
    assert not (tmp_path / "d").exists()


def test_sliding_window_layers_are_left_out(tmp_path):
    lm = tiny("Qwen3", use_sliding_window=True, sliding_window=32, max_window_layers=1)
    assert lm.model.config.layer_types == ["full_attention", "sliding_attention"]
    assert capture(lm, TEXT, tmp_path / "d", PLAN).layers == (0,)
    check(lm, Dump.open(tmp_path / "d"))
    with pytest.raises(ConfigError, match="layer 1 looks at a sliding window only"):
        capture(lm, TEXT, tmp_path / "d", Plan(**{**PLAN.__dict__, "layers": (1,)}))


def test_short_texts(tmp_path):
    with pytest.raises(ConfigError, match="the text has 30 tokens, and 40 are held out"):
        capture(tiny(), TEXT[:30], tmp_path / "d", PLAN)
    assert capture(tiny(), TEXT[:90], tmp_path / "d", PLAN).tokens == 50
    with pytest.raises(ConfigError, match="layer 9 is not in the model"):
        capture(tiny(), TEXT, tmp_path / "d", Plan(**{**PLAN.__dict__, "layers": (9,)}))


@pytest.mark.skipif(not STORIES.is_dir(), reason="needs the model stories260K")
def test_a_trained_model(tmp_path):
    from fovea.rag.causal_lm import load

    lm = load(str(STORIES))
    story = "Once upon a time, there was a little girl named Lily. She liked to play with her red ball. " * 20
    facts = capture(lm, story, tmp_path / "d", PLAN, ["What did Lily like?"])
    assert (facts.heads, facts.kv_heads, facts.d, facts.layers) == (8, 4, 8, (0, 1, 2, 3, 4))
    check(lm, Dump.open(tmp_path / "d"))


def test_an_encoders_windows(tmp_path):
    from fovea.attention_retrieval.capture.encoder import EncoderLM, capture_windows

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=260, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48
    )
    encoder = EncoderLM("b", transformers.BertModel(config).eval(), Framed())
    facts = capture_windows(encoder, TEXT, TEXT[::-1], tmp_path / "d", Plan(**{**PLAN.__dict__, "tokens": 1000}))
    assert (facts.source, facts.blocks, facts.tokens, facts.group) == ("windows", 4, 1000, 1)
    dump = Dump.open(tmp_path / "d")
    assert (len(dump.held_out), facts.behind(int(dump.query_rows[-1]))) == (40, (1000, 1000))
    layer, ids = dump.layer(1), [256, *TEXT.encode()[254:508], 257]
    kept, hook = [], encoder.model.encoder.layer[1].attention.self.key.register_forward_hook(
        lambda module, args, out: kept.append(out[0])
    )  # fmt: skip
    with torch.inference_mode():
        encoder.model(torch.tensor([ids]))
    hook.remove()
    real = kept[0][1:-1].reshape(254, 4, 8).transpose(0, 1)
    np.testing.assert_allclose(layer.keys[:, 254:508], real, atol=1e-5)
    capture_windows(encoder, TEXT, "why is it?", tmp_path / "e", PLAN)
    assert len(Dump.open(tmp_path / "e").held_out) == 10, "a question is a window of its own"
    with pytest.raises(ConfigError, match="a text without words"):
        capture_windows(encoder, TEXT, "", tmp_path / "e", PLAN)


class Framed(Letters):
    """Bytes between two tokens of their own."""

    def __call__(self, text, add_special_tokens=True, verbose=True):
        ids = list(text.encode())
        return {"input_ids": [256, *ids, 257] if add_special_tokens else ids}


SAID = """\
MODEL: layers 0, 1; 4 heads on 2 kv heads of 8
300 tokens, then by question and the model's own words: 17 + 3, 7 + 3
OUT: SIZE MB
"""


def test_the_command(tmp_path, capsys):
    model = save_llama(tmp_path / "model", window=512)
    (tmp_path / "text").mkdir()
    (tmp_path / "text/a.txt").write_text(TEXT[:200])
    (tmp_path / "text/b.md").write_text(TEXT[200:])
    (tmp_path / "ask.txt").write_text("why is it word3 ?\n\nand 17?\n")
    out = tmp_path / "new/d.safetensors"
    args = ["--model", model, "--text", str(tmp_path / "text"), "--out", str(out), "--tokens", "300"]
    assert main(["capture", *args, "--ask", str(tmp_path / "ask.txt"), "--decode", "3"]) == 0
    said = capsys.readouterr().out
    assert re.sub(r"[0-9.]+ MB", "SIZE MB", said.replace(model, "MODEL").replace(str(out), "OUT")) == SAID
    assert Dump.open(out).facts.model == model
    assert main(["capture", *args, "--tokens", "600", "--held-out", "40"]) == 0
    found = capsys.readouterr()
    assert "600 tokens, then by continuation and the model's own words: 40 + " in found.out
    assert f"warning: {model} was made for 512 tokens and reads more" in found.err
    assert main(["capture", *args, "--layers", "5"]) == 2
    assert "layer 5 is not in the model\n  allowed: 0, 1" in capsys.readouterr().err
    assert main(["capture", *args, "--blocks", "3", "--held-out", "40"]) == 0
    assert "300 tokens, block-prefill in 3 blocks, then by" in capsys.readouterr().out


def test_the_command_with_an_encoder(tmp_path, capsys):
    save_bert(tmp_path / "bert", positions=256)
    (tmp_path / "text.txt").write_text("the moon orbits the earth " * 200)
    (tmp_path / "other.txt").write_text("green tea is brewed at degrees " * 100)
    args = ["--model", str(tmp_path / "bert"), "--text", str(tmp_path / "text.txt"), "--out", str(tmp_path / "d")]
    assert main(["capture", *args, "--quiet"]) == 2
    assert "an encoder's held-out queries are those of another text\n  fix: --ask FILE" in capsys.readouterr().err
    assert main(["capture", *args, "--ask", str(tmp_path / "other.txt"), "--held-out", "20"]) == 0
    found = capsys.readouterr()
    assert "layers 0, 1; 4 heads on 4 kv heads of 8\n1,000 tokens, 4 windows\n" in found.out
    assert "warning: the text is short: it has 1,000 tokens, not 32,768" in found.err


@pytest.mark.parametrize("args", [["--tokens", "0"], ["--share", "2"], ["--layers", "a"], ["--decode", "-1"]])
def test_numbers_are_checked(args, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["capture", "--model", "m", "--text", "t", "--out", "o", *args])
    assert "expected a number" in capsys.readouterr().err


@pytest.mark.skipif(find("smollm2") is None, reason="needs the model: fovea models get smollm2")
def test_a_name_of_fovea_models_is_found_as_its_model(tmp_path, capsys, monkeypatch):
    """The name is one that `fovea models` lists: no hub has it."""
    monkeypatch.setenv("FOVEA_CACHE", str(OWN))
    (tmp_path / "text.txt").write_text(TEXT)
    out = tmp_path / "dump.st"
    args = ["--tokens", "40", "--layers", "3", "--held-out", "6", "--decode", "1", "--out", str(out), "--quiet"]
    assert main(["capture", "--model", "smollm2", "--text", str(tmp_path / "text.txt"), *args]) == 0
    assert capsys.readouterr().out.startswith("smollm2: layers 3; 9 heads on 3 kv heads of 64")
    assert Dump.open(out).facts.tokens == 40
