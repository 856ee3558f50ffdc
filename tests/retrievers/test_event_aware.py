"""Event-aware retrieval: what its head leaves alone, what it never looks at, and what times add to a score."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import DocumentError
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.testing.retrievers import check_prefix
from fovea.rag.trace import Trace
from fovea.rag.trained import load, save
from fovea.rag.types import Hit, Query
from fovea.retrievers.adaptive import AdaptiveFuser
from fovea.retrievers.bm25 import BM25Retriever
from fovea.retrievers.dense import DenseRetriever
from fovea.retrievers.event_head import FEATURES, moved, time_features
from fovea.retrievers.time.days import moment
from tests.learned_weights import weights_of

pytest.importorskip("dateparser", reason="needs the extra 'time'")

from fovea.retrievers.event_aware import DROWNED, WATCHED, EventAwareRetriever
from fovea.retrievers.time.passages import UNDATED

ENCODER = HashEncoder()
TEXTS = {
    "first": "Ada Smith led the club from 1950 to 1953.",
    "second": "Ben Jones led the club from 1954 to 1959.",
    "third": "Cleo Brown led the club from 1960 to 1972.",
    "none": "The club wears red, and always did.",
}
MOMENTS = st.datetimes(datetime(1940, 1, 1), datetime(1990, 1, 1), timezones=st.sampled_from([None, UTC]))
EVENTS = st.lists(st.tuples(st.sampled_from(["Jones leads the club", "rain"]), st.datetimes(
    datetime(1940, 1, 1), datetime(1990, 1, 1))), max_size=8)  # fmt: skip


@pytest.fixture(scope="module")
def corpus():
    return MemoryCorpus.of(TEXTS, ENCODER)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("feeds")


def retriever(**settings):
    return EventAwareRetriever(weights=weights_of("event_aware", ENCODER), **settings)


def first(query, corpus, **settings):
    return [hit.chunk.document_id for hit in retriever(**settings).search(query, 9, corpus)]


def hybrid(query, corpus):
    lists = {one.name: one.search(query, 9, corpus) for one in (DenseRetriever(), BM25Retriever())}
    return AdaptiveFuser().fuse(lists, 9, query, corpus)


def vectors(count, seed=0):
    found = np.random.default_rng(seed).normal(size=(count, ENCODER.dim)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


class TestHead:
    arrays = load(weights_of("event_aware", ENCODER), "event_aware", "retriever").arrays

    def test_without_events_the_question_stays_and_all_attention_is_on_none(self):
        asked = vectors(1)[0]
        found = moved(asked, np.zeros((0, ENCODER.dim), np.float32), np.zeros((0, FEATURES), np.float32), self.arrays)
        assert np.abs(found.vector - asked).max() < 1e-6
        assert found.null == 1

    def test_events_move_it(self):
        asked, events = vectors(1)[0], vectors(5, seed=1)
        times = time_features(np.arange(5.0), np.arange(5.0) + 2, 3, 6)
        found = moved(asked, events, times, self.arrays)
        assert np.abs(found.vector - asked).max() > 1e-3
        assert np.linalg.norm(found.vector) == pytest.approx(1, abs=1e-5)
        assert 0 < found.null < 1
        order = [3, 1, 4, 0, 2]
        turned = moved(asked, events[order], times[order], self.arrays)
        np.testing.assert_allclose(turned.vector, found.vector, atol=1e-5)

    def test_before_training_it_is_the_identity_and_torch_agrees_after_it(self):
        torch = pytest.importorskip("torch")
        from fovea.retrievers.training.event_aware import EventAwareRecipe

        torch.manual_seed(0)
        net = EventAwareRecipe().head(ENCODER.dim, questions=1).eval()
        asked, events = vectors(1)[0], vectors(5, seed=1)
        times = time_features(np.arange(5.0), np.arange(5.0) + 2, 3, 6)

        def numpy_and_torch():
            arrays = {name: value.detach().numpy() for name, value in net.used().items()}
            batch = [torch.from_numpy(a)[None] for a in (asked, events, times, np.ones(5, bool))]
            vector, gates, pull = net(*batch)
            return moved(asked, events, times, arrays), vector[0].detach().numpy(), [*gates[0].tolist(), pull.item()]

        assert np.abs(numpy_and_torch()[0].vector - asked).max() < 1e-6
        with torch.no_grad():
            for value in net.parameters():
                value.add_(0.1 * torch.randn_like(value))
        ours, theirs, gates = numpy_and_torch()
        assert np.abs(ours.vector - asked).max() > 1e-3
        np.testing.assert_allclose(ours.vector, theirs, atol=1e-4)
        assert [ours.gate, ours.moment, ours.pull] == pytest.approx(gates, abs=1e-4)


def test_a_question_without_any_time_is_left_as_it_is(corpus):
    query, found = Query("who led the club"), retriever(corpus_events=True)
    assert np.abs(found.vector(query, corpus) - corpus.embed(query.text)).max() < 1e-6
    hits = hybrid(query, corpus)
    assert [(h.chunk.id, h.score) for h in found.search(query, 9, corpus)] == [(h.chunk.id, h.score) for h in hits]
    near = corpus.nearest(corpus.embed(query.text), 9)
    alone = retriever(lexical=0).search(query, 9, corpus)
    assert [h.chunk.id for h in alone] == [h.chunk.id for h in near], "by meaning alone"


@pytest.mark.parametrize("text", ["who led the club of plum 7", "who led the club of plum 7 in 1956"])
def test_where_there_is_no_time_it_is_the_default_pipelines_list(text):
    """Of 120 chunks, lists are cut where the pipeline's are, not at `depth`."""
    many = MemoryCorpus.of({f"d{n}": f"The club of plum {n % 9} and fig {n % 7}, {n}" for n in range(120)}, ENCODER)
    spec = PipelineSpec()
    lists = {one.name: one.search(Query(text), spec.candidates, many) for one in (DenseRetriever(), BM25Retriever())}
    wanted = spec.fuser.fuse(lists, spec.candidates, Query(text), many)
    assert [h.chunk.id for h in retriever().search(Query(text), 50, many)] == [h.chunk.id for h in wanted]
    assert len(retriever().search(Query(text), 120, many)) == 120


