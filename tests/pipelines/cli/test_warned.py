"""Warnings of every verb: each kind once, with its count, and none with --quiet."""

from __future__ import annotations

import json

import pytest
import yaml

from fovea.pipelines.cli.main import main
from fovea.pipelines.loaders.select import Selection
from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.spec import lacks
from fovea.rag.trace import warn
from fovea.retrievers.collections import read
from tests.sweep_studies import Here, write_study

pytest.importorskip("ir_measures", reason="needs fovea-rag[bench]")
SAID = "the kettle sings"


@pytest.fixture
def place(tmp_path, docs, monkeypatch, capsys):
    """A pipeline with its store, a question set, a set for the bench, a study; all in this process."""
    monkeypatch.chdir(tmp_path)
    settings = {"name": "mine", "encoder": "hash", "retrieve": "bm25", "store": {"use": "embedded", "path": "store"}}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(settings))
    row = {"question": "How hot is green tea brewed?", "references": ["80 degrees"]}
    (tmp_path / "q.jsonl").write_text(json.dumps(row) + "\n")
    beir = tmp_path / "beir"
    (beir / "qrels").mkdir(parents=True)
    (beir / "corpus.jsonl").write_text('{"_id": "d", "text": "Tea."}\n')
    (beir / "queries.jsonl").write_text('{"_id": "q", "text": "Tea?"}\n')
    (beir / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    write_study(tmp_path / "study", search={"use": "grid", "trials": 1})
    monkeypatch.setattr("fovea.pipelines.cli.sweep._pool", lambda workers, sweep: Here(sweep.data.task))
    assert main(["ingest", "p.yaml", str(docs), "--quiet"]) == 0
    (docs / "new.txt").write_text("Water boils at 100 degrees.")
    capsys.readouterr()
    return docs


VERBS = {
    "ingest": ["ingest", "p.yaml", "docs"],
    "retry": ["retry", "p.yaml"],
    "ask": ["ask", "p.yaml", "How hot is tea?"],
    "ask --explain": ["ask", "p.yaml", "How hot is tea?", "--explain"],
    "search": ["search", "p.yaml", "How hot is tea?"],
    "search --explain": ["search", "p.yaml", "How hot is tea?", "--explain"],
    "status": ["status", "p.yaml"],
    "check": ["check", "p.yaml"],
    "rebuild": ["rebuild", "p.yaml"],
    "remove": ["remove", "p.yaml", "docs", "--dry-run"],
    "eval": ["eval", "p.yaml", "q.jsonl", "--metrics", "MRR"],
    "sweep": ["sweep", "study/study.yaml"],
    "sweep --dry-run": ["sweep", "study/study.yaml", "--dry-run"],
    "bench": ["bench", "retrieval", "--data", "beir", "--methods", "bm25", "--encoder", "hash"],
    "make-questions": ["make-questions", "p.yaml", "--out", "drafts.jsonl"],
}


@pytest.mark.parametrize("quiet", [False, True], ids=["", "quiet"])
@pytest.mark.parametrize("args", VERBS.values(), ids=VERBS)
def test_a_warning_is_printed_once_and_not_at_all_where_it_is_quiet(place, monkeypatch, capsys, args, quiet):
    """Whatever a verb opens warns twice here, once of it for three texts."""

    def warned(real):
        def call(*args, **kwargs):
            warn(SAID)
            warn(SAID, 3)
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr(Selection, "files", warned(Selection.files))
    monkeypatch.setattr(Pipeline, "from_yaml", warned(Pipeline.from_yaml))
    monkeypatch.setattr(read, "read", warned(read.read))
    monkeypatch.setattr(lacks, "lacks", warned(lacks.lacks))
    args = [str(place) if arg == "docs" else arg for arg in args]
    main([*args, *(["--quiet"] if quiet else [])])
    said = capsys.readouterr()
    lines = [line.strip() for line in (said.out + said.err).splitlines() if SAID in line]
    if quiet:
        assert lines == []
    else:
        assert len(lines) == 1, lines
        times = int(lines[0].partition("(")[2].partition(" times")[0])
        assert times >= 4
        assert lines[0].startswith(f"warning: {SAID} (")


@pytest.mark.parametrize("quiet", [False, True], ids=["", "quiet"])
def test_what_stages_of_a_question_warn_of_is_printed_once(place, monkeypatch, capsys, quiet):
    yaml_file = place.parent / "p.yaml"
    yaml_file.write_text(yaml_file.read_text() + "refine: [{use: token_budget, max_tokens: 1}]\n")
    for args in (["ask", "p.yaml", "tea?"], ["ask", "p.yaml", "tea?", "--explain"], ["search", "p.yaml", "tea?"],
                 ["eval", "p.yaml", "q.jsonl", "--metrics", "MRR"]):  # fmt: skip
        main([*args, *(["--quiet"] if quiet else [])])
        said = capsys.readouterr()
        assert (said.out + said.err).count("no passage fits into 1 tokens") == (0 if quiet else 1), args


def test_a_quiet_error_is_still_said(place, capsys):
    assert main(["ask", "none.yaml", "tea?", "--quiet"]) == 2
    assert "none.yaml" in capsys.readouterr().err


def test_a_pipeline_that_warns_of_nothing_prints_nothing(place, capsys):
    with Pipeline.from_yaml("p.yaml") as pipeline:
        assert pipeline.verify() == []
    assert main(["search", "p.yaml", "tea?"]) == 0
    assert "warning" not in capsys.readouterr().err
