"""The stage cache: what it gives is what was computed, once, and charged what it took."""

from __future__ import annotations

import multiprocessing
import sqlite3
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.pipelines.sweep.cache_file import CacheFile, key_of
from fovea.pipelines.sweep.encoder import StageEncoder
from fovea.pipelines.sweep.libraries import Documents, Libraries, TrialPipeline
from fovea.pipelines.sweep.stages import Stages
from fovea.rag import stage_cache, trace
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.trace import Trace
from fovea.rag.types import Document, Hit, Query, Span


@pytest.fixture
def stages(tmp_path: Path) -> Stages:
    return Stages(tmp_path)


def test_keys_tell_where_parts_end() -> None:
    assert key_of("ab", "c") != key_of("a", "bc")
    assert key_of("a") == key_of(b"a")
    assert len(key_of()) == 16


def test_a_value_is_computed_once_and_damage_makes_it_missing(tmp_path: Path) -> None:
    file, calls = CacheFile(tmp_path / "c.sqlite"), []

    def compute() -> bytes:
        calls.append(1)
        return b"value"

    clock = iter([10.0, 12.5, 0.0, 0.0]).__next__
    assert file.value("kind", b"k" * 16, compute, clock) == (b"value", 2.5, False)
    assert file.value("kind", b"k" * 16, compute, clock) == (b"value", 2.5, True)
    assert (file.found["kind"], file.made["kind"], len(calls)) == (1, 1, 1)
    with sqlite3.connect(tmp_path / "c.sqlite") as db:
        db.execute("UPDATE entries SET value = ?", [b"valse"])
    assert file.value("kind", b"k" * 16, compute, clock) == (b"value", 0.0, False)
    assert len(calls) == 2


def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with (run := Trace()).stage("open"):
        file = CacheFile(path)
    file.put([(b"k" * 16, b"v", 1.0)])
    assert file.get("kind", [b"k" * 16]) == {b"k" * 16: (b"v", 1.0)}
    assert "was damaged and is begun anew" in next(iter(run.warnings))
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1


def _compute_slowly(path: Path, log: Path) -> None:
    def compute() -> bytes:
        with log.open("a") as file:
            file.write("computed\n")
        time.sleep(0.3)
        return b"value"

    assert CacheFile(path).value("kind", b"k" * 16, compute, time.perf_counter)[0] == b"value"