@given(MOMENTS)
def test_an_empty_store_leaves_the_vector_as_it_is(corpus, at):
    for text in ("who led the club", "who led the club in 1955"):
        vector = retriever().vector(Query(text, as_of=at), corpus)
        assert np.abs(vector - corpus.embed(text)).max() < 1e-6


@given(EVENTS, MOMENTS)
def test_what_is_still_to_come_changes_nothing(corpus, folder, events, at):
    """With the events that had begun alone, vector, hits and scores are the very same."""
    rows = [{"text": text, "start": start.isoformat()} for text, start in events]
    begun = [row for row, (_, start) in zip(rows, events) if moment(start) <= moment(at)]
    query, found = Query("who led the club now", as_of=at), []
    for name, kept in (("all", rows), ("begun", begun)):
        path = folder / f"{name}.jsonl"
        path.write_text("\n".join(map(json.dumps, kept)))
        one = retriever(feed=path)
        assert all(e.start <= moment(at) for e, _ in one._events(query, corpus.embed(query.text), moment(at), corpus))
        found.append((one.vector(query, corpus).tolist(), one.search(query, 9, corpus)))
    assert found[0] == found[1]


@given(MOMENTS)
def test_events_of_the_corpus_and_of_the_query_have_begun_too(corpus, at):
    query = Query("who led the club", as_of=at, events=("Jones led it in 1985.", "Smith led it in 1941."))
    trace, one = Trace(), retriever(corpus_events=True)
    with trace.stage("s"):
        seen = one._events(query, corpus.embed(query.text), moment(at), corpus)
    assert all(event.start <= moment(at) for event, _ in seen)
    late = sum(year > at.year for year in (1985, 1941))
    assert sum(n for what, n in trace.warnings.items() if "not looked at" in what) == late


