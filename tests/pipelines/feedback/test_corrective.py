"""Corrective retrieval: scripted grades reach each action; strips keep order and offsets; two retrievals at most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fovea.pipelines.answering.explain import fates
from fovea.pipelines.answering.refusals import NO_ANSWER
from fovea.pipelines.feedback.corrective import Corrective
from fovea.pipelines.feedback.rewriting import heading, rewritten
from fovea.pipelines.feedback.strips import joined, split
from fovea.rag.corpus import Corpus
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.retrieval import Refiner
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.trace import Trace
from fovea.rag.types import Document, Hit, Query, Span

TEA = (
    "Tea is made of leaves. Green tea is brewed at 80 degrees. Black tea takes boiling water. "
    "Tea came by ship. Some brew it at 60 degrees! It is drunk hot."
)
MOON = "The Moon has no air. Tides rise. Armstrong walked there."
TEXTS = {"tea": TEA, "moon": MOON, "one": "A single sentence about degrees."}
CORPUS = MemoryCorpus.of(TEXTS, HashEncoder())
CHUNKS = {c.document_id: c for c in CORPUS.chunks()}


class Scripted:
    """Evidence whose grades are known, and which counts retrievals."""

    def __init__(self, first: dict[str, float], second: dict[str, float], grade=lambda text: 1.0, k: int = 9) -> None:
        self.query, self.corpus, self.k, self.grade = Query("How hot is the green tea?"), CORPUS, k, grade
        self.hits = self._hits(first)
        self.second, self.texts = second, list[str]()

    def _hits(self, grades: dict[str, float]) -> list[Hit]:
        return sorted((Hit(CHUNKS[n], p) for n, p in grades.items()), key=lambda h: -h.score)

    def again(self, text: str) -> list[Hit]:
        self.texts.append(text)
        return self._hits(self.second)

    def graded(self, hits: Sequence[Hit]) -> list[Hit]:
        return sorted((h.scored("grader", self.grade(h.chunk.text)) for h in hits), key=lambda h: -h.score)


def run(evidence: Scripted, stage: Corrective | None = None):
    trace = Trace()
    with trace.stage("feedback"):
        found = (stage or Corrective()).correct(evidence)
    return found, trace.stages[0]


@pytest.mark.parametrize(
    ("grades", "action"),
    [
        ([0.61, 0.0], "correct"),
        ([0.6, 0.6], "ambiguous"),
        ([0.1, 0.0], "ambiguous"),
        ([0.09, 0.0], "incorrect"),
        ([], "incorrect"),
    ],
)
def test_the_bounds_of_each_action(grades, action):
    assert Corrective().action(grades) == action


class TestActions:
    def test_correct_keeps_what_answers_and_does_not_ask_again(self):
        evidence = Scripted({"tea": 0.9, "moon": 0.05}, {"one": 1.0}, lambda t: 0.8 if "degrees" in t else 0.0)
        found, stage = run(evidence)
        assert evidence.texts == []
        assert [h.chunk.text for h in found] == ["Green tea is brewed at 80 degrees.", "Some brew it at 60 degrees!"]
        assert stage.notes == {"action": "correct", "best": 0.9}
        assert stage.dropped[CHUNKS["moon"].id] == "graded 0.05, under 0.1"
        assert stage.dropped[CHUNKS["tea"].id] == "cut to tea:23-57, tea:107-134"
        assert stage.counts == {"sentences_kept": 2, "sentences_dropped": 4}

    def test_incorrect_drops_all_and_asks_once_in_other_words(self):
        evidence = Scripted({"moon": 0.09}, {"tea": 0.3, "moon": 0.09}, lambda t: 0.5 if "Green" in t else 0.0)
        found, stage = run(evidence)
        assert evidence.texts == ["hot green tea"]
        assert [h.chunk.text for h in found] == ["Green tea is brewed at 80 degrees."]
        assert (stage.notes["action"], stage.notes["rewritten"]) == ("incorrect", "hot green tea")
        assert CHUNKS["moon"].id in stage.dropped

    def test_ambiguous_does_both(self):
        evidence = Scripted({"tea": 0.4}, {"one": 0.5}, lambda t: 0.5 if "degrees" in t else 0.0)
        found, stage = run(evidence)
        assert len(evidence.texts) == 1
        assert [h.chunk.text for h in found] == [
            "A single sentence about degrees.",
            "Green tea is brewed at 80 degrees.",
            "Some brew it at 60 degrees!",
        ]
        assert stage.notes["action"] == "ambiguous"
        assert stage.counts["fresh"] == 1

    def test_nothing_anywhere_is_a_warning_and_no_passage(self):
        evidence = Scripted({"moon": 0.01}, {"one": 0.02})
        found, stage = run(evidence)
        assert found == []
        assert len(evidence.texts) == 1
        assert dict(stage.warnings) == {"corrective: no passage is graded 0.1 or more": 1}
        assert set(stage.dropped) == {CHUNKS["moon"].id, CHUNKS["one"].id}

    def test_neighbouring_sentences_are_one_strip(self):
        found, _ = run(Scripted({"tea": 0.9}, {}, lambda t: 0.3 if "tea" in t.lower() else 0.0))
        assert [h.chunk.text for h in found] == [TEA[: TEA.index(" Some")]]
        assert found[0].score == 0.3

    def test_a_passage_whose_sentences_answer_only_together_stays_whole(self):
        found, stage = run(Scripted({"tea": 0.9}, {}, lambda t: 0.0))
        assert [h.chunk for h in found] == [CHUNKS["tea"]]
        assert not stage.dropped

    def test_without_strips_passages_stay_whole(self):
        evidence = Scripted({"tea": 0.9, "moon": 0.2}, {}, lambda t: pytest.fail("nothing is to be graded"))
        found, _ = run(evidence, Corrective(strip=None))
        assert [h.chunk.document_id for h in found] == ["tea", "moon"]

    def test_no_more_than_k_passages(self):
        found, stage = run(Scripted({"tea": 0.4, "moon": 0.3}, {"one": 0.5}, k=2), Corrective(strip=None))
        assert [h.chunk.document_id for h in found] == ["one", "tea"]
        assert stage.dropped == {CHUNKS["moon"].id: "below the first 2"}

    def test_a_question_that_cannot_be_rewritten_is_not_asked_again(self):
        evidence = Scripted({}, {"tea": 1.0})
        evidence.query = Query("green tea")
        found, stage = run(evidence)
        assert (found, evidence.texts) == ([], [])
        assert stage.notes["rewritten"] == "nothing to rewrite"


grades = st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.6, 0.7, 1.0])
lists = st.dictionaries(st.sampled_from(sorted(TEXTS)), grades)


@given(lists, lists, st.lists(grades, min_size=40, max_size=40), st.integers(1, 4))
def test_laws_whatever_the_grades(first, second, replies, k):
    """At most one more retrieval; texts are slices; strips of a passage keep its order and do not overlap; every
    passage that went in comes out, whole or in strips, or has a reason.
    """
    spoken = iter(replies)
    evidence = Scripted(first, second, lambda text: next(spoken), k)
    found, stage = run(evidence)
    assert len(evidence.texts) <= 1
    assert evidence.texts == [] or Corrective().action(list(first.values())) != "correct"
    ends: dict[str, int] = {}
    for hit in found:
        c = hit.chunk
        assert TEXTS[c.document_id][c.start : c.end] == c.text
        assert c.start >= ends.get(c.document_id, 0)
        ends[c.document_id] = c.end
    assert len(ends) <= k
    seen = {*first, *(second if evidence.texts else ())}
    whole = {h.chunk.id for h in found}
    for name in seen:
        assert (CHUNKS[name].id in whole) != (CHUNKS[name].id in stage.dropped)


@given(st.sampled_from(sorted(TEXTS)), st.lists(st.booleans(), min_size=6, max_size=6))
def test_runs_of_sentences_are_joined_and_no_other(name, chosen):
    hit = Hit(CHUNKS[name], 0.5)
    parts = split(hit, CORPUS)
    kept = [part if keep else None for part, keep in zip(parts, chosen)]
    found = joined(kept, CORPUS)
    assert all(TEXTS[name][h.chunk.start : h.chunk.end] == h.chunk.text for h in found)
    for part, one in zip(parts, kept):
        inside = [h for h in found if h.chunk.start <= part.chunk.start and part.chunk.end <= h.chunk.end]
        assert len(inside) == (one is not None)


class TestRewriting:
    document = Document(
        "d", "# Tea\n\nLeaves.\n\n## How to brew it\n\nAt 80 degrees.\n\n## Ships ##\n\nIt came.\n", title="Green tea"
    )
    corpus = MemoryCorpus([document], [], HashEncoder())

    def chunk(self, text: str):
        start = self.document.text.index(text)
        return self.document.chunk(Span(start, start + len(text)))

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Leaves.", "Tea"),
            ("At 80", "How to brew it"),
            ("## Ships", "Ships"),
            ("It came.", "Ships"),
            ("Leaves.\n\n## How to", "Tea"),
        ],
    )
    def test_the_heading_above(self, text, expected):
        assert heading(self.chunk(text), self.corpus) == expected

    def test_stop_words_go_and_the_words_around_the_best_come(self):
        hit = Hit(self.chunk("At 80"), 0.01)
        assert rewritten("How hot is it for the tea?", [hit], self.corpus) == "hot tea green brew"
        assert rewritten("How hot is it?", [], self.corpus) == "hot"
        assert rewritten("What is it?", [], self.corpus) == "What is it?"

    def test_a_long_title_adds_a_few_words(self):
        long = Document("l", "x", title=" ".join(f"word{i}" for i in range(50)))
        corpus = MemoryCorpus([long], [], HashEncoder())
        assert len(rewritten("tea", [Hit(long.chunk(Span(0, 1)), 0.0)], corpus).split()) == 13


class Gold(Refiner):
    """A perfect grader: 1 for a passage that shares characters with the answer, 0 for any other."""

    name: ClassVar[str] = "gold"
    gives: ClassVar[frozenset[str]] = frozenset({"probabilities"})
    answer: str

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        def grade(hit: Hit) -> float:
            text = corpus.document(hit.chunk.document_id).text
            at = text.find(self.answer)
            return float(at >= 0 and hit.chunk.start < at + len(self.answer) and at < hit.chunk.end)

        return sorted((h.scored("gold", grade(h)) for h in hits), key=lambda h: -h.score)


class TestInAPipeline:
    def test_a_perfect_grader_has_precision_1(self, make, docs):
        answer = "Green tea is brewed at 80 degrees."
        made = make(segment={"use": "fixed", "max_tokens": 40}, refine=[Gold(answer=answer)], feedback="corrective")
        made.ingest(docs)
        assert [h.chunk.text for h in made.retrieve("How is green tea brewed?")] == [answer]
        found = made.ask("How is green tea brewed?")
        assert answer in found.text
        assert [s.name for s in found.trace.stages if s.name.startswith("retrieve")]
        assert not [s.name for s in found.trace.stages if s.name.startswith("again")]

    def test_what_the_first_retrieval_missed_the_second_finds(self, make, docs):
        answer = "Green tea is brewed at 80 degrees."
        made = make(retrieve="bm25", refine=[Gold(answer=answer)], feedback="corrective")
        made.ingest(docs)
        trace = Trace()
        hits = made.retrieve("Leaves?", trace=trace)
        stages = {s.name: s for s in trace.stages}
        assert answer not in [h.chunk.text for h in stages["retrieve bm25"].kept]
        assert stages["feedback corrective"].notes == {"action": "incorrect", "best": 0.0, "rewritten": "leaves tea"}
        assert [h.chunk.text for h in hits] == [answer]
        kept = [f for f in fates(trace) if not f.dropped_by]
        assert [f.id for f in kept] == [h.chunk.id for h in hits]

    def test_two_retrievals_are_the_most(self, make, docs):
        made = make(refine=[Gold(answer="no such text")], feedback="corrective")
        made.ingest(docs)
        answer = made.ask("What do leaves of the moon weigh?")
        assert answer.hits == ()
        assert answer.text == NO_ANSWER
        asked = [s.name for s in answer.trace.stages if "retrieve" in s.name]
        assert asked == ["retrieve dense", "retrieve bm25", "again retrieve dense", "again retrieve bm25"]

    def test_settings(self):
        with pytest.raises(ValidationError, match=r"upper \(0.2\) must not be under lower \(0.3\)"):
            Corrective(upper=0.2, lower=0.3)
