"""Encoders and cross-encoders against sentence-transformers: whatever the modules, the numbers are the same."""

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.models import find, locate
from fovea.rag.onnx_export import cosines
from fovea.rag.testing.encoders import PLAIN, check_encoder
from fovea.retrievers.cross_encoder import CrossEncoderRefiner
from tests.retrievers.test_cross_encoder import QUESTION
from tests.tiny import reference, save_cross_encoder, save_encoder

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
needs_minilm = pytest.mark.skipif(find("minilm") is None, reason="needs the model: fovea models get minilm")
SHAPES = {
    "cls": {"pooling": "cls"},
    "max, unnormalised": {"pooling": "max", "normalize": False},
    "two poolings and dense": {"pooling": ("cls", "mean"), "dense": 12},
    "last token": {"pooling": "lasttoken"},
    "weighted": {"pooling": "weightedmean"},
}
SHORT = ["the moon orbits the earth", "tea is brewed at 80.", "", "rivers"]
"""Within the tiny models' window, past which sentence-transformers cuts and we do not."""


@needs_minilm
@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_minilm_conforms_and_agrees_with_sentence_transformers(backend):
    ours = SentenceTransformerEncoder(backend=backend, device="cpu")
    assert (ours.dim, ours.window) == (384, 254)
    check_encoder(ours)
    texts = [*PLAIN, "漢字 and e\u0301", ""]
    assert cosines(ours.encode(texts), reference(locate(MINILM).path, texts)).min() >= 0.99999


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_model_is_followed_exactly(tmp_path, shape):
    folder = save_encoder(tmp_path, **SHAPES[shape])
    ours = SentenceTransformerEncoder(model=str(folder), backend="onnx", device="cpu")
    vectors = ours.encode(SHORT)
    assert cosines(vectors, reference(folder, SHORT)).min() >= 0.99999
    assert ours.dim == vectors.shape[1]
    assert ours.chosen_backend.startswith("onnx")


def test_probabilities_of_a_cross_encoder(tmp_path):
    from sentence_transformers import CrossEncoder
    from torch import nn

    folder = save_cross_encoder(tmp_path / "model")
    texts = ["tea is brewed at 80 degrees.", "the moon orbits the earth", "", "rivers flow"]
    theirs = CrossEncoder(str(folder), device="cpu").predict([(QUESTION, t) for t in texts], activation_fn=nn.Sigmoid())
    ours = CrossEncoderRefiner(model=str(folder), device="cpu").probabilities(QUESTION, texts)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert len(set(np.round(ours, 4))) == len(texts)
