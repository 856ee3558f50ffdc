"""Models as their makers saved them: vectors are those of `encode_query` and `encode_document` of the library."""

from __future__ import annotations

import json
import os
from functools import cache

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.engines import load_torch
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.requirements import Requirement
from fovea.rag.testing.encoders import check_encoder
from fovea.rag.trace import Trace
from tests.saved_models import PROMPTS, Maker, save_decoder, static, words

TEXTS = ["the moon orbits the earth", "Tea is brewed at 80.", "rivers", "a river flows and flows in the days of tea"]
"""Within the windows of the tiny models, past which sentence-transformers cuts and Fovea does not."""
ROLES = ("query", "document")
ALL = ("onnx", "openvino", "torch")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    old = os.environ.get("FOVEA_CACHE")
    os.environ["FOVEA_CACHE"] = str(folder)
    yield Maker(tmp_path_factory.mktemp("saved"))
    os.environ.pop("FOVEA_CACHE") if old is None else os.environ.update(FOVEA_CACHE=old)


@cache
def loaded(folder):
    return load_torch(folder)


def theirs(folder, role, **told):
    model = loaded(folder)
    encode = model.encode_query if role == "query" else model.encode_document
    return encode(TEXTS, normalize_embeddings=True, show_progress_bar=False, **told)


def encoder(folder, backend="auto", **settings):
    if backend == "openvino":
        pytest.importorskip("openvino")
    return SentenceTransformerEncoder(model=str(folder), backend=backend, device="cpu", **settings)


def agree(folder, *, backends=("auto",), atol=1e-5, told=None, **settings):
    """Hold ours with `settings` to theirs with what they are `told` by role; gives the last encoder."""
    for backend in backends:
        ours = encoder(folder, backend, **settings)
        for role in ROLES:
            expected = theirs(folder, role, **(told or {}).get(role, {}))
            np.testing.assert_allclose(ours.encode(TEXTS, role), expected, atol=atol, err_msg=f"{role} by {backend}")
            assert ours.dim == expected.shape[1]
    return ours


def warnings_of(ours) -> str:
    trace = Trace()
    with trace.stage("encode"):
        ours.encode(TEXTS)
    return "\n".join(trace.warnings)


# Pooling, and what follows it


@pytest.mark.parametrize("mode", ["mean", "cls", "max", "lasttoken", "weightedmean", ("mean", "max")])
def test_ways_of_pooling(made, mode):
    folder = made.save(f"pooled_{mode}", made.pooled(mode), prompts=PROMPTS)
    agree(folder, backends=ALL if mode in ("cls", "lasttoken") else ("onnx", "torch"))


@pytest.mark.parametrize("normalize", [True, False])
def test_a_dense_layer_with_and_without_unit_length(made, normalize):
    from sentence_transformers.models import Dense, Normalize

    modules = [*made.pooled(), Dense(32, 12), *([Normalize()] if normalize else [])]
    agree(made.save(f"dense_{normalize}", modules, prompts=PROMPTS), backends=("onnx", "torch"))


def test_a_decoder_that_pools_its_last_token_and_pads_on_the_left(made):
    from sentence_transformers.models import Normalize, Pooling, Transformer

    modules = [Transformer(str(save_decoder(made.folder / "qwen3"))), Pooling(32, "lasttoken"), Normalize()]
    folder = made.save("decoder", modules, prompts={"query": "Instruct: rivers\nQuery:", "document": ""})
    ours = agree(folder, backends=("auto", "torch"))
    assert ours.tokenizer.specials[1], "the mark at the end is read"


# Prompts


@pytest.mark.parametrize(
    "saved",
    [
        {},
        {"prompts": PROMPTS},
        {"prompts": {"query": "tea: "}},
        {"prompts": {"query": "tea: ", "passage": "moon "}},
        {"prompts": {"passage": "moon "}, "default_prompt_name": "passage"},
        {"prompts": {"days": "days "}, "default_prompt_name": "days"},
        {"prompts": {"query": "tea: ", "document": None}, "default_prompt_name": "query"},
    ],
    ids=str,
)
@pytest.mark.parametrize("by", ["ids", "texts"])
def test_prompts_are_put_where_the_library_puts_them(made, saved, by, request):
    modules = made.pooled() if by == "ids" else [static()]
    agree(made.save(f"prompts_{by}_{request.node.callspec.indices['saved']}", modules, saved))


