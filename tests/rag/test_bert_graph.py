"""Graphs written for a BERT: they are ONNX, give what sentence-transformers gives, and know what they are not."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

from fovea.rag import bert_graph
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.engines import load_torch, onnx_engine
from fovea.rag.errors import ModelError
from fovea.rag.models import find
from fovea.rag.onnx_export import PROBES, agreement, cosines
from fovea.rag.recipe import Recipe
from fovea.rag.wordpieces import ModelTokenizer
from tests.tiny import save_encoder

SHAPES = {"mean": {}, "first": {"pooling": "cls"}, "not of unit length": {"normalize": False}}


def written(folder):
    recipe = Recipe.read(folder)
    assert bert_graph.differs(recipe) == ""
    return recipe, onnx_engine(bert_graph.write(recipe), bert_graph.weights_of(recipe))


@pytest.mark.parametrize("shape", SHAPES)
def test_vectors_and_states_are_those_of_sentence_transformers(tmp_path, shape):
    recipe, engine = written(save_encoder(tmp_path, **SHAPES[shape]))
    model, tokenizer = load_torch(recipe.path), ModelTokenizer.read(recipe.path / "tokenizer.json")
    texts = ["the moon orbits the earth", "", "tea"]
    vectors, states = engine.states(*tokenizer.padded(tokenizer.ids(texts)))
    np.testing.assert_allclose(vectors, model.encode(texts), atol=2e-6)
    theirs = model.encode(texts, output_value="token_embeddings")
    for ours, their in zip(states, theirs):
        np.testing.assert_allclose(ours[: len(their)], their.numpy(), atol=1e-5)


@pytest.mark.parametrize("inline", [True, False])
def test_the_graph_is_onnx_and_holds_its_weights_only_when_asked_to(tmp_path, inline):
    onnx = pytest.importorskip("onnx")
    recipe = Recipe.read(save_encoder(tmp_path))
    content = bert_graph.write(recipe, inline=inline)
    model = onnx.load_from_string(content)
    if inline:
        onnx.checker.check_model(model, full_check=True)
    external = [t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    assert bool(external) != inline
    assert [output.name for output in model.graph.output] == ["vectors", "states"]


@pytest.mark.parametrize("kept", ["float16", "bfloat16"])
@pytest.mark.parametrize("inline", [True, False])
def test_weights_kept_in_half_precision_are_read(tmp_path, kept, inline):
    import torch
    from safetensors.torch import load_file, save_file

    folder = save_encoder(tmp_path)
    weights = load_file(folder / "model.safetensors")
    save_file({n: w.to(getattr(torch, kept)) if w.is_floating_point() else w for n, w in weights.items()},
              folder / "model.safetensors", metadata={"format": "pt"})  # fmt: skip
    recipe, engine = written(folder)
    if inline:
        (tmp_path / "whole.onnx").write_bytes(bert_graph.write(recipe, inline=True))
        engine = onnx_engine(tmp_path / "whole.onnx")
    assert agreement(recipe, load_torch(folder), engine) > 0.999999


def test_weights_behind_a_link_are_read_as_a_hubs_cache_keeps_them(tmp_path):
    folder = save_encoder(tmp_path)
    blob = tmp_path / "blobs" / "abc"
    blob.parent.mkdir()
    (folder / "model.safetensors").rename(blob)
    (folder / "model.safetensors").symlink_to(blob)
    recipe, engine = written(folder)
    assert agreement(recipe, load_torch(folder), engine) > 0.999999


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"model_type": "mpnet"}, "its model_type is mpnet"),
        ({"hidden_act": "relu"}, "its hidden_act is relu"),
        ({"position_embedding_type": "relative_key"}, "its position_embedding_type is relative_key"),
        ({"layer_norm_eps": None}, "its settings lack layer_norm_eps"),
    ],
)
def test_another_model_is_told_apart(tmp_path, change, why):
    folder = save_encoder(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    assert bert_graph.differs(Recipe.read(folder)) == why


@pytest.mark.parametrize("shape", [{"pooling": "max"}, {"pooling": ("cls", "mean")}, {"dense": 12}])
def test_other_ways_to_a_vector_are_told_apart(tmp_path, shape):
    assert bert_graph.differs(Recipe.read(save_encoder(tmp_path, **shape)))


def changed(folder, change) -> Recipe:
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return Recipe.read(folder)


def test_weights_that_lack_something_or_hold_more_are_refused(tmp_path):
    more = changed(save_encoder(tmp_path / "a"), lambda w: w.update({"encoder.layer.7.extra": np.zeros(2, "float32")}))
    with pytest.raises(ModelError, match=r"no part of its BERT: encoder\.layer\.7\.extra"):
        bert_graph.write(more)
    less = changed(save_encoder(tmp_path / "b"), lambda w: w.pop("encoder.layer.1.output.dense.bias"))
    with pytest.raises(ModelError, match=r"lacks encoder\.layer\.1\.output\.dense\.bias"):
        bert_graph.write(less)


def test_a_head_for_another_task_is_left_aside(tmp_path):
    recipe = changed(save_encoder(tmp_path), lambda w: w.update({"cls.predictions.bias": np.zeros(2, "float32")}))
    assert bert_graph.differs(recipe) == ""
    assert bert_graph.write(recipe)


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b + b"x", lambda b: b"", lambda b: b"\xff" * 99]
)
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, damage):
    recipe = Recipe.read(save_encoder(tmp_path))
    path = bert_graph.weights_of(recipe)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        bert_graph.differs(recipe)


@pytest.mark.skipif(find("minilm") is None, reason="needs the model: fovea models get minilm")
def test_the_default_encoder_agrees_with_sentence_transformers_on_every_probe():
    files = find("minilm")
    recipe, engine = written(files.path)
    assert agreement(recipe, load_torch(files.path), engine) > 0.999999
    ours = SentenceTransformerEncoder(model="minilm", backend="onnx", device="cpu")
    theirs = load_torch(files.path).encode([PROBES[1], PROBES[3]])
    assert cosines(ours.encode([PROBES[1], PROBES[3]]), theirs).min() > 0.999999
    assert ours.fingerprint == SentenceTransformerEncoder(backend="onnx", device="cpu").fingerprint
