"""The table of heads that ships: of the very model and probes, and what a few probes find again."""

from __future__ import annotations

from inspect import signature
from itertools import islice

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from fovea.attention_retrieval.heads import table
from fovea.attention_retrieval.heads.retrieval_heads import RetrievalHeads
from fovea.attention_retrieval.probes.far import far_scores
from fovea.attention_retrieval.probes.influence import head_influences
from fovea.attention_retrieval.probes.needles import needles
from fovea.attention_retrieval.probes.pointing import pointing_scores
from fovea.attention_retrieval.probes.repeats import repeat_scores
from fovea.attention_retrieval.probes.retrieval_heads import retrieval_scores
from fovea.pipelines.answering import probing
from fovea.rag.causal_lm import load
from fovea.rag.models import find
from fovea.rag.sentences import sentences


def test_a_needle_is_one_sentence_among_others_and_no_question_has_two_answers():
    for needle in islice(needles(seed=3), 40):
        text = needle.passages[needle.passage]
        spans = [(span.start, span.end) for span in sentences(text)]
        assert len(spans) == 6
        assert needle.span in spans
        said = text[slice(*needle.span)]
        assert needle.answer.removeprefix("the ") in said
        assert sum(passage.count(said) for passage in needle.passages) == 1


def test_needles_are_those_of_their_seed():
    assert list(islice(needles(seed=1), 3)) == list(islice(needles(seed=1), 3))
    assert next(needles(seed=1)) != next(needles(seed=2))


MODEL = find("smollm2")
"""In the user's cache; tests have one of their own otherwise."""


@pytest.mark.slow
@pytest.mark.skipif(MODEL is None, reason="needs the model: fovea models get smollm2")
def test_the_shipped_table_is_of_the_model_and_of_these_probes():
    shipped = table.read(table.SHIPPED / table.name_of(table.identity("smollm2"), "evidence"))
    assert (shipped.model, shipped.probe) == (table.identity("smollm2"), probing.digest("evidence"))
    lm = load(str(MODEL.path))
    other = [probing.probe(lm, needle) for needle in islice(needles(seed=5, passages=2), 2)]
    again = pointing_scores(lm, other, 2)
    for rows, scores in again.items():
        best = shipped.strongest(rows, probing.HEADS, near=probing.NEAR)
        assert sum(scores[head] for head in best) / len(best) > max(0.5, 3 * scores.mean()), rows


def test_the_shipped_scores_of_copying_are_of_these_probes_and_decide_which_heads_read():
    shipped = table.read(table.SHIPPED / table.name_of(table.identity("smollm2"), "copy"))
    assert (shipped.model, shipped.probe) == (table.identity("smollm2"), probing.digest("copy"))
    policy = RetrievalHeads(keep=0.1).with_table(shipped.scores)
    policy.check(30, 9, 3)
    reads = {(layer, head) for layer in range(30) for head in np.flatnonzero(policy.windows(layer, 3, 5000) == 5000)}
    assert len(reads) == 9
    assert {(18, 2), (20, 2), (17, 1)} <= reads, "the groups of the best three query heads"


@pytest.mark.parametrize(("kind", "size"), [(kind, size) for kind in probing.SIZES for size in probing.SIZES[kind]])
def test_a_changed_size_finds_no_older_table(kind, size, monkeypatch):
    probing.digest.cache_clear()
    before = probing.digest(kind)
    probing.digest.cache_clear()
    monkeypatch.setitem(probing.SIZES[kind], size, 7)
    assert probing.digest(kind) != before
    probing.digest.cache_clear()


@pytest.mark.parametrize(
    ("probed", "kind"),
    [(retrieval_scores, "copy"), (repeat_scores, "repeats"), (far_scores, "duo"), (head_influences, "influence")],
)
def test_every_size_of_a_probe_is_named(probed, kind):
    """So that none is left to a default that may change while the digest stays."""
    sizes = {name for name, each in signature(probed).parameters.items() if each.kind is each.KEYWORD_ONLY}
    assert sizes - {"probes"} == probing.SIZES[kind].keys() - {"probes", "texts"}


def test_what_moves_keys_is_told_how_the_model_turns_them():
    from fovea.attention_retrieval.methods.retrieval import Retrieval
    from fovea.rag.causal_lm import CausalLM
    from tests.tiny_lms import model

    tiny = CausalLM("tiny", model("llama, 4 to 1", "sdpa"), None)
    made = Retrieval(select={"use": "recycled", "of": {"use": "longheads", "positions": "remapped"}})
    assert made.wants_rotation
    told = probing.with_tables(made, tiny, "tiny")
    assert not told.wants_rotation
    assert len(told.select.of.turns) == 8
    assert Retrieval.model_validate(told.settings()) == told, "as a saved cache keeps it"
