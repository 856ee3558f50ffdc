"""What the terminal shows of a study, to the letter."""

from __future__ import annotations

from dataclasses import replace

from rich.cells import cell_len

from fovea.pipelines.sweep.report.figures import chance, decimals, number, span, times
from fovea.pipelines.sweep.report.text import summary
from tests.sweep_records import BOTH, record, trial


def test_a_study_to_the_letter():
    trials = [
        trial(0, 0.5, cost=0.012, params={"size": 200, "rerank": None}),
        trial(1, 0.75, cost=0.25, params={"size": 200, "rerank": "minilm"}),
        trial(2, 0.625, cost=0.012, params={"size": 400, "rerank": None}),
        trial(3, params={"size": 400, "rerank": "minilm"}, state="failed", reason="MemoryError: 9 GB\nin refine[0]"),
        trial(4, params={"size": 800, "rerank": "minilm"}, state="failed", reason="MemoryError: 9 GB"),
        trial(5, params={"size": 100, "rerank": None}, state="pruned", reason="dominated"),
        trial(6, params={"size": 50, "rerank": None}, values={}),
    ]
    assert summary(record(trials, BOTH, baseline=trials[0].id)) == (
        "a study: 7 trials, 4 complete, 1 pruned, 2 failed; 1 complete without nDCG@10, not ranked; 2 on the front\n"
        "\n"
        "      trial  nDCG@10               seconds                n      against the baseline\n"
        "1  *  #1     0.750 [0.730, 0.770]  0.250 [0.230, 0.270]   10/10  rerank none → minilm\n"
        "2  *  #2     0.625 [0.605, 0.645]  0.012 [−0.008, 0.032]  10/10  size 200 → 400\n"
        "3  b  #0     0.500 [0.480, 0.520]  0.012 [−0.008, 0.032]  10/10\n"
        "* on the Pareto front, b the baseline\n"
        "failed 2 times: MemoryError: 9 GB"
    )


def test_ten_and_the_baseline_wherever_it_is():
    trials = [trial(i, i / 100, params={"k": i}) for i in range(30)]
    lines = summary(record(trials, baseline=trials[3].id)).splitlines()
    assert [line.split()[0] for line in lines[3:14]] == [*map(str, range(1, 11)), "27"]
    assert lines[13].split()[1:3] == ["b", "#3"]
    assert lines[14:] == ["and 20 more", "* on the Pareto front, b the baseline"]
    lines = summary(record(trials)).splitlines()
    assert lines[3].endswith("10/10  k 29"), "without a baseline the settings are named"


def test_nothing_is_ranked():
    assert summary(record([])) == "a study: 0 trials, 0 complete, 0 pruned, 0 failed"
    failed = [trial(i, state="failed", reason=f"reason {i}" if i else "") for i in range(7)]
    assert summary(record(failed)).splitlines()[1:] == [
        "failed: no reason was kept", *(f"failed: reason {i}" for i in range(1, 5)), "and 2 other reasons of failure",
    ]  # fmt: skip


def test_wide_letters_keep_their_columns_and_control_characters_are_not_obeyed():
    trials = [trial(0, 0.5, params={"模型": "a\x1b[31m\nb"}), trial(1, 0.75, params={"模型": "日本"}, cost=1.0)]
    study = record(trials, {**BOTH, "指標": "maximise"})
    study = replace(study, trials=[replace(t, values={**t.values, "指標": t.values["nDCG@10"]}) for t in trials])
    shown = summary(study)
    assert "\x1b" not in shown
    assert "a\ufffd[31m\ufffdb" in shown
    head, *rows = shown.splitlines()[2:5]
    assert len({cell_len(row[: row.index("10/10")]) for row in rows} | {cell_len(head[: head.index("  n  ") + 2])}) == 1


def test_figures():
    assert [decimals([x]) for x in (0.7, 7, 70, 700, 7000, 0.07, 0.0007, 0, 1e-30)] == [3, 3, 2, 1, 0, 4, 6, 3, 9]
    assert decimals([]) == 3
    assert (number(-0.0001), number(-0.5, 2), number(0.5, 1, sign=True), number(None)) == (
        "0.000",
        "−0.50",
        "+0.5",
        "–",
    )
    assert number(float("nan")) == "–"
    assert span(0.1, 0.25, 2) == "[0.10, 0.25]"
    assert span(0.1, None) == span(0.1, float("inf")) == ""
    assert [chance(p) for p in (0.0001, 0.0123, 0.5, 0.9999)] == ["< 0.001", "0.012", "0.5", "1"]
    assert [times(x) for x in (0.004, 0.35, 1.0, 1.9, 14, 250)] == [
        "0.40 % of", "35 % of", "as much as", "1.9 times", "14 times", "250 times",
    ]  # fmt: skip
