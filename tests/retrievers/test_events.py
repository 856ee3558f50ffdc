"""Events: the store never tells of what is to come, and where events come from."""

from __future__ import annotations

import json
from datetime import datetime
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import DocumentError
from fovea.rag.trace import Trace
from fovea.rag.types import Document, Span
from fovea.retrievers.events import Event, EventStore, vectors_of
from fovea.retrievers.time.days import day_number, moment
from tests.conftest import SHARED

ENCODER = HashEncoder()
DAYS = st.floats(-800_000, 800_000, allow_nan=False)
EVENTS = st.lists(
    st.builds(
        Event, st.sampled_from(["fire in Rome", "a new king", "rain"]), DAYS, weight=st.sampled_from([0.5, 1, 2])
    ),
    max_size=12,
)


@given(EVENTS, EVENTS, DAYS, st.integers(1, 20), st.sampled_from(["a king in Rome", "rain"]))
def test_nothing_that_is_still_to_come_is_ever_told(first, later, at, k, asked):
    store = EventStore.of(first, ENCODER)
    store.add(later, ENCODER)
    vector = ENCODER.encode([asked])[0]
    found = store.search(vector, at, k)
    begun = [e for e in [*first, *later] if e.start <= at]
    assert len(found) == min(k, len(begun))
    assert all(event.start <= at for event, _ in found)
    scores = [event.weight * float(v @ vector) for event, v in found]
    assert scores == sorted(scores, reverse=True)
    if begun:
        best = (vectors_of(begun, ENCODER) @ vector) * [e.weight for e in begun]
        assert scores == pytest.approx(sorted(best, reverse=True)[:k], abs=1e-5)


@given(EVENTS, DAYS)
def test_what_ended_can_be_forgotten(events, at):
    events = [Event(e.text, e.start, e.start + 10) for e in events]
    store = EventStore.of(events, ENCODER)
    gone = store.expire(at)
    assert gone == sum(e.end < at for e in events)
    assert len(store) == len(events) - gone
    assert all(e.end >= at for e, _ in store.search(np.ones(ENCODER.dim, np.float32), inf, 99))


def test_an_empty_store_tells_nothing():
    assert EventStore(ENCODER.dim).search(np.ones(ENCODER.dim, np.float32), inf, 5) == []
    assert EventStore(ENCODER.dim).expire(0) == 0


class TestFeed:
    @pytest.fixture(autouse=True)
    def _library(self):
        pytest.importorskip("dateparser", reason="needs the extra 'time'")

    def read(self, tmp_path, *rows, **settings):
        from fovea.retrievers.event_feed import read_events

        path = tmp_path / "feed.jsonl"
        path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows), "utf-8")
        trace = Trace()
        with trace.stage("s"):
            return read_events(path, **settings), trace.warnings

    def test_lines_with_times_of_every_kind(self, tmp_path):
        found, warnings = self.read(
            tmp_path,
            {"text": "Fire in Rome", "start": "0064-07-18", "end": "0064-07-24", "entities": ["Rome"], "weight": 0.5},
            {"text": "Noon", "start": "2020-06-15T12:00:00+02:00"},
            {"text": "A month", "start": "2020-06", "about": "Rome"},
            {"text": "He became king in 1066."},
            {"text": "A year", "start": 1914, "end": 1918},
        )
        assert not warnings
        assert [(e.text, e.start, e.end) for e in found] == [
            ("Fire in Rome", day_number(64, 7, 18), day_number(64, 7, 24) + 1),
            ("Noon", day_number(2020, 6, 15) + 10 / 24, inf),
            ("A month", day_number(2020, 6), inf),
            ("He became king in 1066.", day_number(1066), day_number(1067) - 1),
            ("A year", day_number(1914), day_number(1919)),
        ]
        assert found[0].entities == ("Rome",)
        assert found[0].weight == 0.5
        assert found[2].about == "Rome"
        assert found[1].source == "feed.jsonl:2"

    def test_lines_that_are_no_events_are_counted_and_said(self, tmp_path):
        found, warnings = self.read(
            tmp_path,
            {"text": "In 1999 it rained."},
            '{"text": "a "quote" inside"}',
            "[1, 2",
            '"only text"',
            {"text": " ", "start": "1999"},
            {"text": "x", "start": "someday"},
            {"text": "x", "start": "2001", "end": "1999"},
            {"text": "x", "start": "2001", "weight": -1},
            {"text": "no time at all"},
            "",
            {"text": "x", "start": "2001", "weight": "heavy"},
        )
        assert len(found) == 1
        said = " | ".join(warnings)
        assert "not JSON: 2-3" in said
        assert "no text under 'text': 4-5" in said
        assert "cannot be read: 6, 11" in said
        assert "end before the start: 7-8" in said
        assert "name no time: 9" in said
        assert sum(warnings.values()) == 9

    def test_a_file_without_any_event_is_refused(self, tmp_path):
        with pytest.raises(DocumentError, match="no event"):
            self.read(tmp_path, "{", {"text": "no time"})

    @pytest.mark.parametrize(
        ("lines", "said"),
        [
            ("no\n", "the file holds no event: 1 line is not JSON"),
            ("no\nno\n", "the file holds no event: 2 lines are not JSON"),
            ("{}\n", "the file holds no event: 1 line has no text under 'text'"),
            ('{"text": "tea"}\n', "the file holds no event: 1 line names no time"),
        ],
    )
    def test_lines_are_counted_in_words(self, tmp_path, lines, said):
        from fovea.retrievers.event_feed import read_events

        (tmp_path / "feed.jsonl").write_text(lines)
        with pytest.raises(DocumentError, match=said):
            read_events(tmp_path / "feed.jsonl")

    def test_a_file_that_is_not_there(self, tmp_path):
        from fovea.retrievers.event_feed import read_events

        with pytest.raises(DocumentError, match=r"cannot read(.|\n)*fix: check the spelling"):
            read_events(tmp_path / "none.jsonl")

    def test_broken_lines_of_a_published_sample(self, tmp_path):
        from fovea.retrievers.event_feed import read_events

        path = SHARED / "data/temporal/event_titles_zh/sample_data.jsonl"
        if not path.exists():
            pytest.skip("no shared data")
        trace = Trace()
        with trace.stage("s"):
            found = read_events(path, text="title")
        broken = next(w for w in trace.warnings if "not JSON" in w)
        assert trace.warnings[broken] == 21
        assert "202-221, 245" in broken
        assert len(found) + sum(trace.warnings.values()) == 1015

    def test_sentences_of_the_corpus(self):
        from fovea.retrievers.event_feed import event_of, events_in

        text = "In 1950 she led the Institute. She rested. It was cold in 1951. From 1952 to 1954 she lived in Rome."
        document = Document("d", text, title="Ada Smith")
        chunks = [document.chunk(Span(0, len(text))), document.chunk(Span(31, len(text)))]
        found = list(events_in(chunks))
        assert [(e.text, e.about, e.entities) for e in found] == [
            ("In 1950 she led the Institute.", "Ada Smith", ("Institute",)),
            ("From 1952 to 1954 she lived in Rome.", "Ada Smith", ("Rome",)),
        ]
        assert (found[1].start, found[1].end) == (day_number(1952), day_number(1955) - 1)
        assert found[0].source == "d:0-30"
        now = moment(datetime(2020, 1, 1))
        assert event_of("Rome burns", now).start == now
        assert event_of("Rome burned until 64 AD", now).start == day_number(65) - 1, "told once it was over"
