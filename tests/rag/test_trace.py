"""Traces add up; progress says how far and how long."""

import io
from threading import Thread

from fovea.rag import progress, trace
from fovea.rag.trace import Trace
from fovea.rag.types import Chunk, Hit


def ticking(*times: float):
    steps = iter(times)
    return lambda: next(steps)


def test_a_stage_is_timed_and_continued_under_the_same_name():
    found = Trace(clock=ticking(0.0, 1.5, 10.0, 12.0))
    with found.stage("encode") as stage:
        stage.count(texts=3)
    with found.stage("encode") as stage:
        stage.count(texts=4)
    assert len(found.stages) == 1
    assert (found.stages[0].seconds, found.stages[0].counts) == (3.5, {"texts": 7})


def test_warnings_are_counted_where_they_happen():
    found = Trace()
    with found.stage("outer"):
        trace.warn("cut")
        with trace.stage("inner"):
            trace.warn("cut")
            trace.warn("cut")
    assert {s.name: dict(s.warnings) for s in found.stages} == {"outer": {"cut": 1}, "inner": {"cut": 2}}
    assert found.warnings == {"cut": 3}


def test_outside_of_a_trace_nothing_is_kept_and_nothing_breaks():
    trace.warn("nobody hears")
    with trace.stage("alone") as stage:
        stage.count(x=1)
    assert trace.current().counts == {}


def test_two_threads_do_not_mix_their_traces():
    traces = [Trace(), Trace()]

    def work(mine: Trace, name: str) -> None:
        for _ in range(200):
            with mine.stage(name):
                trace.current().count(n=1)

    threads = [Thread(target=work, args=(t, str(i))) for i, t in enumerate(traces)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert [(s.name, s.counts["n"]) for t in traces for s in t.stages] == [("0", 200), ("1", 200)]


def test_hits_and_reasons_are_remembered():
    found, hit = Trace(), Hit(Chunk("d", 0, 1, "a"), 0.5)
    with found.stage("refine") as stage:
        stage.keep([hit])
        stage.drop(hit, "too long")
    plain = found.to_dict()["stages"][0]
    assert plain["hits"] == [[hit.chunk.id, 0.5, "d:0-1"]]
    assert plain["dropped"] == {hit.chunk.id: "too long"}


def test_a_log_gets_a_line_every_few_seconds_with_rate_and_eta():
    out, now = io.StringIO(), [0.0]
    lines = progress._Lines("encode", 100, out, every=5.0, clock=lambda: now[0])
    for second in range(1, 11):
        now[0] = second
        lines.advance(5)
    assert out.getvalue().splitlines() == ["encode: 25/100 (5.0/s, 15 s left)", "encode: 50/100 (5.0/s, 10 s left)"]


def test_a_library_draws_no_bars_unless_asked(capsys):
    with progress.bar("work", 2) as bar:
        bar.advance(2)
    assert capsys.readouterr() == ("", "")
