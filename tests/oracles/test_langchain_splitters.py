"""A LangChain splitter as a segmenter gives the pieces that it gives by itself."""

import pytest

from fovea.rag.testing.segmenters import HOSTILE
from fovea.rag.types import Document
from fovea.segmenters.chain import segment
from tests.segmenters.test_segmenters_langchain import adapted, recursive
from tests.tokenizers_of_tests import encoder


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_pieces_without_overlap_become_the_chunks(text):
    pieces = [p.strip() for p in recursive(90, 0).split_text(text) if p.strip()]
    chunks = segment(Document("d", text), [adapted(recursive(90, 0))], encoder("words"))
    assert [c.text for c in chunks] == pieces