def test_processes_that_want_the_same_compute_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    path, log = tmp_path / "c.sqlite", tmp_path / "log"
    workers = [context.Process(target=_compute_slowly, args=(path, log)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert log.read_text() == "computed\n"


def _corpus() -> MemoryCorpus:
    document = Document("d", "One sentence. Another one. A third.", "d.txt", "D", metadata={"year": 2020})
    chunks = [document.chunk(Span(0, 13)), document.chunk(Span(14, 26)), document.chunk(Span(27, 35))]
    return MemoryCorpus([document], chunks, HashEncoder())


def test_hits_come_back_whole_and_with_what_was_said(stages: Stages) -> None:
    corpus, calls = _corpus(), []

    def compute() -> list[Hit]:
        calls.append(1)
        time.sleep(0.05)
        trace.warn("something odd", 2)
        trace.current().count(read=3)
        trace.current().note(backend="flat")
        found = [Hit(c, 1 / 3 + i, {"dense": 0.1 + i}) for i, c in enumerate(corpus.chunks())]
        trace.current().drop(found[2], "too far")
        return found[:2]

    runs = []
    for _ in range(2):
        with stages.over("library"), (run := Trace()).stage("retrieve dense") as stage:
            cache = stage_cache.current()
            assert cache is not None
            hits = cache.hits("retrieve", "maker", Query("q"), corpus, compute, k=5)
        runs.append((hits, stage.counts, stage.warnings, stage.notes, stage.dropped))
        assert 0.05 <= run.seconds < 0.2
    assert runs[0] == runs[1]
    assert len(calls) == 1
    assert stage_cache.current() is None
    for other in ({"k": 6}, {"k": 5, "where": "x"}):
        with stages.over("library"):
            stages.hits("retrieve", "maker", Query("q"), corpus, compute, **other)
    with stages.over("another library"):
        stages.hits("retrieve", "maker", Query("q"), corpus, compute, k=5)
    assert len(calls) == 4


def test_an_error_is_not_kept(stages: Stages) -> None:
    corpus = _corpus()

    def fail() -> list[Hit]:
        raise RuntimeError("no")

    with stages.over("library"):
        for _ in range(2):
            with pytest.raises(RuntimeError):
                stages.hits("retrieve", "maker", Query("q"), corpus, fail)
        assert stages.hits("retrieve", "maker", Query("q"), corpus, list) == []


def test_scores_are_shared_by_passage(stages: Stages) -> None:
    asked: list[list[str]] = []

    def ask(texts):
        asked.append(list(texts))
        return np.array([len(t) / 10 for t in texts])

    assert stages.scores("m", "q", ["a", "bb", "a"], ask).tolist() == [0.1, 0.2, 0.1]
    assert stages.scores("m", "q", ["ccc", "bb"], ask).tolist() == [0.3, 0.2]
    assert stages.scores("m", "another q", ["bb"], ask).tolist() == [0.2]
    assert asked == [["a", "bb"], ["ccc"], ["bb"]]


def test_pieces_are_written_once(stages: Stages) -> None:
    hits = [Hit(c, 1.0) for c in _corpus().chunks()]
    calls = []

    def write():
        calls.append(1)
        trace.current().count(tokens_out=7)
        yield from ("An ", "answer.")

    for _ in range(2):
        with Trace().stage("generate") as stage:
            assert list(stages.pieces("maker", Query("q"), hits, write)) == ["An ", "answer."]
        assert stage.counts["tokens_out"] == 7
    assert list(stages.pieces("maker", Query("q"), hits[:2], write)) == ["An ", "answer."]
    assert len(calls) == 2


def test_an_answer_is_of_the_documents_and_of_the_encoder_that_a_reader_looks_into(stages: Stages) -> None:
    """The words above a passage decide its meaning, and the encoder which sentence is quoted."""
    hits = [Hit(c, 1.0) for c in _corpus().chunks()]
    for corpus, read in (("a", "one"), ("b", "one"), ("a", "two")):
        with stages.over(corpus, read):
            said = list(stages.pieces("maker", Query("q"), hits, lambda: iter([read])))  # noqa: B023
        assert said == [read]


def test_vectors_are_those_of_the_encoder_and_made_once(stages: Stages) -> None:
    plain = HashEncoder()
    encoder = StageEncoder.over(plain, stages)
    texts = ["one", "two words", "one"]
    for role in ("document", "query"):
        assert np.array_equal(encoder.encode(texts, role), plain.encode(texts, role))
    made = stages.file.made["encode"]
    again = StageEncoder.over(plain, Stages(stages.file.path.parent))
    assert np.array_equal(again.encode(texts), plain.encode(texts))
    assert made == 4
    assert again.stages.file.made["encode"] == 0
    assert again.encode([]).shape == (0, plain.dim)


@pytest.mark.parametrize(("made", "of", "step"), [("ingest", Pipeline, "add"), ("index", TrialPipeline, "rebuild")])
@pytest.mark.parametrize("after", [False, True])
def test_what_was_interrupted_before_it_was_whole_is_built_again(
    tmp_path: Path, stages: Stages, monkeypatch: pytest.MonkeyPatch, made: str, of: type, step: str, after: bool
) -> None:
    given = [Document(str(i), f"The number is {i}.", f"{i}.txt") for i in range(3)]
    libraries = Libraries(tmp_path, Documents(tmp_path, given=given), stages)
    spec = PipelineSpec.model_validate({"encoder": "hash"})
    real = getattr(of, step)

    def interrupted(self: Pipeline, *args: Any, **options: Any) -> Any:
        if after:
            real(self, *args, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(of, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            libraries.pipeline(spec)
    pipeline, _, _ = libraries.pipeline(spec)
    with pipeline:
        assert len(pipeline.retrieve("Which number?")) == 3
    assert stages.file.made[made] == 2, "what was begun is not taken for what is whole"
    again, _, _ = libraries.pipeline(spec)
    again.close()
    assert stages.file.made[made] == 2
