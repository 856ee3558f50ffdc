"""The page: well-formed, whole in itself, escaped, bounded, and true to the record."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from itertools import product

import numpy as np
import pytest

from fovea.pipelines.evaluation.gold import Gold, Question, QuestionSet
from fovea.pipelines.evaluation.outcome import Outcome
from fovea.pipelines.sweep.record import Value
from fovea.pipelines.sweep.report.html import html, write_html
from fovea.pipelines.sweep.report.page.markup import text
from fovea.pipelines.sweep.report.page.passages import marked
from fovea.pipelines.sweep.report.page.scale import Scale, fitted
from fovea.pipelines.sweep.report.page.stages import stage_times
from tests.growth import spent
from tests.sweep_records import BOTH, large, record, trial, value

VOID = {"meta", "br", "hr", "img", "input", "link", "wbr"}
HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">&amp;\'"\x00\x1b[31m\ud800\u202e]]>--><!--'


class Checked(HTMLParser):
    """Raises on a tag that is not closed where it should be; keeps what the tests ask for."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, attrs)
        self.tags.append((tag, dict(attrs)))
        self.ids += [v for k, v in attrs if k == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.words).split())


def check(page: str) -> Checked:
    """Everything that holds of every page."""
    found = Checked(page)
    assert page.startswith("<!DOCTYPE html>\n<html lang=")
    assert len(found.ids) == len(set(found.ids)), "an id stands once"
    assert [tag for tag, _ in found.tags].count("script") == 1
    for tag, attrs in found.tags:
        assert tag not in {"img", "link", "iframe", "object", "embed", "base", "form", "foreignobject"}
        assert not {"src", "srcset", "data", "xlink:href", "action"} & attrs.keys()
        assert not [name for name in attrs if name.startswith("on")]
        if "href" in attrs:
            assert attrs["href"][:1] == "#"
            assert attrs["href"][1:] in found.ids, attrs
        if "aria-labelledby" in attrs:
            assert attrs["aria-labelledby"] in found.ids
        if tag == "svg":
            assert attrs.get("aria-label") or attrs.get("aria-hidden") == "true"
        if tag == "th":
            assert attrs.get("scope") in ("col", "row")
        style = attrs.get("style") or ""
        assert re.fullmatch(r"(--v:\d\.\d\d)?", style)
    names = [tag for tag, _ in found.tags]
    assert names.count("table") == names.count("caption")
    plain = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", page, flags=re.S)
    assert not re.search(r"https?://|//[a-z]+\.[a-z]{2,}", plain)
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttp|import\(|eval\(", _code(page))
    return found


def _code(page: str) -> str:
    return "".join(re.findall(r"<style>(.*?)</style>", page, re.S) + re.findall(r"<script>(.*?)</script>", page, re.S))


@pytest.fixture(scope="module")
def study():
    return large()


@pytest.fixture(scope="module")
def page(study):
    return html(study)


def test_a_study_of_48_trials(study, page, tmp_path):
    found = check(page)
    best = max(study.complete, key=lambda t: t.values["nDCG@10"].mean)
    assert f"Trial {best.number} gains" in found.said
    for words in (
        "48 trials: 43 complete, 3 pruned, 2 failed · 60 questions of sqlite manual",
        "Quality against cost", "What mattered", "Question by question", "Where the time goes", "Not ranked",
        "nDCG@10 against seconds", "nDCG@10 against tokens_passages", study.machine, study.command,
        study.questions.fingerprint, "fovea sweep --best best.yaml", "rank trial nDCG@10 seconds segment size store",
        "MemoryError: the re-ranker asked for 9.1 GB", "dominated on the first 15 questions by #11",
    ):  # fmt: skip
        assert words in found.said, words
    write_html(study, tmp_path / "deep" / "report.html")
    assert (tmp_path / "deep" / "report.html").read_text("utf-8") == page
    assert html(study) == page, "the same record gives the same page"


def test_failed_and_pruned_trials_stand_apart(page):
    table = page[page.index('id="trials"') : page.index('id="why"')]
    apart = page[page.index('id="apart"') :]
    for number in (17, 30, 5, 21, 40):
        assert f'id="t{number}"' not in table
        assert f'id="t{number}"' in apart
    assert table.count('<th scope="row"') == 43


def test_a_large_study_stays_small():
    assert len(html(large(200, 100)).encode()) < 500_000


def test_a_wide_study_stays_small():
    """Ten parameters with long names, eight metrics, four objectives, 200 trials."""
    wide = {f"stage[{i}].a_rather_long_name_of_a_parameter": None for i in range(10)}
    trials = []
    for n, t in enumerate(large(200, 60).trials):
        params = {name: f"a long choice, number {(n >> i) % 3}" for i, name in enumerate(wide)}
        more = {f"metric {i}": value((n * 7919 * (i + 1) % 997) / 997, 60) for i in range(8)}
        trials.append(replace(t, params=params, values={**t.values, **more} if t.values else {}))
    objectives = {"nDCG@10": "maximise", "seconds": "minimise", "metric 1": "maximise", "metric 2": "minimise"}
    page = html(replace(large(1), trials=trials, objectives=objectives))
    check(page)
    assert len(page.encode()) < 500_000
    assert "Left out metrics: " in page


def test_thousands_of_questions_stay_small():
    rng = np.random.default_rng(0)
    page = html(record([trial(i, rng.random(3000)) for i in range(4)], baseline=f"{3:016x}"))
    assert "Differences of 3,000 questions, sorted, 300 of them at equal steps" in page
    assert len(page.encode()) < 200_000
    check(page)


def test_what_is_left_out_is_said():
    scores = [((i * 37) % 101) / 101 for i in range(450)]
    trials = [trial(i, s, cost=1 + s, params={"k": i}) for i, s in enumerate(scores)]
    failed = [trial(1000 + i, 0.5, state="failed", reason=f"reason {i}") for i in range(150)]
    found = check(html(record([*trials, *failed], BOTH)))
    assert "of lower rank not drawn" in found.said
    assert "of lower rank left out here; the CSV has them all" in found.said
    assert "50 trials left out here; the CSV has them all" in found.said


def test_nothing_from_a_study_is_markup():
    asked = Question("q0", HOSTILE, (Gold(HOSTILE, 2, 6), Gold("a", 0, 9)), {HOSTILE: 1}, (HOSTILE,))
    outcome = Outcome("q0", {"nDCG@10": 0.25}, {HOSTILE: 1.0, "total": 1.0}, {}, ((HOSTILE, 0, 40, 0.5),), HOSTILE)
    trials = [
        trial(0, 0.25, outcomes=(outcome,), params={HOSTILE: HOSTILE, "b": 1}, settings={HOSTILE: HOSTILE}),
        trial(1, 0.75, outcomes=(replace(outcome, scores={"nDCG@10": 0.75}),), params={HOSTILE: 1, "b": 2}, cost=1.0,
              settings={HOSTILE: HOSTILE}),
        trial(2, 0.5, outcomes=(replace(outcome, failed=HOSTILE),), params={HOSTILE: None, "b": 2}),
        trial(3, state="failed", reason=HOSTILE, params={HOSTILE: HOSTILE}),
    ]  # fmt: skip
    values = {HOSTILE: value(0.5)}
    trials[0] = replace(trials[0], values={**trials[0].values, **values})
    study = record(
        trials, {"nDCG@10": "maximise", HOSTILE: "minimise"}, questions=QuestionSet(HOSTILE, (asked,)),
        baseline=trials[0].id, machine=HOSTILE, command=HOSTILE, source=HOSTILE, text=lambda d, s, e: HOSTILE[s:e],
    )  # fmt: skip
    found = check(html(replace(study, name=HOSTILE)))
    assert "<script>alert(1)</script>" in found.said, "it is read as text"
    assert "\x1b" not in found.said


def test_text_of_what_html_cannot_hold():
    assert text("a\x00b\x1bc\ud800d\u202ee\r\nf<&>\"'") == "a\ufffdb\ufffdc\ufffdd\ufffde\nf&lt;&amp;&gt;&quot;&#x27;"


def alone(*trials, objectives=BOTH, **more):
    return check(html(record(list(trials), objectives, **more))).said


def test_no_trial_at_all_and_none_complete():
    assert "No trial can be ranked 0 trials" in alone()
    said = alone(trial(0, state="failed", reason="no\nmemory"), trial(1, 0.5, state="pruned"))
    assert "No trial can be ranked" in said
    assert "no memory" in said
    said = alone(trial(0, 0.5), objectives={"MRR": "maximise"})
    assert "No trial can be ranked" in said
    assert "MRR was not measured" in said
    assert "No trial can be ranked" in alone(trial(0, 0.5), objectives={})


def test_one_trial():
    said = alone(trial(0, [0.5, 0.75]))
    assert "Trial 0 is the best in nDCG@10" in said
    assert "One trial was ranked: there was nothing to choose from." in said
    assert "Fewer than two trials have values by question" in said
    assert "Trial 0 , the baseline itself, is the best" in alone(trial(0, [0.5, 0.75]), baseline=f"{0:016x}")


def test_a_lost_baseline_and_one_objective():
    said = alone(trial(0, [0.5]), trial(1, [0.75]), objectives={"nDCG@10": "maximise"}, baseline="gone")
    assert "the baseline is not among the complete trials" in said
    assert "there is no trade to show" in said
    assert "No parameter varies" in said


@pytest.mark.parametrize("scores", [[0.5, 0.5, 0.5], [0.0, 0.0], [1.0]])
def test_all_equal(scores):
    said = alone(*(trial(i, scores, params={"k": i}, cost=1.0) for i in range(4)), baseline=f"{3:016x}")
    assert "Trial 0 is as good as the baseline in nDCG@10" in said
    assert "all 4 trials are equal, so there is nothing to explain" in said
    assert "and 3 cannot be told from it" in said


def test_a_gain_that_may_be_chance_is_called_so():
    said = alone(trial(0, [0.5, 0.5, 0.0]), trial(1, [0.5, 0.75, 0.0]), baseline=f"{0:016x}")
    assert "Trial 1 may gain" in said
    assert "Chance alone could do as much." in said


def test_a_cheaper_trial_is_named_where_its_interval_reaches_nothing():
    """Trial 1 is nearly as good, for less; trial 2 is worse wherever one looks, if on too few questions to test it."""
    best = [0.5, 0.25, 0.75, 0.5, 0.25, 1.0]
    near = [0.25, 0.5, 0.75, 0.5, 0.25, 0.75]
    worse = [0.25, 0.0, 0.5, 0.25, 0.0, 0.75]
    said = alone(trial(0, best, cost=4.0), trial(1, near, cost=1.0), trial(2, worse, cost=0.5))
    assert (
        "Of the next 2 trials, 0 differ from the best by more than chance, and 1 cannot be told from it; "
        "trial 1 takes 25 % of its seconds (−0.04"
    ) in said
    said = alone(trial(0, best, cost=0.5), trial(1, near, cost=1.0))
    assert "Of the next one, 0 differ from the best by more than chance, and 1 cannot be told from it." in said


def test_metrics_that_some_trials_lack_and_intervals_without_width():
    flat = Value(0.5, 0.5, 0.5, 3, 4)
    trials = [trial(0, 0.5, cost=1.0, params={"k": 1}), trial(1, 0.6, params={"k": 2}), trial(2, 0.7, params={"k": 3})]
    trials[2] = replace(trials[2], values={"nDCG@10": flat, "seconds": replace(flat, mean=float("nan"))})
    said = alone(*trials)
    assert "0.500 [0.500, 0.500]" in said
    assert "3/4" in said
    assert "nan" not in said.lower()


def test_texts_of_other_scripts_and_texts_that_are_not_at_hand():
    document = "東京は日本の首都です。" + "مرحبا بالعالم " * 60
    asked = QuestionSet("多言語", (Question("q0", "日本の首都は？", (Gold("保存.txt", 0, 2),)),))
    hits = (("保存.txt", 0, 400, 0.9), ("gone.txt", 0, 10, 0.5))
    trials = [trial(i, 0.5, outcomes=(Outcome("q0", {"nDCG@10": float(i)}, hits=hits, answer="東京"),)) for i in (0, 1)]
    page = html(record(trials, questions=asked, text=lambda d, s, e: document[s:e] if d == "保存.txt" else None))
    check(page)
    assert "What is right" in page
    assert "<mark>東京</mark>は日本の首都です" in page
    assert "its text is not at hand" in page


@pytest.mark.parametrize(
    ("passage", "marks", "most", "shown"),
    [
        ("abcdef", [(1, 3)], 9, "a<mark>bc</mark>def"),
        ("abcdef", [(-5, 2), (4, 99)], 9, "<mark>ab</mark>cd<mark>ef</mark>"),
        ("abcdef", [(1, 3), (2, 5), (5, 6)], 9, "a<mark>bcdef</mark>"),
        ("abcdef", [(0, 5), (1, 2), (3, 6)], 9, "<mark>abcdef</mark>"),
        ("abcdef", [(0, 4), (1, 2)], 9, "<mark>abcd</mark>ef"),
        ("a<b>c", [(1, 4)], 9, "a<mark>&lt;b&gt;</mark>c"),
        ("abcdef", [], 3, "abc…"),
        ("", [(0, 2)], 3, ""),
        ("x" * 200 + "gold" + "y" * 200, [(200, 204)], 100, f"…{'x' * 14}<mark>gold</mark>{'y' * 82}…"),
        ("x" * 200 + "gold", [(200, 204)], 100, f"…{'x' * 96}<mark>gold</mark>"),
    ],
)
def test_gold_is_marked_inside_passages(passage, marks, most, shown):
    assert marked(passage, marks, most) == shown


def test_the_stair_goes_over_what_can_be_reached():
    """At a cost between two points of the front one has the cheaper; of two qualities, what is better in the other."""

    def stair(towards, costs):
        trials = [trial(i, 0.25 * (i + 1), cost=cost) for i, cost in enumerate(costs)]
        page = html(record(trials, {"nDCG@10": "maximise", "seconds": towards}))
        return re.sub(r"[\d. ]+", "", re.search(r'class="stair" d="([^"]*)"', page)[1])

    assert stair("minimise", (1.0, 2.0, 3.0)) == "MHVHV"
    assert stair("maximise", (3.0, 2.0, 1.0)) == "MVHVH"


@pytest.mark.parametrize("towards", ["maximise", "minimise"])
def test_the_better_has_the_stronger_tint(towards):
    trials = [trial(i, s, params={"a": i % 2, "b": i // 2}) for i, s in enumerate([0.0, 0.25, 0.5, 1.0])]
    page = html(record(trials, {"nDCG@10": towards}))
    found = {mean: float(tint) for tint, mean in re.findall(r'style="--v:([\d.]+)">([\d.]+) ', page)}
    assert found == {m: (x if towards == "maximise" else 1 - x) for m, x in
                     (("0.000", 0), ("0.250", 0.25), ("0.500", 0.5), ("1.000", 1))}  # fmt: skip


def test_long_texts_are_left_out_before_the_page_grows():
    long = "漢" * 5000
    asked = tuple(Question(f"q{i}", "?", (Gold("d", 0, 3000),)) for i in range(12))
    hits = tuple(("d", 0, 3000, 1.0) for _ in range(5))
    trials = [
        trial(n, 0.5, outcomes=tuple(Outcome(q.id, {"nDCG@10": n / 4}, hits=hits, answer=long) for q in asked))
        for n in range(4)
    ]
    study = record(trials, questions=QuestionSet("long", asked), baseline=trials[0].id, text=lambda d, s, e: long[s:e])
    page = html(study)
    assert "Further questions are left out to keep this page small." in page
    assert len(page.encode()) < 250_000


def test_stages_have_their_percentiles():
    """Of 0 to 100 ms, without a failed question; the second stage begins at the median of the first."""
    outcomes = [Outcome(f"q{i}", {"nDCG@10": 1.0}, {"find": i / 1000, "rank": 0.05, "total": 1.0}) for i in range(101)]
    outcomes.append(Outcome("late", {}, {"find": 9.0}, failed="it hung"))
    one = trial(0, 0.5, outcomes=tuple(outcomes))
    assert stage_times(one) == {"find": (0.05, pytest.approx(0.095)), "rank": (0.05, 0.05)}
    page = html(record([one]))
    assert 'aria-label="find p50 50 ms, p95 95 ms; rank p50 50 ms, p95 50 ms"' in page
    (a, wide), (b, other) = re.findall(r'<rect class="bar" x="([\d.]+)" y="4" width="([\d.]+)"', page)
    assert float(a) + float(wide) == pytest.approx(float(b), abs=0.11)
    assert float(wide) == pytest.approx(float(other), abs=0.11)


def test_few_trials_are_called_few_and_trials_apart_are_in_order():
    trials = [trial(i, i / 10, params={"k": i}) for i in range(4)]
    apart = [trial(7, state="pruned"), trial(8, state="failed"), trial(9, values={}), trial(6, state="failed")]
    page = html(record([*trials, *apart]))
    assert "nDCG@10: 4 trials for 3 effects: few, so read this as a hint." in page
    assert re.findall(r'id="t(\d)"', page[page.index('id="apart"') :]) == ["6", "8", "9", "7"]


def test_the_baseline_is_in_the_table_wherever_it_is():
    trials = [trial(i, i / 300) for i in range(300)]
    page = html(record(trials, baseline=trials[3].id))
    assert 'id="t3"' in page
    assert 'id="t4"' not in page
    assert page.count("<tr class=best>") == page.count("<tr class=baseline>") == 1


@pytest.mark.parametrize("values", [[0.0], [5.0], [-3.0, 3.0], [1e-9, 1e-7], [0.2, 400.0], [1e6, 1e6 + 1], [0, 0.3]])
def test_axes_hold_their_values(values):
    for logs in (False, True):
        scale = fitted(values, 10, 110, logs=logs)
        assert all(10 <= scale(v) <= 110 for v in values)
        assert 1 <= len(scale.ticks()) <= 12
        assert all(scale.low <= t <= scale.high for t in scale.ticks())
    assert Scale(0, 1, 0, 1).ticks(5) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]


def test_colours_can_be_read():
    """Contrast of at least 4.5 between words and what is under them, in light and dark (WCAG 2, AA)."""
    css = files("fovea.pipelines.sweep.report.page").joinpath("page.css").read_text("utf-8")
    schemes = [dict(re.findall(r"--(\w+):#(\w{6})", block)) for block in re.findall(r":root\{(.*?)\}", css)[:2]]
    for scheme, ink, paper in product(schemes, ("ink", "quiet", "accent"), ("paper", "panel")):
        high, low = sorted((_luminance(scheme[ink]), _luminance(scheme[paper])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, paper)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_five_thousand_trials_in_seconds():
    trials = [
        trial(
            i,
            ((i * 7919) % 4999) / 4999,
            cost=1 + i % 37,
            params={"k": i % 50, "size": (128, 256)[i % 2], "t": i / 5000},
        )
        for i in range(5000)
    ]
    pages: list[str] = []
    assert spent(lambda: pages.append(html(record(trials, BOTH, baseline=trials[0].id)))) < 10
    (page,) = pages
    assert len(page.encode()) < 500_000
    check(page)
