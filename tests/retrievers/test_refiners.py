"""Refiners: the laws over every registered one, and what each keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag import registry
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError, MissingExtra, ModelError
from fovea.rag.testing.corpus import MemoryCorpus, sample_corpus
from fovea.rag.testing.refiners import check_refined, check_refiner
from fovea.rag.trace import Trace
from fovea.rag.types import Chunk, Hit, Query
from fovea.retrievers.mmr import MaximalMarginalRelevance
from fovea.retrievers.near_duplicates import NearDuplicates
from fovea.retrievers.neighbours import Neighbours
from fovea.retrievers.score_floor import ScoreFloor
from fovea.retrievers.token_budget import TokenBudget
from fovea.retrievers.top_k import TopK
from tests.learned_weights import WEIGHTS, weights_of

ENCODER = HashEncoder()
QUERY = Query("green tea")
NEEDED = {"score_floor": {"least": 0.1}}
OTHERS = [
    NearDuplicates(repeated=0.5, shingle=2),
    NearDuplicates(cosine=0.6),
    MaximalMarginalRelevance(keep=3, balance=0.3),
    MaximalMarginalRelevance(relevance="vector"),
    MaximalMarginalRelevance(balance=0),
    TokenBudget(max_tokens=20),
    TokenBudget(max_tokens=1),
    TopK(keep=2),
    ScoreFloor(least=2.0),
    ScoreFloor(least=0.2, of="dense"),
    Neighbours(before=0, after=0),
    Neighbours(before=0, after=2),
]


def settings(name: str) -> dict:
    """Those that a refiner cannot do without, and weights for this encoder."""
    learned = {"weights": weights_of(name, ENCODER)} if name in WEIGHTS else {}
    return {**NEEDED.get(name, {}), **learned}


RETRIEVERS = [
    n for n, cls in registry.components("refiner").items() if cls.__module__.startswith("fovea.retrievers")
    if n != "maxsim"
]  # fmt: skip
"""Those that read with a language model are in `tests/pipelines/refiners`; `maxsim` has tests of its own."""


@pytest.mark.parametrize("name", RETRIEVERS)
def test_laws(name: str):
    try:
        check_refiner(registry.find("refiner", name)(**settings(name)))  # type: ignore[arg-type]
    except (MissingExtra, ModelError) as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("refiner", OTHERS, ids=repr)
def test_laws_with_other_settings(refiner):
    check_refiner(refiner)


def run(refiner, hits, corpus):
    """What comes out, and the reasons by document."""
    trace = Trace()
    with trace.stage("s") as stage:
        refined = refiner.refine(QUERY, hits, corpus)
    names = {h.chunk.id: h.chunk.document_id for h in hits}
    return refined, {names[i]: why for i, why in stage.dropped.items()}, trace


def corpus_and_hits(**texts: str) -> tuple[MemoryCorpus, list[Hit]]:
    """One chunk a document, scored by falling order."""
    corpus = MemoryCorpus.of(texts, ENCODER)
    return corpus, [Hit(chunk, 1 - i / 10) for i, chunk in enumerate(corpus.chunks())]


def names(hits: list[Hit]) -> str:
    return "".join(h.chunk.document_id for h in hits)


class TestNearDuplicates:
    text = "The Danube flows through ten countries and ends in the Black Sea after a long way."

    def test_repeated_text_goes_whatever_its_case_and_marks(self):
        corpus, hits = corpus_and_hits(
            a=self.text, b=self.text.upper().replace(" ", "\n") + "!!", c="Something else here."
        )
        refined, why, _ = run(NearDuplicates(), hits, corpus)
        assert names(refined) == "ac"
        assert why == {"b": "repeats a:0-82 (100% of its text)"}

    def test_a_part_of_a_better_one_goes_but_not_the_whole_of_a_better_part(self):
        part = " ".join(self.text.split()[:9])
        corpus, hits = corpus_and_hits(a=self.text, b=part)
        assert names(run(NearDuplicates(), hits, corpus)[0]) == "a"
        assert names(run(NearDuplicates(), hits[::-1], corpus)[0]) == "ba"

    def test_the_share_decides(self):
        changed = self.text.replace("ten", "12")
        corpus, hits = corpus_and_hits(a=self.text, b=changed)
        assert names(run(NearDuplicates(repeated=0.9), hits, corpus)[0]) == "ab"
        refined, why, _ = run(NearDuplicates(repeated=0.6), hits, corpus)
        assert names(refined) == "a"
        # 16 words have 13 shingles of 4; the fifth word is in 4 of them.
        assert why["b"] == "repeats a:0-82 (69% of its text)"

    def test_texts_without_words_are_compared_as_they_are(self):
        corpus, hits = corpus_and_hits(a="--- ***", b="--- ***", c="+++")
        assert names(run(NearDuplicates(), hits, corpus)[0]) == "ac"

    def test_a_dropped_hit_drops_nobody(self):
        corpus, hits = corpus_and_hits(
            a="one two three four five six", b="two three four five six seven", c="six seven"
        )
        near = NearDuplicates(repeated=0.75, shingle=2)
        refined, why, _ = run(near, hits, corpus)
        assert names(refined) == "ac", "b repeats a; c repeats only b, which is gone"
        assert set(why) == {"b"}

    def test_cosine(self):
        corpus, hits = corpus_and_hits(a="green tea leaves", b="leaves green tea", c="rivers of Europe")
        assert names(run(NearDuplicates(), hits, corpus)[0]) == "abc"
        refined, why, _ = run(NearDuplicates(cosine=0.95), hits, corpus)
        assert names(refined) == "ac"
        assert why["b"].startswith("repeats a:0-16 (cosine 1.0")

    def test_passages_of_no_store_are_encoded_and_counted(self):
        corpus, hits = corpus_and_hits(a="green tea leaves")
        foreign = Hit(Chunk("elsewhere", 0, 16, "leaves green tea"), 0.1)
        refined, _, trace = run(NearDuplicates(cosine=0.95), [*hits, foreign], corpus)
        assert names(refined) == "a"
        assert trace.stages[0].counts["encoded"] == 2

    @given(st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=8).map(" ".join), max_size=7))
    def test_is_containment_in_one_better_hit(self, texts):
        corpus, hits = corpus_and_hits(**{f"n{i}": text for i, text in enumerate(texts)})
        size, share = 2, 0.6

        def shingles(text):
            found = text.split()
            return {tuple(found[i : i + size]) for i in range(max(1, len(found) - size + 1))}

        kept: list[Hit] = []
        for hit in hits:
            mine = shingles(hit.chunk.text)
            if not any(len(mine & shingles(k.chunk.text)) >= share * len(mine) for k in kept):
                kept.append(hit)
        assert NearDuplicates(repeated=share, shingle=size).refine(QUERY, hits, corpus) == kept


class TestMMR:
    def test_is_the_formula(self):
        corpus = sample_corpus(ENCODER)
        hits = corpus.nearest(corpus.embed("green tea"), 12)
        vectors, query = corpus.vectors([h.chunk for h in hits]), corpus.embed("green tea")
        for balance in (0.0, 0.3, 0.7, 1.0):
            taken: list[int] = []
            values = []
            for _ in range(5):

                def value(i, taken=taken, balance=balance):
                    near = max([0.0, *(float(vectors[i] @ vectors[j]) for j in taken)])
                    return balance * float(vectors[i] @ query) - (1 - balance) * near

                best = max((i for i in range(len(hits)) if i not in taken), key=lambda i: (round(value(i), 9), -i))
                values.append(value(best))
                taken.append(best)
            refiner = MaximalMarginalRelevance(keep=5, balance=balance, relevance="vector")
            refined = refiner.refine(QUERY, hits, corpus)
            assert [h.chunk for h in refined] == [hits[i].chunk for i in taken]
            assert [h.score for h in refined] == pytest.approx(values, abs=1e-6)

    def test_balance_1_is_the_order_of_the_hits(self):
        corpus = sample_corpus(ENCODER)
        hits = corpus.match("green tea", 6)
        refined = MaximalMarginalRelevance(balance=1.0).refine(QUERY, hits, corpus)
        assert [h.chunk for h in refined] == [h.chunk for h in hits]

    def test_the_same_again_comes_after_something_new(self):
        corpus, hits = corpus_and_hits(a="green tea leaves", b="green tea leaves!", c="rivers of Europe")
        assert names(MaximalMarginalRelevance(balance=0.5).refine(QUERY, hits, corpus)) == "acb"
        refined, why, _ = run(MaximalMarginalRelevance(balance=0.5, keep=2), hits, corpus)
        assert (names(refined), list(why)) == ("ac", ["b"])


class TestTokenBudget:
    def test_keeps_the_best_that_fit_and_goes_on_after_one_that_does_not(self):
        corpus, hits = corpus_and_hits(a="one two three", b="far too many words to fit", c="four five")
        refined, why, trace = run(TokenBudget(max_tokens=6), hits, corpus)
        assert names(refined) == "ac"
        assert why == {"b": "6 tokens, with 3 of 6 left"}
        assert trace.stages[0].counts["tokens"] == 5

    def test_headings_count(self):
        corpus, hits = corpus_and_hits(a="one two three", c="four five")
        assert names(run(TokenBudget(max_tokens=6, each=2), hits, corpus)[0]) == "a"

    def test_nothing_fits_is_a_warning(self):
        corpus, hits = corpus_and_hits(a="one two three")
        refined, why, trace = run(TokenBudget(max_tokens=2), hits, corpus)
        assert refined == []
        assert list(why) == ["a"]
        assert trace.warnings == {"token_budget: no passage fits into 2 tokens": 1}

    @given(st.lists(st.text("ab ,", min_size=1, max_size=30), max_size=8), st.integers(1, 30))
    def test_the_budget_is_never_exceeded_and_nothing_that_fits_is_left(self, texts, budget):
        corpus, hits = corpus_and_hits(**{f"n{i}": text for i, text in enumerate(texts)})
        count = ENCODER.tokenizer.count
        refined = TokenBudget(max_tokens=budget).refine(QUERY, hits, corpus)
        used = sum(count(h.chunk.text) for h in refined)
        assert used <= budget
        assert all(used + count(h.chunk.text) > budget for h in hits if h not in refined)

    def test_growing_passages_after_a_budget_is_refused(self):
        assert TokenBudget.gives & Neighbours.spoils


class TestNeighbours:
    corpus = MemoryCorpus.of({"a": "aaaabbbbccccddddeeee", "z": "zzzzyyyy"}, ENCODER, size=4)

    def hits(self, *texts: str) -> list[Hit]:
        chunks = {c.text: c for c in self.corpus.chunks()}
        return [Hit(chunks[t], 1 - i / 10) for i, t in enumerate(texts)]

    @pytest.mark.parametrize(
        ("before", "after", "hits", "expected"),
        [
            (1, 1, ["cccc"], ["bbbbccccdddd"]),
            (1, 1, ["aaaa"], ["aaaabbbb"]),
            (0, 9, ["dddd"], ["ddddeeee"]),
            (0, 0, ["aaaa", "cccc"], ["aaaa", "cccc"]),
            (0, 0, ["cccc", "zzzz", "bbbb"], ["bbbbcccc", "zzzz"]),
            (1, 0, ["eeee", "bbbb"], ["ddddeeee", "aaaabbbb"]),
            (1, 1, ["eeee", "zzzz", "aaaa", "cccc"], ["aaaabbbbccccddddeeee", "zzzzyyyy"]),
        ],
    )
    def test_grown_and_joined(self, before, after, hits, expected):
        refined = Neighbours(before=before, after=after).refine(QUERY, self.hits(*hits), self.corpus)
        assert [h.chunk.text for h in refined] == expected

    def test_reasons_say_where_a_passage_went(self):
        trace = Trace()
        with trace.stage("s") as stage:
            Neighbours(before=0, after=0).refine(QUERY, self.hits("cccc", "bbbb"), self.corpus)
        assert sorted(stage.dropped.values()) == ["grown to a:4-12", "joined to a:4-12"]

    def test_a_passage_of_no_store_stays_as_it_is_with_a_warning(self):
        foreign = Hit(Chunk("elsewhere", 0, 4, "text"), 0.1)
        refined, _, trace = run(Neighbours(), [foreign], self.corpus)
        assert refined == [foreign]
        assert trace.warnings

    @given(st.lists(st.sampled_from(["aaaa", "bbbb", "cccc", "dddd", "eeee", "zzzz", "yyyy"]), unique=True), st.data())
    def test_every_character_is_kept_and_none_comes_twice(self, texts, data):
        before, after = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))
        hits, refiner = self.hits(*texts), Neighbours(before=before, after=after)
        check_refined(refiner, QUERY, hits, self.corpus)
        refined = refiner.refine(QUERY, hits, self.corpus)
        covered = [(h.chunk.document_id, at) for h in refined for at in range(h.chunk.start, h.chunk.end)]
        assert len(covered) == len(set(covered))
        assert {(h.chunk.document_id, h.chunk.start) for h in hits} <= set(covered)


def test_top_k_and_reasons():
    corpus, hits = corpus_and_hits(a="x", b="y", c="z")
    refined, why, _ = run(TopK(keep=2), hits, corpus)
    assert (names(refined), why) == ("ab", {"c": "below the first 2"})


class TestScoreFloor:
    def test_of_the_last_stage(self):
        corpus, hits = corpus_and_hits(a="x", b="y", c="z")
        refined, why, _ = run(ScoreFloor(least=0.85), hits, corpus)
        assert (names(refined), why) == ("ab", {"c": "score 0.8 is under 0.85"})

    def test_of_a_named_stage(self):
        corpus, (a, b, c) = corpus_and_hits(a="x", b="y", c="z")
        hits = [a.scored("dense", 0.3).scored("rrf", 3), b.scored("rrf", 2), c.scored("dense", 0.5).scored("rrf", 1)]
        refined, why, _ = run(ScoreFloor(least=0.4, of="dense"), hits, corpus)
        assert names(refined) == "c"
        assert why == {"a": "dense 0.3 is under 0.4", "b": "not scored by dense"}

    def test_of_a_stage_that_scored_nothing(self):
        corpus, hits = corpus_and_hits(a="x")
        with pytest.raises(ConfigError, match="no hit has a score of 'dens'") as error:
            run(ScoreFloor(least=0.4, of="dens"), [hits[0].scored("dense", 1.0)], corpus)
        assert "did you mean 'dense'" in str(error.value)


def test_refiners_take_what_they_are_given_in_numpy_floats_too():
    corpus = sample_corpus(ENCODER)
    hits = [Hit(h.chunk, np.float32(h.score)) for h in corpus.nearest(corpus.embed("tea"), 5)]  # type: ignore[arg-type]
    assert all(type(h.score) is float for h in MaximalMarginalRelevance().refine(QUERY, hits, corpus))