def test_times_put_first_what_fits_and_an_undated_passage_is_counted_and_still_found(corpus):
    trace = Trace()
    with trace.stage("s"):
        assert first(Query("who led the club in 1956"), corpus)[0] == "second"
    assert trace.warnings[UNDATED] == 1
    assert set(first(Query("who led the club in 1956"), corpus)) == set(TEXTS)
    assert first(Query("who led the club", as_of=datetime(1951, 5, 1)), corpus)[0] == "first"
    assert first(Query("who led the club", as_of=datetime(1965, 5, 1)), corpus)[0] == "third"


@given(st.sampled_from(["green figs in 1956", "figs now", "plums before last month", "red"]), st.none() | MOMENTS)
def test_passages_without_any_time_keep_the_order_of_the_hybrid(text, at):
    undated = MemoryCorpus.of({"a": "red plums", "b": "green figs", "c": "blue figs, and plums"}, ENCODER)
    query = Query(text, as_of=at)
    assert retriever().search(query, 9, undated) == [
        Hit(h.chunk, h.score, {"event_aware": h.score}) for h in hybrid(query, undated)
    ]


def test_an_empty_corpus_and_more_than_there_is(corpus):
    empty = MemoryCorpus((), (), ENCODER)
    for query in (Query("who in 1956"), Query("who", as_of=datetime(1956, 1, 1)), Query("who")):
        assert retriever(corpus_events=True).search(query, 5, empty) == []
        assert len(retriever(corpus_events=True).search(query, 500, corpus)) == len(TEXTS)
        for k in (1, 2, 3):
            check_prefix(retriever(depth=2), query, k, corpus)


def test_a_time_with_a_zone_is_the_same_moment_as_that_of_utc(corpus):
    zone = timezone(timedelta(hours=9))
    for text in ("who led the club", "who leads the club now"):
        here, there, bare = (
            retriever(corpus_events=True).search(Query(text, as_of=at), 9, corpus)
            for at in (
                datetime(1960, 1, 1, 3, tzinfo=UTC),
                datetime(1960, 1, 1, 12, tzinfo=zone),
                datetime(1960, 1, 1, 3),
            )
        )
        assert here == there == bare


def test_a_changed_feed_is_read_anew_and_a_missing_one_is_refused(corpus, tmp_path):
    path, query = tmp_path / "feed.jsonl", Query("who led the club", as_of=datetime(1970, 1, 1))
    one = retriever(feed=path)
    with pytest.raises(DocumentError, match="cannot read"):
        one.search(query, 3, corpus)
    path.write_text('{"text": "Jones led the club", "start": "1955"}')
    assert len(one.store(corpus)) == 1
    path.write_text('{"text": "Jones led the club", "start": "1955"}\n{"text": "Smith fell", "start": "1953"}')
    assert len(one.store(corpus)) == 2


@pytest.mark.parametrize(("share", "drowned"), [(0.0, False), (2.0, False), (20.0, True)])
def test_the_alarm_rings_where_events_drown_questions_and_not_for_an_open_gate(corpus, tmp_path, share, drowned):
    trained = load(weights_of("event_aware", ENCODER), "event_aware", "retriever")
    still = {name: np.zeros_like(trained.arrays[name]) for name in ("up.weight", "gate.weight")}
    heads = len(trained.arrays["share"])
    opened = {**trained.arrays, **still, "gate.bias": np.full(2, 9.0), "share": np.full(heads, share / heads)}
    opened["nothing"] = np.full_like(trained.arrays["nothing"], -99)
    save(tmp_path / "open.safetensors", {k: np.asarray(v, np.float32) for k, v in opened.items()}, trained.about)
    one, trace = EventAwareRetriever(weights=str(tmp_path / "open.safetensors")), Trace()
    query = Query("who led the club", as_of=datetime(1970, 1, 1), events=("Jones led it in 1955.",))
    with trace.stage("s") as stage:
        for _ in range(WATCHED):
            one.search(query, 3, corpus)
    assert stage.notes["event_gate"] > 0.99
    assert stage.notes["event_pull"] == pytest.approx(share, rel=0.01)
    assert (DROWNED in trace.warnings) == drowned


def test_shipped_weights_are_small_and_for_the_default_encoder():
    trained = load("event_aware", "event_aware", "retriever")
    assert trained.about["encoder_name"].endswith("all-MiniLM-L6-v2")
    assert (trained.arrays["moment"] > 0).all(), "times only ever add"
