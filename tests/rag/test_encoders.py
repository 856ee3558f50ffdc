"""Encoders: one conformance suite for all, and what each back-end promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sentence_transformers")

from fovea.rag import registry
from fovea.rag.backend import choose
from fovea.rag.encoder import Encoder
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.engines import cores, lacks_bfloat16
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.models import find
from fovea.rag.onnx_export import cosines, exported
from fovea.rag.recipe import Recipe
from fovea.rag.testing.encoders import HOSTILE, PLAIN, check_encoder
from fovea.rag.trace import Trace
from tests.tiny import reference, save_encoder

BACKENDS = ["onnx", "openvino", "torch"]
needs_minilm = pytest.mark.skipif(find("minilm") is None, reason="needs the model: fovea models get minilm")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """An export cache of these tests' own."""
    folder = tmp_path_factory.mktemp("cache")
    old = os.environ.get("FOVEA_CACHE")
    os.environ["FOVEA_CACHE"] = str(folder)
    yield folder
    os.environ.pop("FOVEA_CACHE") if old is None else os.environ.update(FOVEA_CACHE=old)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """A model whose graph is not written but traced, and kept: its pooling is another."""
    return save_encoder(tmp_path_factory.mktemp("traced"), pooling="max")


def encoder(folder, backend="onnx", **settings) -> SentenceTransformerEncoder:
    if backend == "openvino":
        pytest.importorskip("openvino")
    return SentenceTransformerEncoder(model=str(folder), backend=backend, device="cpu", **settings)


# What holds of every encoder


def test_hash_conforms():
    check_encoder(HashEncoder())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_tiny_model_conforms_on_every_back_end(tiny, backend):
    check_encoder(encoder(tiny, backend))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_with_prompts_conforms(tmp_path_factory, backend):
    folder = save_encoder(tmp_path_factory.mktemp("prompted"), prompts={"query": "moon: ", "document": "tea: "})
    check_encoder(encoder(folder, backend))


def test_int8_conforms_and_has_a_fingerprint_of_its_own(tiny):
    exact, rounded = encoder(tiny), encoder(tiny, precision="int8")
    check_encoder(rounded)
    assert rounded.fingerprint != exact.fingerprint
    assert 0.9 < cosines(exact.encode(PLAIN), rounded.encode(PLAIN)).min() < 0.999999


SHORT = ["the moon orbits the earth", "tea is brewed at 80.", "", "rivers"]
"""Within the tiny models' window, past which sentence-transformers cuts and we do not."""


def test_back_ends_agree_and_share_a_fingerprint(tiny):
    made = [encoder(tiny, backend) for backend in BACKENDS]
    first = made[0].encode(PLAIN + HOSTILE)
    for other in made[1:]:
        assert cosines(first, other.encode(PLAIN + HOSTILE)).min() >= 0.99999
        assert other.fingerprint == made[0].fingerprint


def test_prompts_are_those_of_the_model_or_of_the_settings(tmp_path):
    folder = save_encoder(tmp_path, prompts={"query": "tea: ", "document": ""})
    ours = encoder(folder)
    assert ours.prompt("query") == "tea: "
    np.testing.assert_allclose(ours.encode(["moon"], "query"), reference(folder, ["moon"], prompt="tea: "), atol=1e-5)
    np.testing.assert_allclose(ours.encode(["moon"]), reference(folder, ["moon"], prompt=""), atol=1e-5)
    own = encoder(folder, query_prompt="days ")
    np.testing.assert_allclose(own.encode(["moon"], "query"), reference(folder, ["days moon"], prompt=""), atol=1e-5)
    assert own.fingerprint != ours.fingerprint


def test_a_prompt_that_fills_the_window_is_refused(tiny):
    with pytest.raises(ConfigError, match="fills its window"):
        encoder(tiny, document_prompt="the moon " * 40).encode(["a"])


def test_a_model_the_fast_path_cannot_follow_runs_through_sentence_transformers_and_says_so(tmp_path):
    folder = static_model(tmp_path)
    ours = SentenceTransformerEncoder(model=str(folder), device="cpu")
    trace = Trace()
    with trace.stage("encode") as stage:
        vectors = ours.encode(PLAIN)
    assert cosines(vectors, reference(folder, PLAIN)).min() >= 0.99999
    assert any("StaticEmbedding" in message for message in trace.warnings)
    assert stage.notes["backend"].startswith("torch")
    assert ours.window is None
    check_encoder(ours)
    with pytest.raises(ModelError, match="cannot run on onnx"):
        SentenceTransformerEncoder(model=str(folder), backend="onnx").encode(["a"])