def test_a_prompt_that_is_put_nowhere_is_said_until_somebody_decides(made):
    kept = {"prompts": {"query": "tea: ", "passage": "moon "}, "default_prompt_name": "passage"}
    folder = made.save("passage", made.pooled(), kept)
    assert warnings_of(encoder(folder)) == (
        f"{folder} keeps a prompt 'passage' that neither sentence-transformers nor Fovea puts before a document by "
        "itself: document_prompt_name: passage puts it there, document_prompt: '' ends this warning"
    )
    assert warnings_of(encoder(folder, document_prompt="")) == ""
    told = agree(
        folder, document_prompt_name="passage", query_prompt="rivers ",
        told={"document": {"prompt_name": "passage"}, "query": {"prompt": "rivers "}},
    )  # fmt: skip
    assert warnings_of(told) == ""
    assert "'days'" in warnings_of(encoder(made.save("days", [static()], {
        "prompts": {"days": "days "}, "default_prompt_name": "days"})))  # fmt: skip


@pytest.mark.parametrize("mode", ["mean", "cls", "weightedmean"])
def test_a_pooling_that_leaves_the_prompt_out(made, mode):
    saved = made.save(f"left_out_{mode}", made.pooled(mode, include_prompt=False), prompts=PROMPTS)
    ours = agree(saved)
    if mode != "mean":
        return
    check_encoder(ours)
    bare = made.save("left_out_bare", made.pooled(include_prompt=False))
    assert encoder(bare, "onnx").encode(TEXTS).shape == (len(TEXTS), 32)
    agree(bare, query_prompt="tea: ", told={"query": {"prompt": "tea: "}})
    with pytest.raises(ModelError, match="cannot run on onnx: its pooling leaves the prompt out"):
        encoder(saved, "onnx").encode(TEXTS)


def test_a_prompt_that_the_model_lacks_is_refused_before_it_is_loaded(made):
    folder = made.save("named", made.pooled(), prompts={**PROMPTS, "Clustering": "rivers "})
    wrong = encoder(folder, document_prompt_name="clusterin")
    with pytest.raises(ConfigError) as caught:
        checks(wrong)
    assert str(caught.value) == (
        f"encoder: document_prompt_name is 'clusterin', and {folder} has no such prompt\n"
        "  allowed: query, document, Clustering\n"
        "  did you mean 'Clustering'?\n"
        "  fix: document_prompt: with the words themselves"
    )
    with pytest.raises(ValueError, match="query_prompt and query_prompt_name are two ways to say one thing"):
        encoder(folder, query_prompt="tea", query_prompt_name="query")


def checks(ours):
    one: Requirement
    for one in ours.requirements():
        one.check()


# Matryoshka cuts


@pytest.mark.parametrize(("saved", "given", "kept"), [(8, None, 8), (None, 8, 8), (8, 20, 20), (100, None, 32)])
def test_vectors_are_cut_as_the_model_or_its_user_says(made, saved, given, kept):
    from sentence_transformers.models import Normalize

    folder = made.save(f"cut_{saved}", [*made.pooled(), Normalize()], truncate_dim=saved, prompts=PROMPTS)
    told = {role: {"truncate_dim": given} for role in ROLES}
    ours = agree(folder, backends=ALL if saved and given else ("torch", "onnx"), truncate_dim=given, told=told)
    assert ours.dim == kept
    assert [s.vector.shape for s in ours.token_states(TEXTS[:1])] == [(kept,)]
    np.testing.assert_allclose(ours.token_states(TEXTS)[1].vector, ours.encode(TEXTS)[1], atol=1e-5)
    if given:
        whole = encoder(folder)
        assert ours.fingerprint != whole.fingerprint
        assert ours.space != whole.space


def test_a_cut_model_by_texts_and_rounded(made):
    folder = made.save("cut_all", made.pooled(), truncate_dim=16)
    check_encoder(encoder(folder, precision="int8"))
    rounded, exact = encoder(folder, precision="int8").encode(TEXTS), encoder(folder).encode(TEXTS)
    assert 0.9 < (rounded * exact).sum(axis=1).min() < 1 - 1e-7
    agree(made.save("cut_static", [static()], truncate_dim=6, prompts=PROMPTS))


def test_a_cut_above_what_the_model_gives_is_refused(made):
    folder = made.save("cut_above", made.pooled())
    for verb in (checks, lambda e: e.encode(TEXTS)):
        with pytest.raises(ConfigError) as caught:
            verb(encoder(folder, truncate_dim=33))
        assert str(caught.value) == (
            f"encoder: truncate_dim is 33, and the vectors of {folder} have 32 numbers\n  allowed: 1 to 32"
        )
    settings = folder / "config_sentence_transformers.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"truncate_dim": -4}))
    with pytest.raises(ModelError, match="truncate_dim is -4"):
        encoder(folder).encode(TEXTS)


# Other makes


