"""The segmenters of LangChain, chonkie and NLTK, as `fovea bench segmentation` runs them beside ours."""

import numpy as np
import pytest

from fovea.pipelines.bench.segmentation_peers import chonkie_semantic, langchain_semantic, nltk_texttiling
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ModelError
from fovea.segmenters.units import Units
from tests.segmenters.test_corpora import put


def spliced():
    words = [("river", "water", "bridge"), ("tea", "leaves", "cup"), ("moon", "orbit", "rocket")]
    return Units.given([f"the {a} and the {b} and the {c} number {i} of all of them ."
                        for a, b, c in words for i in range(8)])  # fmt: skip


def test_langchain_cuts_by_its_own_rule():
    pytest.importorskip("langchain_experimental")
    from fovea.segmenters.embedding_breakpoint import distances, outliers

    units = spliced()
    found = langchain_semantic(units, HashEncoder(), None)
    # With one space between units their groups are the ones that embedding_breakpoint reads in a running text.
    running = Units.given([*units.texts])
    text = running.text.replace("\n", " ")
    expected = outliers(distances(text, list(running.spans), HashEncoder(), 1), "percentile", 95)
    assert found.any()
    assert np.array_equal(found, expected)
    assert langchain_semantic(units, HashEncoder(), 2).sum() == 2


def test_chonkie_cuts_units():
    pytest.importorskip("chonkie")
    found = chonkie_semantic(spliced(), HashEncoder(), None)
    assert found.shape == (23,)
    assert found.any()
    assert not chonkie_semantic(Units.given(["a b", "c d"]), HashEncoder(), None).any()


def test_nltk_tiles_units(tmp_path, monkeypatch):
    nltk = pytest.importorskip("nltk")
    put(tmp_path, "corpora/stopwords/english", "the\nand\nof\nall\nthem\nnumber\n")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    units = spliced()
    found = nltk_texttiling(units, HashEncoder(), None)
    pieces = nltk.TextTilingTokenizer().tokenize("\n\n".join(units.texts))
    assert len(pieces) > 1
    counts = np.cumsum([len([p for p in piece.split("\n\n") if p.strip()]) for piece in pieces])
    assert np.flatnonzero(found).tolist() == (counts[:-1] - 1).tolist()
    with pytest.raises(ModelError, match="cannot tile"):
        nltk_texttiling(Units.given(["a", "b"]), HashEncoder(), None)
