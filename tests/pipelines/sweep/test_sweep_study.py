"""What is wrong with a study file is said before anything runs, with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fovea.pipelines.sweep.load import load_study
from fovea.rag.errors import ConfigError
from tests.conftest import ROOT
from tests.sweep_studies import PIPELINE, write_study

MISFIT = {"segment": {"choice": ["fixed"]}, "k": {"choice": [2, 60]}}


def test_a_study_that_is_fine(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path))
    assert study.objectives == {"R@2": "maximise", "tokens_passages": "minimise"}
    assert study.metrics == ["R@2", "tokens_passages", "seconds"]
    assert len(study.grid) == 6
    assert study.baseline.params == {"segment": "fixed", "segment.max_tokens": 8, "retrieve": "dense"}


def test_methods_of_attention_are_a_choice_like_others(tmp_path: Path) -> None:
    selections = [{"use": "wave"}, {"use": "block_bounds", "top_k": {"choice": [512, 1024]}}]
    attention = {"prefill": {"choice": [None, {"use": "anchor", "step": 2}]}, "select": {"choice": selections}}
    own = {"generate": {"use": "transformers", "model": "smollm2", "attention": attention}}
    study = load_study(write_study(tmp_path, pipeline={"encoder": "hash", **own}))
    tried = [one.settings["generate"]["attention"] for one in study.grid]
    assert len(tried) == 6
    assert tried[0] == {"select": {"use": "wave"}, "prefill": None}
    assert tried[-1]["select"] == {"use": "block_bounds", "top_k": 1024}
    selections[1]["use"] = "block_bound"
    with pytest.raises(ConfigError, match="did you mean 'block_bounds'"):
        load_study(write_study(tmp_path, pipeline={"encoder": "hash", **own}))


GOLDEN: list[tuple[dict[str, Any], str]] = [
    ({"sudy": 1}, "{f}:22:1: sudy: unknown setting 'sudy'\n  allowed: study, format, pipeline, documents, questions, "
     "limit, objectives, metrics, judge, search, constraints, baseline, prune, limits\n  did you mean 'study'?"),
    ({"search": {"use": "tp"}}, "{f}:23:8: search.use: input should be 'grid', 'random', 'tpe' or 'nsga2', got 'tp'"),
    ({"search": {"trails": 3}}, "{f}:23:3: search.trails: unknown setting 'trails'\n  allowed: use, trials, seed, "
     "population\n  did you mean 'trials'?"),
    ({"objectives": ["R@2", "fastness"]}, "there is no metric 'fastness'"),
    ({"format": 9}, "{f}:22:9: this study file is of format 9; this version reads format 1\n  fix: pip install "
     "--upgrade fovea-rag, or write the file anew"),
    ({"pipeline": {"encoder": "hash"}}, "an empty space: the pipeline has no choice, range or log_range"),
    ({"pipeline": PIPELINE | {"segment": {"choice": [{"use": "fixed", "sise": 3}, "sentence"]}}},
     "{f}:12:7: segment[0].sise: unknown setting 'sise'"),
    ({"pipeline": PIPELINE | {"segment": {"choice": ["fixed", {"use": "sentense"}]}}}, "did you mean 'sentence'?"),
    ({"pipeline": PIPELINE | {"candidates": {"range": [0, 20]}}}, "candidates: input should be greater than 0, got 0"),
    ({"baseline": {"segmet": "fixed"}}, "baseline: there is no parameter 'segmet'"),
    ({"baseline": {"segment": "fixd"}},
     "segment cannot be 'fixd'\n  allowed: fixed, sentence\n  did you mean 'fixed'?"),
    ({"constraints": ["segment.max_tokens > 10", "segment.max_tokens < 10", "segment != sentence"]},
     "{f}:23:1: no configuration is left: the constraints contradict each other\n  fix: take one of them out"),
    ({"constraints": ["max_tokens > 10"]}, "'max_tokens > 10' names no parameter of the space"),
    ({"study": None}, "study: this setting is needed"),
    ({"limits": {"seconds": -1}}, "limits.seconds: input should be greater than 0, got -1"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), GOLDEN)
def test_golden_errors(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = write_study(tmp_path, **changes)
    with pytest.raises(ConfigError) as error:
        load_study(path)
    assert said.format(f=path) in str(error.value)
    assert "study.yaml:" in str(error.value) or "baseline" in changes


def test_stages_that_do_not_fit_are_for_the_trial_to_say(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path, pipeline=PIPELINE | MISFIT))
    with pytest.raises(ConfigError, match="60 chunks cannot be kept of 50 candidates"):
        study.pipeline(study.grid[1])


def test_null_leaves_a_stage_out(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path, pipeline=PIPELINE | {"refine": {"choice": [None, "mmr"]}}))
    assert study.pipeline(study.grid[0]).refine == []


def test_a_grid_visits_every_way_of_cutting_before_it_comes_back_to_one(tmp_path: Path) -> None:
    grid = load_study(write_study(tmp_path)).grid
    seen = [(p.params["segment"], p.params.get("segment.max_tokens"), p.params["retrieve"]) for p in grid]
    assert seen[:3] == [("fixed", 8, "dense"), ("fixed", 16, "dense"), ("sentence", None, "dense")]
    assert [retrieve for _, _, retrieve in seen] == ["dense"] * 3 + ["bm25"] * 3


def test_the_study_of_the_docs_is_right(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "sweep.md").read_text("utf-8")
    (tmp_path / "study.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])
    study = load_study(tmp_path / "study.yaml")
    assert list(study.space.parameters) == [
        "segment", "segment.max_tokens", "segment.overlap", "retrieve", "refine", "refine.top_n", "candidates"
    ]  # fmt: skip
    assert study.baseline.params["segment"] == "fixed"