def test_towers_of_their_own_for_queries_and_documents(made):
    from sentence_transformers.models import Normalize, Router

    towers = Router.for_query_document([static(seed=1)], [static(seed=2)])
    folder = made.save("towers", [towers, Normalize()], {"prompts": PROMPTS, "default_prompt_name": "query"})
    ours = agree(folder)
    assert np.abs(ours.encode(TEXTS, "query") - ours.encode(TEXTS)).max() > 0.1
    check_encoder(ours)
    before = ours.fingerprint
    weights = next(folder.rglob("query_0_*/model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x00\x00\x00\x3f")
    assert encoder(folder).fingerprint != before, "the weights of a tower are part of the model"


def test_each_tower_reads_as_much_as_it_can(made):
    """The library takes the larger limit for both, and cuts what is over the smaller."""
    from sentence_transformers.models import Router

    towers = Router.for_query_document(made.pooled(window=8), made.pooled(window=24))
    ours = encoder(made.save("limits", [towers]))
    assert ours.window == 22
    long = "the moon orbits the earth and a river flows"
    one, two = ours.encode([f"{long} in days", f"{long} in tea"], "query")
    assert np.abs(one - two).max() > 1e-4, "the end of a query does not reach its vector"
    np.testing.assert_allclose(ours.encode([long]), loaded(ours.recipe.path).encode_document(
        [long], normalize_embeddings=True), atol=1e-5)  # fmt: skip


def test_half_precision_saves_are_computed_in_float32(made):
    folder = made.save("half", made.pooled())
    loaded(folder).half().save(str(made.folder / "half16"))
    halved = made.folder / "half16"
    assert "F16" in (halved / "model.safetensors").read_bytes()[:4000].decode("latin1")
    agree(halved, backends=ALL)


def test_a_transformer_that_writes_in_small_letters(made):
    from tokenizers import Tokenizer

    folder = made.save("small", made.pooled())
    tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
    whole = json.loads(tokens.to_str())
    whole["normalizer"] = None
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    settings = folder / "tokenizer_config.json"
    kept = {k: v for k, v in json.loads(settings.read_text()).items() if k != "do_lower_case"}
    settings.write_text(json.dumps(kept | {"tokenizer_class": "PreTrainedTokenizerFast"}))
    told = folder / "sentence_bert_config.json"
    told.write_text(json.dumps(json.loads(told.read_text()) | {"do_lower_case": True}))
    ours = agree(folder)
    assert "small letters" in ours.obstacle
    np.testing.assert_allclose(ours.encode(["THE MOON"]), ours.encode(["the moon"]), atol=1e-6)


def test_a_limit_for_queries_alone(made):
    folder = made.save("limited", made.pooled(query_length=6))
    long = "the moon orbits the earth and a river flows in days"
    ours = encoder(folder)
    assert ours.window == 22
    np.testing.assert_allclose(ours.encode(["the moon"], "query"), loaded(folder).encode_query(
        ["the moon"], normalize_embeddings=True), atol=1e-5)  # fmt: skip
    assert np.abs(ours.encode([long + " tea"], "query") - ours.encode([long + " moon"], "query")).max() > 1e-4


def test_limits_in_files_of_older_names(made):
    folder = made.save("older", made.pooled())
    (folder / "sentence_bert_config.json").unlink()
    (folder / "sentence_roberta_config.json").write_text('{"max_seq_length": 9}')
    assert encoder(folder).window == loaded(folder).max_seq_length - 2 == 7


def test_a_model_whose_tokenizer_does_not_say_where_its_tokens_lie(made):
    from sentence_transformers.models import Pooling

    ours = agree(made.save("words", [words(), Pooling(16)], prompts=PROMPTS))
    assert ours.tokenizer.count("the moon.") == 3
    assert np.isfinite(ours.encode(["no known word", "the moon " * 40])).all()


def test_vectors_that_are_meant_for_another_likeness_are_said_to_be_scaled(made):
    from sentence_transformers.models import Normalize

    plain = made.save("dot", made.pooled(), similarity_fn_name="dot")
    assert "meant for dot at their own length" in warnings_of(encoder(plain))
    unit = made.save("dot_unit", [*made.pooled(), Normalize()], similarity_fn_name="dot")
    assert warnings_of(encoder(unit)) == ""


@pytest.mark.parametrize(
    ("kind", "fix"),
    [
        ("SparseEncoder", "learned_sparse"),
        ("CrossEncoder", "cross_encoder"),
        ("MultiVectorEncoder", "maxsim"),
        ("ColBERT", "maxsim"),
    ],
)
def test_a_model_of_another_kind_is_refused(made, kind, fix):
    folder = made.save(f"kind_{kind}", [static()], {"model_type": kind})
    with pytest.raises(ModelError, match=f"is a {kind}, which gives no dense vector of a text") as caught:
        checks(encoder(folder))
    assert fix in str(caught.value)
