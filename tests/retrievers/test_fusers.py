"""Fusers: the laws over every registered one, and the formula of each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fovea.rag import registry
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError
from fovea.rag.retrieval import Fuser, Retriever
from fovea.rag.testing.corpus import MemoryCorpus, sample_corpus
from fovea.rag.testing.fusers import check_fused, check_fuser
from fovea.rag.types import Chunk, Document, Hit, Query, Span
from fovea.retrievers.adaptive import AdaptiveFuser, coverage
from fovea.retrievers.calibrated import CalibratedFuser
from fovea.retrievers.convex import ConvexFuser
from fovea.retrievers.rrf import ReciprocalRankFuser
from tests.growth import spent

CORPUS = sample_corpus(HashEncoder())
QUERY = Query("anything")
LETTERS = "abcdefgh"


def hits(**scores: float) -> list[Hit]:
    """One hit a letter, best first."""
    found = [Hit(Chunk(name, 0, 1, name), score) for name, score in scores.items()]
    return sorted(found, key=lambda hit: -hit.score)


def fused(fuser: Fuser, k: int = 10, **lists: list[Hit]) -> dict[str, float]:
    return {hit.chunk.document_id: hit.score for hit in fuser.fuse(lists, k, QUERY, CORPUS)}


scores = st.floats(-1, 50, allow_nan=False).map(lambda x: round(x, 3))
one_list = st.dictionaries(st.sampled_from(LETTERS), scores, max_size=6).map(lambda d: hits(**d))
many_lists = st.dictionaries(st.sampled_from(["dense", "bm25", "bm25#2", "other"]), one_list, min_size=1, max_size=3)


@pytest.mark.parametrize("name", registry.names("fuser"))
def test_laws(name: str):
    check_fuser(registry.find("fuser", name)())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", registry.names("fuser"))
def test_laws_over_any_lists(name: str):
    fuser = registry.find("fuser", name)()

    @given(many_lists, st.integers(1, 8))
    def holds(lists, k):
        check_fused(fuser, lists, k, QUERY, CORPUS)  # type: ignore[arg-type]

    holds()


@pytest.mark.parametrize("name", registry.names("fuser"))
def test_one_list_alone_keeps_its_order(name: str):
    given_hits = hits(a=0.9, b=0.5, c=0.4, d=0.1)
    assert list(fused(registry.find("fuser", name)(), dense=given_hits)) == list("abcd")  # type: ignore[arg-type]


def test_rrf_by_hand():
    found = fused(ReciprocalRankFuser(), dense=hits(a=0.9, b=0.8), bm25=hits(b=7.0, c=3.0))
    assert found == pytest.approx({"b": 1 / 62 + 1 / 61, "a": 1 / 61, "c": 1 / 62})
    assert list(found) == ["b", "a", "c"]


def test_rrf_breaks_ties_the_same_way_whatever_comes_first():
    lists = {"x": hits(a=1.0), "y": hits(b=1.0)}
    assert list(fused(ReciprocalRankFuser(), **lists)) == list(
        fused(ReciprocalRankFuser(), **dict(reversed(lists.items())))
    )


def test_convex_by_hand():
    fuser = ConvexFuser(weights={"dense": 3, "bm25": 1})
    found = fused(fuser, dense=hits(a=0.6, b=0.2, c=0.0), bm25=hits(b=8.0, d=2.0))
    top = 0.6 + 1  # over the lowest cosine there is
    expected = {
        "a": 0.75 * 1 + 0.25 * 0,
        "b": 0.75 * 1.2 / top + 0.25 * 1,
        "c": 0.75 * 1.0 / top + 0.25 * 0,
        "d": 0.75 * 1.0 / top + 0.25 * 2 / 8,  # not in the full dense list: as good as its last, c
    }
    assert found == pytest.approx(expected)


def test_convex_missing_from_a_full_list_counts_as_its_last():
    found = fused(ConvexFuser(), dense=hits(a=0.5, b=0.4), bm25=hits(c=9.0, d=6.0))
    assert found["a"] == pytest.approx((1 + 6 / 9) / 2)
    assert found["c"] == pytest.approx((1.4 / 1.5 + 1) / 2)


@given(many_lists)
def test_convex_scores_of_cosines_and_positive_scores_lie_in_0_1(lists):
    lists = {n: [Hit(h.chunk, min(1.0, max(-1.0, h.score)) if n == "dense" else abs(h.score)) for h in hs]
             for n, hs in lists.items()}  # fmt: skip
    lists = {n: sorted(hs, key=lambda h: -h.score) for n, hs in lists.items()}
    assert all(-1e-9 <= s <= 1 + 1e-9 for s in fused(ConvexFuser(), **lists).values())


@pytest.mark.parametrize("fuser", [ConvexFuser(), CalibratedFuser()], ids=repr)
def test_a_dense_list_one_hit_short_changes_no_order(fuser):
    """An approximate index may come back with fewer than it was asked for: that is no news of the chunks it lacks."""
    dense, bm25 = hits(a=0.5, b=0.45, c=0.4, d=0.35), hits(e=9.0, f=8.0, a=2.0, g=1.0)
    full = fused(fuser, dense=dense, bm25=bm25)
    short = fused(fuser, dense=dense[:3], bm25=bm25)
    assert list(short) == [name for name in full if name != "d"]


def test_calibrated_by_hand():
    unit = CORPUS.spread
    found = fused(CalibratedFuser(worth=5), dense=hits(a=0.6, b=0.2, c=0.1), bm25=hits(b=8.0, d=2.0))
    expected = {"a": 0.5 / unit, "b": 0.1 / unit + 5, "c": 0.0, "d": 5 * 2 / 8}
    assert found == pytest.approx(expected)


@given(st.floats(0.05, 5), st.floats(-3, 3))
def test_calibrated_does_not_depend_on_how_an_encoder_spreads_its_similarities(scale, shift):
    """Squeeze all similarities of the encoder, those of the corpus too: the fusion stays as it was."""

    class Squeezed:
        spread = CORPUS.spread * scale

    dense, bm25 = {"a": 0.6, "b": 0.3, "c": 0.1, "d": 0.05}, hits(b=8.0, d=7.5, e=2.0, f=1.0)
    plain = CalibratedFuser().fuse({"dense": hits(**dense), "bm25": bm25}, 9, QUERY, CORPUS)
    other = {name: score * scale + shift for name, score in dense.items()}
    squeezed = CalibratedFuser().fuse({"dense": hits(**other), "bm25": bm25}, 9, QUERY, Squeezed())  # type: ignore[arg-type]
    assert [h.chunk for h in squeezed] == [h.chunk for h in plain]
    assert [h.score for h in squeezed] == pytest.approx([h.score for h in plain], abs=1e-6)


def test_calibrated_lets_the_sure_list_decide():
    vague = hits(a=0.30, b=0.29, c=0.28, d=0.27)
    sure = hits(c=20.0, a=5.0, b=5.0, d=5.0)
    assert next(iter(fused(CalibratedFuser(), dense=vague, bm25=sure))) == "c"
    clear = hits(a=0.9, b=0.2, c=0.1, d=0.1)
    torn = hits(c=5.1, b=5.0, d=5.0, a=4.9)
    assert next(iter(fused(CalibratedFuser(), dense=clear, bm25=torn))) == "a"
    assert next(iter(fused(ReciprocalRankFuser(), dense=clear, bm25=torn))) != "a", "which ranks alone cannot see"


class TestAdaptive:
    def test_by_hand(self):
        fuser = AdaptiveFuser(meaning=2, flat=3, words=5, coverage=0)
        found = fused(fuser, dense=hits(a=0.6, b=0.2, c=0.1), bm25=hits(b=8.0, d=2.0, e=1.0))
        meaning = (2 + 3 * 1 / 8) / CORPUS.spread  # the words' last hit has an eighth of the best one's score
        expected = {"a": meaning * 0.5, "b": meaning * 0.1 + 5 * 7 / 8, "c": 0.0, "d": 5 / 8, "e": 0.0}
        assert found == pytest.approx(expected)

    def test_of_its_own_weights_it_is_calibrated_fusion(self):
        lists = {"dense": hits(a=0.6, b=0.2, c=0.1), "bm25": hits(b=8.0, d=2.0, c=1.0)}
        same = AdaptiveFuser(meaning=1, flat=0, words=5, coverage=0)
        assert fused(same, **lists) == pytest.approx(fused(CalibratedFuser(), **lists))

    def test_meaning_counts_more_where_the_words_are_flat(self):
        dense = hits(a=0.9, b=0.2, c=0.1)
        fuser = AdaptiveFuser(meaning=0.1, flat=5, words=1, coverage=0)
        assert next(iter(fused(fuser, dense=dense, bm25=hits(b=9.0, c=1.0, d=0.01)))) == "b"
        assert next(iter(fused(fuser, dense=dense, bm25=hits(b=9.0, c=8.9, d=8.8)))) == "a"

    def test_a_chunk_that_holds_another_form_of_the_word_goes_up(self):
        query = Query("How are green teas brewed?")
        near, far = Chunk("x", 0, 21, "Brewing green tea well"), Chunk("y", 0, 20, "The Nile is a river.")
        lists = {"dense": [Hit(far, 0.5), Hit(near, 0.5), Hit(Chunk("z", 0, 1, "z"), 0.1)], "bm25": []}
        found = AdaptiveFuser().fuse(lists, 3, query, CORPUS)
        assert [hit.chunk.document_id for hit in found] == ["x", "y", "z"]
        assert AdaptiveFuser(coverage=0).fuse(lists, 3, query, CORPUS)[0].score == found[1].score

    def test_coverage_is_the_share_of_the_stems_by_rarity(self):
        chunk = Chunk("x", 0, 9, "The Danube and the MOON")
        rare = CORPUS.rarity(["moon", "danube", "sails"])
        held = coverage("What of the moon, the Danube, sails?", [chunk], CORPUS)[chunk.id]
        assert held == pytest.approx((rare["moon"] + rare["danube"]) / sum(rare.values()))
        assert coverage("What is it?", [chunk], CORPUS) == {}, "words that tell nothing"

    def test_what_is_said_of_a_chunk_s_place_is_covered_too(self):
        documents = [Document(name, "It was built in 1900.") for name in ("bridges", "towers")]
        chunks = [d.chunk(Span(0, len(d.text))) for d in documents]
        corpus = MemoryCorpus(documents, chunks, HashEncoder(), situations=["Bridges of the Danube", ""])
        lists = {"dense": [Hit(chunks[1], 0.5), Hit(chunks[0], 0.5)], "bm25": []}
        query = Query("When was the bridge of the Danube built?")
        held = coverage(query.text, chunks, corpus)
        assert held[chunks[0].id] == pytest.approx(1)
        assert held[chunks[1].id] < 0.5
        assert AdaptiveFuser().fuse(lists, 2, query, corpus)[0].chunk == chunks[0]

    def test_texts_beyond_the_first_are_not_read(self):
        chunks = [Chunk("x", i, i + 1, "moon") for i in range(4)]
        lists = {"dense": [Hit(c, 0.9 - i / 10) for i, c in enumerate(chunks)], "bm25": []}
        found = AdaptiveFuser(read=2).fuse(lists, 4, Query("moon"), CORPUS)
        plain = AdaptiveFuser(coverage=0).fuse(lists, 4, Query("moon"), CORPUS)
        assert [a.score - b.score for a, b in zip(found, plain)] == pytest.approx(
            [AdaptiveFuser().coverage] * 2 + [0, 0]
        )


@pytest.mark.parametrize("cls", [ConvexFuser, CalibratedFuser, AdaptiveFuser])
class TestWeights:
    def test_an_unknown_retriever_is_refused_with_the_known(self, cls):
        with pytest.raises(ConfigError, match="'dens'") as error:
            fused(cls(weights={"dens": 1.0, "bm25": 1.0}), dense=hits(a=1.0), bm25=hits(a=1.0))
        assert error.value.allowed == ("bm25", "dense")
        assert "did you mean 'dense'" in str(error.value)

    def test_a_list_without_a_weight_is_refused(self, cls):
        with pytest.raises(ConfigError, match="says nothing of the retriever 'bm25'"):
            fused(cls(weights={"dense": 1.0}), dense=hits(a=1.0), bm25=hits(b=1.0))

    def test_weight_0_leaves_a_list_out(self, cls):
        found = fused(cls(weights={"dense": 1, "bm25": 0}), dense=hits(a=0.5, b=0.4), bm25=hits(c=1.0))
        assert list(found) == ["a", "b"]

    def test_a_weight_holds_for_every_use_of_a_retriever_unless_one_is_named(self, cls):
        lists = {"bm25": hits(a=2.0, b=1.0), "bm25#2": hits(b=2.0, a=1.0), "dense": []}
        assert len(set(fused(cls(weights={"bm25": 1, "dense": 1}), **lists).values())) == 1
        assert next(iter(fused(cls(weights={"bm25": 1, "bm25#2": 3, "dense": 1}), **lists))) == "b"

    @pytest.mark.parametrize("bad", [{"dense": -1}, {"dense": float("inf")}, {"dense": "much"}, {"dense": 0.0}])
    def test_bad_weights_are_refused(self, cls, bad):
        with pytest.raises(ValidationError):
            cls(weights=bad)


@pytest.mark.parametrize("name", registry.names("fuser"))
def test_costs_under_the_two_milliseconds_a_query_may_cost(name):
    chunks = [Chunk(f"d{i % 20}", i * 900, i * 900 + 800, "word " * 160) for i in range(100)]
    fuser = registry.find("fuser", name)()
    lists = {
        "dense": [Hit(c, 1 - i / 100).scored("dense", 1 - i / 100) for i, c in enumerate(chunks[:50])],
        "bm25": [Hit(c, 50.0 - i).scored("bm25", 50.0 - i) for i, c in enumerate(chunks[25:75])],
    }
    assert min(spent(lambda: fuser.fuse(lists, 50, QUERY, CORPUS)) for _ in range(20)) < 0.002  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["adaptive", "event_aware"])
def test_a_weight_is_a_number_that_can_be_added_up(name):
    kind, field = (Fuser, "meaning") if name == "adaptive" else (Retriever, "scope")
    for endless in ("inf", float("inf"), float("nan")):
        with pytest.raises(ValueError, match=field):
            kind.model_validate({"use": name, field: endless})
