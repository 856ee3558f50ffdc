"""Every segmenter, and the packer behind it, takes time in proportion to the text, whatever is repeated in it."""

from __future__ import annotations

import pytest

from fovea.rag import registry
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.types import Document
from fovea.segmenters.chain import segment
from tests.growth import MOST, growth
from tests.learned_weights import WEIGHTS, weights_of

HASH = HashEncoder(size=16)
NEEDS_OBJECT = {"langchain"}
NAMES = sorted(set(registry.components("segmenter")) - NEEDS_OBJECT)
REPEATS = {
    "sentences": "One is here. ",
    "one word": "a",
    "spaces": " ",
    "headings": "# a\n\n",
    "items": "- a\n",
    "tags": "<p>a",
    "stops": ".",
    "marks": "\u0301",
}
SIZE = {"dialogue": 4_000}
"""Characters of the smaller text, 1,500 but for this: up to its longest segment, 800 turns, `dialogue` grows faster."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", REPEATS)
def test_time_is_in_proportion_to_the_text(name, case):
    settings = {"weights": weights_of(name, HASH)} if name in WEIGHTS else {}
    segmenter = registry.components("segmenter")[name].model_validate({"max_tokens": 60, **settings})

    def cut(size: int):
        text = (REPEATS[case] * (size // len(REPEATS[case]) + 1))[:size] + "."
        document = Document("a", text, "a", "a", "text/html" if case == "tags" else "text/markdown")
        return lambda: segment(document, [segmenter], HASH)

    assert growth(cut, SIZE.get(name, 1_500)) < MOST
