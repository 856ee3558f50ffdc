"""What is misspelt on the command line is said with the nearest, below the usage of the verb that it was given to."""

from __future__ import annotations

import pytest

from fovea.pipelines.cli.main import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text("encoder: hash\n")
    (tmp_path / "gold.jsonl").write_text('{"question": "How hot?", "references": [{"text": ""}]}\n')


def said(capsys, *args: str) -> str:
    try:
        assert main(list(args)) in (1, 2)
    except SystemExit as ended:
        assert ended.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "usage", "near"),
    [
        (["chekc", "p.yaml"], "fovea [", "check"),
        (["bench", "segmentatoin"], "fovea bench [", "segmentation"),
        (["models", "lits"], "fovea models [", "list"),
        (["bench", "retrieval", "--data", "x", "--split", "tset"], "fovea bench retrieval [", "test"),
        (["check", "p.yaml", "--ofline"], "fovea check [", "--offline"),
        (["bench", "retrieval", "--data", "x", "--limt=3"], "fovea bench retrieval [", "--limit"),
        (["--versoin"], "fovea [", "--version"),
    ],
)
def test_a_verb_a_part_of_one_or_an_option(args, usage, near, capsys):
    words = said(capsys, *args)
    assert words.startswith(f"usage: {usage}")
    assert f"did you mean '{near}'?" in words


def test_what_is_near_to_nothing_is_refused_all_the_same(capsys):
    words = said(capsys, "frobnicate")
    assert "invalid choice: 'frobnicate' (choose from init, check," in words
    assert "did you mean" not in words
    assert "unrecognized arguments: --zzz" in said(capsys, "check", "p.yaml", "--zzz")


@pytest.mark.parametrize(
    ("args", "near"),
    [
        (["check", "pp.yaml"], "did you mean p.yaml? If not: fovea init pp.yaml"),
        (["check", "other.yaml"], "fix: fovea init other.yaml"),
        (["check", "nowhere/p.yaml"], "fix: fovea init nowhere/p.yaml"),
        (["eval", "p.yaml", "glod.jsonl"], "did you mean gold.jsonl?"),
        (["eval", "p.yaml", "gold.jsonl"], "gold.jsonl:1: the text of a reference is no text: ''"),
    ],
)
def test_a_file(here, args, near, capsys):
    assert near in said(capsys, *args)


@pytest.mark.parametrize(("name", "near"), [("ndcg@5", "nDCG@k"), ("recall@5", "R@k"), ("mrr", "MRR[@k]")])
def test_a_metric(name, near):
    from fovea.pipelines.evaluation.metrics.metric import metric
    from fovea.rag.errors import ConfigError

    with pytest.raises(ConfigError) as caught:
        metric(name)
    assert str(caught.value).endswith(f"did you mean {near!r}?")


@pytest.mark.parametrize(("beside", "warned"), [("", False), ("pool: separate\n", True)])
def test_a_preset_that_decides_nothing_is_said(here, tmp_path, beside, warned, capsys):
    (tmp_path / "p.yaml").write_text(f"encoder: hash\npreset: plain\nsegment: sentence\n{beside}")
    assert main(["check", "p.yaml", "--no-store"]) == 0
    what = "p.yaml:2:9: preset: plain decides nothing, since segment and pool are given beside it"
    assert (what in capsys.readouterr().err) == warned