def static_model(folder):
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import BertPreTokenizer

    from tests.tiny import vocabulary

    torch.manual_seed(0)
    vocab = {t: i for i, t in enumerate(vocabulary())}
    tokenizer = Tokenizer(WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=16)], device="cpu").save(str(folder / "m"))
    return folder / "m"


# Windows: a long text is read to its end


def test_a_long_text_is_the_weighted_mean_of_its_windows(tiny):
    ours = encoder(tiny)
    text = " ".join(["moon tea rivers earth days"] * 12)
    from fovea.rag.windows import windows

    ids = ours.tokenizer.ids([text])[0]
    spans = windows(len(ids), ours.window)
    offsets = ours.tokenizer.offsets(text)
    parts = [text[offsets[a][0] : offsets[b - 1][1]] for a, b in spans]
    mean = sum((b - a) * v.astype(np.float64) for (a, b), v in zip(spans, ours.encode(parts)))
    np.testing.assert_allclose(ours.encode([text])[0], mean / np.linalg.norm(mean), atol=1e-5)
    assert len(spans) == -(-len(ids) // ours.window)


@settings(max_examples=25)
@given(st.lists(st.text(max_size=60), max_size=6))
def test_any_texts_give_unit_vectors_in_order(tiny, texts):
    ours = shared(tiny)
    vectors = ours.encode(texts)
    assert vectors.shape == (len(texts), ours.dim)
    for text, vector in zip(texts, vectors):
        np.testing.assert_allclose(ours.encode([text])[0], vector, atol=1e-5)
        assert abs(float(vector @ vector) - 1) < 1e-5


@settings(max_examples=100)
@given(st.text(max_size=200))
def test_offsets_slice_the_text_into_what_the_model_reads(tiny, text):
    tokenizer = shared(tiny).tokenizer
    offsets = tokenizer.offsets(text)
    assert len(offsets) == tokenizer.count(text) == tokenizer.count_many(["", text])[1]
    assert all(0 <= a <= b <= len(text) for a, b in offsets)


_made: dict[str, SentenceTransformerEncoder] = {}


def shared(folder) -> SentenceTransformerEncoder:
    return _made.setdefault(str(folder), encoder(folder))


def test_tokenizing_from_many_threads(tiny):
    from concurrent.futures import ThreadPoolExecutor

    ours = shared(tiny)
    texts = [f"the moon {i} orbits " * (i % 7) for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(ours.tokenizer.count, texts))
        vectors = np.stack(list(pool.map(lambda t: ours.encode([t])[0], texts[:40])))
    assert counts == ours.tokenizer.count_many(texts)
    np.testing.assert_allclose(vectors, ours.encode(texts[:40]), atol=1e-5)


# What may run where


@pytest.mark.parametrize(
    "wrong",
    [
        {"precision": "int8", "backend": "torch"},
        {"precision": "bfloat16", "backend": "onnx"},
        {"device": "cuda", "backend": "onnx"},
        {"device": "gpu"},
        {"precision": "int4"},
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(wrong):
    with pytest.raises(ValueError, match=r"precision|device"):
        SentenceTransformerEncoder(**wrong)


def test_bfloat16_is_refused_where_the_processor_lacks_it():
    assert "no bfloat16 instructions" in lacks_bfloat16("flags\t\t: fpu sse2 avx avx2 fma f16c")
    assert lacks_bfloat16("flags\t\t: fpu avx2 avx512f avx512_bf16") == ""
    assert lacks_bfloat16("Features\t: fp asimd bf16") == ""
    if lack := lacks_bfloat16():
        with pytest.raises(ModelError, match="bfloat16 is refused"):
            choose("auto", "cpu", "bfloat16")
        assert lack


def test_bfloat16_has_a_fingerprint_of_its_own(tiny):
    if lacks_bfloat16():
        pytest.skip("the processor has no bfloat16")
    pytest.importorskip("openvino")
    rounded = encoder(tiny, "openvino", precision="bfloat16")
    check_encoder(rounded)
    assert len({rounded.fingerprint, encoder(tiny, "torch", precision="bfloat16").fingerprint,
                encoder(tiny).fingerprint}) == 3  # fmt: skip


def test_what_only_changes_speed_stays_out_of_the_fingerprint(tiny):
    slow = encoder(tiny, batch_size=1, batch_tokens=8, threads=1, offline=True)
    fast = shared(tiny)
    assert slow.fingerprint == fast.fingerprint
    np.testing.assert_allclose(slow.encode(PLAIN), fast.encode(PLAIN), atol=1e-5)


def test_the_fingerprint_follows_the_content_not_the_place(tiny, tmp_path):
    import shutil

    moved = shutil.copytree(tiny, tmp_path / "moved")
    assert encoder(moved).fingerprint == shared(tiny).fingerprint
    settings_file = moved / "1_Pooling" / "config.json"
    settings_file.write_text(settings_file.read_text().replace('"mean"', '"cls"'))
    assert encoder(moved).fingerprint != shared(tiny).fingerprint
    assert encoder(save_encoder(tmp_path / "x", seed=1)).fingerprint != shared(tiny).fingerprint


def test_the_choice_of_a_back_end_has_a_reason(tiny):
    chosen = SentenceTransformerEncoder(model=str(tiny), device="cpu").chosen_backend
    assert "onnx on cpu" in chosen
    assert "first installed" in chosen
    assert 1 <= cores() <= (os.cpu_count() or 1)


def test_yaml_names_it():
    assert registry.find("encoder", "sentence_transformer") is SentenceTransformerEncoder
    made = Encoder.model_validate({"use": "sentence_transformer", "batch_size": 8})
    assert isinstance(made, SentenceTransformerEncoder)


# The export


def test_a_damaged_export_is_made_again_with_a_warning(traced):
    path = exported(Recipe.read(traced))
    before = encoder(traced).encode(PLAIN)
    path.write_bytes(path.read_bytes()[:-100])
    trace = Trace()
    with trace.stage("encode"):
        again = encoder(traced).encode(PLAIN)
    assert any("damaged" in message for message in trace.warnings)
    np.testing.assert_allclose(again, before, atol=1e-6)
    assert exported(Recipe.read(traced)).exists()


def test_an_export_that_lies_is_made_again(traced):
    """Damage that keeps the name honest (other bytes under their own hash) is found when the graph is opened."""
    from fovea.rag.models import sha256_of

    path = exported(Recipe.read(traced))
    path.write_bytes(b"no graph at all")
    path.rename(path.with_name(path.name.replace(path.name.split(".")[-2], sha256_of(path))))
    trace = Trace()
    with trace.stage("encode"):
        vectors = encoder(traced).encode(SHORT)
    assert any("could not be read" in message for message in trace.warnings)
    assert cosines(vectors, reference(traced, SHORT)).min() >= 0.99999


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_nothing_heavy_is_imported_for_a_bert_nor_after_the_first_use_of_another(tmp_path, pooling, monkeypatch):
    tiny = save_encoder(tmp_path, pooling=pooling)
    if pooling == "mean":
        monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "empty"))
    else:
        encoder(tiny).encode(["warm"])
    code = (
        "import json, sys\n"
        "from fovea.rag.encoder import Encoder\n"
        f"e = Encoder.model_validate({{'use': 'sentence_transformer', 'model': {str(tiny)!r}, 'device': 'cpu'}})\n"
        "shape = e.encode(['is tea brewed', 'the moon ' * 50]).shape, e.window, e.fingerprint\n"
        "heavy = ('torch', 'transformers', 'sentence_transformers', 'onnx', 'huggingface_hub', 'scipy', 'sklearn')\n"
        "print(json.dumps([list(shape[0]), [m for m in heavy if m in sys.modules], shape[2]]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[2, 32], [], encoder(tiny).fingerprint]


def test_a_cache_that_cannot_be_written_is_said_and_torch_runs(traced, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "file"))
    trace = Trace()
    with trace.stage("encode") as stage:
        vectors = SentenceTransformerEncoder(model=str(traced), device="cpu").encode(SHORT)
    assert any("cannot be written" in message for message in trace.warnings)
    assert stage.notes["backend"].startswith("torch")
    assert cosines(vectors, reference(traced, SHORT)).min() >= 0.99999
    with pytest.raises(ModelError, match="cannot be written"):
        encoder(traced).encode(["a"])


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="neither config.json nor modules.json"):
        SentenceTransformerEncoder(model=str(tmp_path)).encode(["a"])
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "config.json").write_text("{not json")
    with pytest.raises(ModelError, match=r"config\.json"):
        SentenceTransformerEncoder(model=str(tmp_path)).encode(["a"])


def test_weights_that_are_damaged_are_an_error_with_the_folder(tiny, tmp_path):
    import shutil

    broken = shutil.copytree(tiny, tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    with pytest.raises(ModelError, match="broken"):
        SentenceTransformerEncoder(model=str(broken), device="cpu").encode(["a"])


def test_weights_that_give_no_numbers_are_an_error(tiny, tmp_path):
    import shutil

    from safetensors.numpy import load_file, save_file

    broken = shutil.copytree(tiny, tmp_path / "nan")
    weights = load_file(broken / "model.safetensors")
    name = next(n for n in weights if n.endswith("word_embeddings.weight"))
    weights[name] = np.full_like(weights[name], np.nan)
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="not finite"):
        SentenceTransformerEncoder(model=str(broken), device="cpu").encode(["a"])
