"""The laws of segmenters, over every registered one, three tokenizers, overlaps and chains."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from fovea.rag import registry
from fovea.rag.encoder import Encoder
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError
from fovea.rag.segmenter import Cut, Segmenter
from fovea.rag.testing.segmenters import HOSTILE, MEDIA_TYPES, check_chunks, check_segmenter
from fovea.rag.types import Document
from fovea.segmenters.chain import segment
from fovea.segmenters.fixed import FixedSegmenter
from fovea.segmenters.recursive import RecursiveSegmenter
from fovea.segmenters.sentence import SentenceSegmenter
from tests.growth import MOST, growth
from tests.learned_weights import WEIGHTS, weights_of
from tests.tokenizers_of_tests import TOKENIZERS, encoder

GOLDEN = Path(__file__).with_name("golden_chunks.json")
NEEDS_OBJECT = {"langchain"}
HASH = HashEncoder(size=64)
NAMES = sorted(set(registry.components("segmenter")) - NEEDS_OBJECT)


def make(name: str, reads: Encoder | None = None, **settings) -> Segmenter:
    """A segmenter; learned ones with random weights for the encoder `reads`, or else those of `encoder(...)`."""
    if name in WEIGHTS:
        settings["weights"] = weights_of(name, reads or encoder("words"))
    return registry.components("segmenter")[name].model_validate(settings)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("name", NAMES)
def test_laws_on_hostile_text(name, tokenizer):
    media_types = MEDIA_TYPES if name == "recursive" else MEDIA_TYPES[:1]
    check_segmenter(make(name, max_tokens=24, overlap=7), encoder(tokenizer), segment, media_types=media_types)


@pytest.mark.parametrize("name", NAMES)
def test_laws_without_a_cap_and_with_the_window(name):
    texts = [HOSTILE[key] for key in ("plain", "markdown", "crlf", "chinese", "emoji", "long words", "spaces")]
    check_segmenter(make(name), encoder("words"), segment, texts)
    check_segmenter(make(name, min_tokens=5), encoder("words", 40), segment, texts)


PIECES = st.sampled_from(
    [
        *"aB1.!?,;:。，#|-*`<>@{}()\"' \t\n\r\f\v\u2029é漢ก\u0301👩🇫🇷👍🏽\u200d",
        "\r\n\r\n",
        "the river ",
        "word ",
        "# ",
        "```\n",
        "def f():\n",
    ]
)
TEXTS = st.lists(PIECES, max_size=80).map("".join) | st.text(max_size=120)


@given(
    TEXTS,
    st.sampled_from(NAMES),
    st.sampled_from(TOKENIZERS),
    st.sampled_from(MEDIA_TYPES),
    st.integers(1, 30),
    st.data(),
)
def test_laws_on_any_text(text, name, tokenizer, media_type, cap, data):
    settings = {key: data.draw(st.integers(0, cap - 1), key) for key in ("overlap", "min_tokens")}
    segmenter = make(name, max_tokens=cap, **settings)
    document = Document("d", text, media_type=media_type)
    check_chunks(segment(document, [segmenter], encoder(tokenizer)), document, segmenter, encoder(tokenizer))


@given(TEXTS, st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(TOKENIZERS), st.integers(1, 20))
def test_laws_of_chains(text, coarse, fine, tokenizer, cap):
    document, last = Document("d", text), make(fine, max_tokens=cap, overlap=cap // 3)
    chunks = segment(document, [make(coarse, max_tokens=2 * cap), last], encoder(tokenizer))
    check_chunks(chunks, document, last, encoder(tokenizer))
    for outer in segment(document, [make(coarse, max_tokens=2 * cap)], encoder(tokenizer)):
        for chunk in chunks:
            apart = chunk.end <= outer.start or chunk.start >= outer.end
            assert apart or outer.start <= chunk.start < chunk.end <= outer.end, "a chunk lies across a coarse cut"


def test_an_empty_chain_is_refused():
    with pytest.raises(ConfigError, match="at least one segmenter"):
        segment(Document("d", "text"), [], encoder("words"))


def test_only_the_last_of_a_chain_may_overlap():
    chain = [FixedSegmenter(max_tokens=20, overlap=5), SentenceSegmenter()]
    with pytest.raises(ConfigError, match="only the last segmenter"):
        segment(Document("d", "One. Two."), chain, encoder("words"))


@pytest.mark.parametrize(
    "cuts", [[(0, 1.0)], [(9, 1.0)], [(3, 0.5), (3, 0.6)], [(5, 0.5), (2, 0.5)], [(2, 0.0)], [(2, 1.1)]]
)
def test_wrong_cuts_are_refused(cuts):
    class Wrong(Segmenter):
        name = "wrong"

        def cuts(self, text, document, encoder):
            return [Cut(*c) for c in cuts]

    wrong = Wrong.model_construct(max_tokens=None, min_tokens=0, overlap=0)
    with pytest.raises(ValueError, match="cuts rise strictly inside"):
        segment(Document("d", "123456789"), [wrong], encoder("words"))


@pytest.mark.parametrize("settings", [{"max_tokens": 0}, {"overlap": -1}, {"max_tokens": 5, "overlap": 5}, {"size": 3}])
def test_budgets_that_cannot_work_are_refused(settings):
    with pytest.raises(ValidationError):
        TypeAdapter(Segmenter).validate_python({"use": "fixed", **settings})


def test_fixed_fills_every_chunk():
    document = Document("d", " ".join(f"w{i}" for i in range(95)))
    sizes = [len(c.text.split()) for c in segment(document, [FixedSegmenter(max_tokens=10)], encoder("words"))]
    assert sizes == [10] * 9 + [5]
    overlapped = segment(document, [FixedSegmenter(max_tokens=10, overlap=4)], encoder("words"))
    assert overlapped[1].text.split() == [f"w{i}" for i in range(6, 16)]


def test_sentences_are_never_cut_if_they_fit():
    text = "One two three. Four five! Six seven eight nine? Ten."
    chunks = segment(Document("d", text), [SentenceSegmenter(max_tokens=7)], encoder("words"))
    assert [c.text for c in chunks] == ["One two three. Four five!", "Six seven eight nine? Ten."]


def test_a_sentence_over_the_cap_is_cut_at_clauses():
    text = "Short one. When the river rose, the mill went, the barn went, and all was gone. End."
    chunks = segment(Document("d", text), [SentenceSegmenter(max_tokens=10)], encoder("words"))
    assert [c.text for c in chunks] == [
        "Short one.", "When the river rose, the mill went,", "the barn went, and all was gone.", "End.",
    ]  # fmt: skip


def ids(name: str, reads: Encoder = HASH) -> list[str]:
    """Some ids of the chunks of the hostile texts."""
    segmenter, documents = make(name, HASH, max_tokens=32, overlap=6), map(Document, HOSTILE, HOSTILE.values())
    return [chunk.id for document in documents for chunk in segment(document, [segmenter], reads)][::17]


def golden() -> dict[str, list[str]]:
    """The same for every segmenter."""
    return {name: ids(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_chunk_ids_are_the_same_in_every_process(name):
    """As another process wrote them; Python's hashes of texts differ in each.

    When a change is meant: `python -m tests.segmenters.test_segmenters > tests/segmenters/golden_chunks.json`.
    """
    assert ids(name) == json.loads(GOLDEN.read_text("utf-8"))[name]


class Trembling(HashEncoder):
    """The hashing encoder on a machine that sums in another order: other last bits, the same text or not."""

    seed: int = 0

    @property
    def space(self):
        return HASH.space

    def encode(self, texts, role="document"):
        found = super().encode(texts, role)
        noise = np.random.default_rng(self.seed).integers(-1, 2, found.shape)
        return found + noise.astype(np.float32) * np.float32(2**-24)


@pytest.mark.parametrize("name", NAMES)
def test_chunks_do_not_hang_on_the_last_bits_of_vectors(name):
    """The hostile texts say the same again and again, so that most of what is compared is equal but for these bits.

    A score may by chance lie on the border of two steps, where the last bits do decide (the pointer network's on this
    text does for one of these seeds); a tie that they decided would fail for about half.
    """
    steady = json.loads(GOLDEN.read_text("utf-8"))[name]
    same = [ids(name, Trembling(size=64, seed=seed)) == steady for seed in range(5)]
    assert sum(same) >= 4, same


def test_long_documents_take_linear_time():
    def cutting(times: int):
        document = Document("d", HOSTILE["plain"] * times)
        return lambda: segment(document, [RecursiveSegmenter(max_tokens=200)], encoder("words"))

    assert growth(cutting, 1000) < MOST


if __name__ == "__main__":
    print(json.dumps(golden(), indent=1))
