"""`read: passages`: passages read alone and placed behind one another. A tiny random Llama over characters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("numba", reason="numba is not installed")

from fovea.attention_retrieval.memory.read_text import ReadText  # noqa: E402
from fovea.pipelines.answering.composing import Passages, held  # noqa: E402
from fovea.pipelines.cli.main import main  # noqa: E402
from fovea.pipelines.generators.transformers import TransformersGenerator  # noqa: E402
from fovea.pipelines.pipeline import Pipeline  # noqa: E402
from fovea.rag.encoders.hash import HashEncoder  # noqa: E402
from fovea.rag.errors import ConfigErrors, ModelError  # noqa: E402
from fovea.rag.testing.corpus import MemoryCorpus  # noqa: E402
from fovea.rag.types import Query  # noqa: E402
from tests.pipelines.answering.test_generator_transformers import TEMPLATE, save_llama  # noqa: E402
from tests.pipelines.answering.test_read_once import (  # noqa: E402
    CORPUS,
    HITS,
    QUESTIONS,
    YAML,
    ask,
    plain,
    reader,
    said,
    shown,
    warnings,
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"), window=2048, template=TEMPLATE)


def composing(model: str, folder: Path | None, **settings) -> TransformersGenerator:
    return reader(model, folder, "passages", **{"recompute": 1, **settings})


@pytest.mark.parametrize("attention", [None, {"use": "retrieval", "dtype": "fp32"}])
def test_with_all_computed_anew_answers_are_those_of_a_full_read(model, tmp_path, attention):
    generator = composing(model, tmp_path, attention=attention)
    for question in QUESTIONS:
        for hits in (HITS, HITS[::-1], HITS[1:]):
            text, trace = ask(generator, question, hits)
            assert text == plain(model, question, hits)
            counted = said(trace)
            assert counted["tokens"] + counted["recomputed"] + counted["then"] == trace.stages[0].counts["input_tokens"]
            assert counted["passages"] == len(hits)


def test_one_passage_is_exact_whatever_is_computed_anew(model, tmp_path):
    generator = composing(model, tmp_path, recompute=0)
    for hit in HITS:
        text, trace = ask(generator, hits=[hit])
        assert text == plain(model, QUESTIONS[0], [hit])
        assert said(trace)["recomputed"] == 0


def test_a_passage_is_read_once_whatever_its_place_and_question_and_after_a_restart(model, tmp_path):
    first = composing(model, tmp_path)
    assert said(ask(first)[1])["of them read now"] == len(HITS) == 3
    assert said(ask(first, QUESTIONS[1], HITS[::-1])[1])["of them read now"] == 0
    assert said(ask(composing(model, tmp_path), QUESTIONS[2], HITS[1:])[1])["of them read now"] == 0
    assert len(list(tmp_path.glob("*.cache"))) == 3
    about = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert about["kind"] == "passages"
    assert about["model"] == model


def test_what_decides_keys_and_values_makes_another_key(model, tmp_path):
    ask(composing(model, tmp_path))
    other = save_llama(tmp_path / "other", window=2048, template=TEMPLATE + " ")
    for generator in (
        composing(model, tmp_path, memory={"dtype": "int8"}),
        composing(model, tmp_path, instruction="Answer!"),
        composing(other, tmp_path),
    ):
        assert said(ask(generator)[1])["of them read now"] == 3
    changed = MemoryCorpus.of({"sky/moons.txt": HITS[0].chunk.text + "!"}, HashEncoder(), size=600)
    hits = changed.nearest(changed.embed("moon"), 1)
    assert said(ask(composing(model, tmp_path), hits=hits, corpus=changed)[1])["of them read now"] == 1


def test_a_damaged_file_is_said_and_the_passage_read_anew(model, tmp_path):
    expected, _ = ask(composing(model, tmp_path))
    path = next(tmp_path.glob("*.cache"))
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-9] + b"x" + whole[-8:], b""):
        path.write_bytes(damaged)
        text, trace = ask(composing(model, tmp_path))
        assert text == expected
        assert said(trace)["of them read now"] == 1
        assert warnings(trace)[0].startswith("a passage's cache is damaged, and the passage is read anew: ")
        assert path.read_bytes() == whole


def test_a_template_that_rewrites_passages_is_refused(tmp_path):
    rewriting = TEMPLATE.replace("m['content']", "m['content'].replace('<', '(')")
    generator = composing(save_llama(tmp_path / "model", template=rewriting), tmp_path)
    with pytest.raises(ModelError, match="does not keep"):
        ask(generator)


def test_what_a_passage_is_in_another_place(model):
    passages = composing(model, None).passages
    assert isinstance(passages, Passages)
    alone = passages.read(HITS[0], CORPUS).text
    prompt = passages.laid(Query("?"), [HITS[1], HITS[0]], CORPUS)
    ids = prompt.ids[prompt.places[1].start : prompt.places[1].stop]
    (start, first), (behind, last) = held(alone, ids)
    assert start == 0
    assert len(first) + len(last) == len(ids) - 1, "all but the number, which is one character"
    assert [*first.ids, ids[len(first)], *last.ids] == ids
    assert behind == len(ids) - len(last)
    assert next(held(alone, alone.ids.tolist()))[1].ids.tolist() == alone.ids.tolist()
    assert not list(held(alone, [-1]))
    assert isinstance(alone, ReadText)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"read": "passage"}, "did you mean 'passages'"),
        ({"read": "documents", "recompute": 0.2}, "recompute is of passages that are read alone: read: passages"),
        ({"read": "passages", "recompute": 2}, "recompute"),
        ({"read": "passages", "memory": {"dtype": "int4"}}, "passages are kept as bf16, int8 or fp32, not int4"),
        (
            {"read": "passages", "attention": {"evict": {"use": "snapkv"}}},
            "attention.evict looks at queries, which are not kept of passages",
        ),
        (
            {"read": "passages", "attention": {"heads": {"use": "task_kv"}}},
            "attention.heads: {use: task_kv} looks at queries, which are not kept of passages",
        ),
        (
            {"read": "passages", "attention": {"prefill": {"use": "band"}}},
            "attention.prefill has no effect: passages are read with full attention: leave out one",
        ),
    ],
)
def test_settings_that_do_not_fit_together(model, settings, what):
    with pytest.raises(ConfigErrors, match=what):
        Pipeline(generate={"use": "transformers", "model": model, **settings})


def test_passages_are_read_ahead_shown_and_dropped_when_they_change(model, tmp_path, docs, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text((YAML % model).replace("read: documents", "read: passages"))
    with Pipeline.from_yaml("p.yaml") as pipeline:
        pipeline.ingest("docs")
        assert main(["read", "p.yaml", "docs/tea.md"]) == 0
        line, total = capsys.readouterr().out.splitlines()
        assert line.split()[0] == "read"
        assert line.endswith("docs/tea.md")
        assert total.startswith("1 text read, 0 found, 0 not kept; ")
        assert sorted(text.state for text in pipeline.read()) == ["found", "read", "read"]
        answer = pipeline.ask("Where does the Danube flow?", k=2)
        assert answer.trace.to_dict()["stages"][-2]["notes"]["read"]["of them read now"] == 0
        kept = shown(capsys, "status", "p.yaml")["read_once"]
        assert kept["texts"] == sum(row.chunks for row in pipeline.status())
        (docs / "tea.md").write_text("Tea is cold.")
        pipeline.ingest("docs")
        stale = shown(capsys, "status", "p.yaml")["read_once"]["stale"]
        assert stale
        assert all(name.startswith("docs/tea.md") for name in stale)
        assert shown(capsys, "compact", "p.yaml")["texts"] == len(stale)


def test_a_generator_that_reads_nothing_once_says_so(model, tmp_path, docs, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text("encoder: hash\nstore: {use: embedded, path: store}\n")
    with Pipeline.from_yaml("p.yaml") as pipeline:
        pipeline.ingest("docs")
    assert main(["read", "p.yaml"]) == 2
    assert "generate: extractive has no read" in capsys.readouterr().err
