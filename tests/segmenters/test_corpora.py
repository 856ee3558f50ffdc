"""Readers of corpora: tiny files by hand, what is broken, and the shared data where it is there."""

import json
from hashlib import sha256
from itertools import pairwise

import numpy as np
import pytest

from fovea.pipelines.evaluation.segmentation_metrics import pk
from fovea.rag.errors import ConfigError, DocumentError
from fovea.rag.trace import Trace
from fovea.rag.training.files import eighth
from fovea.segmenters.corpora.drawn import drawn
from fovea.segmenters.corpora.read import read
from tests.conftest import SHARED


def put(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def sections(one):
    """The texts of the sections."""
    edges = [0, *(np.flatnonzero(one.boundaries) + 1).tolist(), len(one.units)]
    return [one.units.texts[a:b] for a, b in pairwise(edges)]


def paragraphs(one):
    return np.flatnonzero(one.units.breaks).tolist()


RULE = "==========\n"


def test_choi(tmp_path):
    put(tmp_path, "1/3-5/0.ref", f"{RULE}One  here .\nTwo .\n{RULE}Three .\n\nFour .\nFive .\n{RULE}")
    put(tmp_path, "1/3-5/10.ref", f"A .\n{RULE}{RULE}caf\u00e9 .\n".encode("latin-1"))
    first, second = read(tmp_path)
    assert (first.name, first.corpus, first.split) == ("1/3-5/0.ref", "choi 3-5", "test")
    assert sections(first) == [["One here .", "Two ."], ["Three .", "Four .", "Five ."]]
    assert not first.units.breaks.any()
    assert sections(second) == [["A ."], ["caf\u00e9 ."]]


def meeting(turns, *spans):
    return {
        "meeting_transcripts": [{"speaker": "A", "content": t} for t in turns],
        "topic_list": [{"topic": "t", "relevant_text_span": [[str(a), str(b)]]} for a, b in spans],
    }


TURNS = [f"Turn {i}." for i in range(8)]


@pytest.mark.parametrize(
    ("spans", "ends"),
    [
        ([(0, 3), (4, 7)], [3]),
        ([(1, 3), (4, 7)], [0, 3]),
        ([(0, 2), (5, 7)], [2, 4]),
        ([(0, 4), (3, 7)], [2, 4]),
        ([(5, 7), (0, 4)], [4]),
        ([(0, 7)], []),
        ([(0, 3), (4, 20)], [3]),
    ],
    ids=["adjacent", "a lead", "a gap", "an overlap", "out of order", "one topic", "past the end"],
)
def test_qmsum_ranges(tmp_path, spans, ends):
    put(tmp_path, "val/m.json", meeting(TURNS, *spans))
    (one,) = read(tmp_path)
    assert np.flatnonzero(one.boundaries).tolist() == ends
    assert (one.corpus, one.split, one.name) == ("qmsum", "test", "val/m.json")


def test_qmsum_turns_that_say_nothing_are_no_units(tmp_path):
    turns = ["{vocalsound}", "Hi {disfmarker} there.", "{pause} {gap}", "So.", "", "Next.", "{gap}", "Bye."]
    put(tmp_path, "m.json", meeting(turns, (0, 2), (4, 5), (6, 7)))
    assert sections(read(tmp_path)[0]) == [["Hi there."], ["So."], ["Next."], ["Bye."]]
    put(tmp_path, "m.json", meeting(turns, (0, 4), (5, 7)))
    assert sections(read(tmp_path)[0]) == [["Hi there.", "So."], ["Next.", "Bye."]]


def test_qmsum_splits(tmp_path):
    for number in range(60):
        put(tmp_path, f"train/m{number}.json", meeting(TURNS, (0, 3), (4, 7)))
    put(tmp_path, "val/v.json", meeting(TURNS, (0, 3), (4, 7)))
    put(tmp_path, "test/t.json", meeting(TURNS, (0, 3), (4, 7)))
    splits = {one.name: one.split for one in read(tmp_path)}
    assert splits.pop("val/v.json") == splits.pop("test/t.json") == "test"
    dev = {name for name, split in splits.items() if split == "dev"}
    assert set(splits.values()) == {"train", "dev"}
    assert dev == {f"train/m{n}.json" for n in range(60) if sha256(f"m{n}".encode()).digest()[0] % 8 == 1}


LONG = "It is a sentence of a good many words about {} . And it has another one ."


def article(link, *paras):
    return {"link": link, "questions": [], "paras": ["Title of it .", *paras]}


FIRST = article(
    "/wiki/First",
    LONG.format("a lead"),
    "Early life .",
    "- a short item",
    LONG.format("youth"),
    "- an item with more words than eight in it , so it stays",
    "Career .",
    "First years .",
    LONG.format("work"),
)


def test_timeqa(tmp_path):
    put(tmp_path, "human_annotated_train.json", [FIRST, FIRST, article("/wiki/Flat", LONG, LONG)])
    (one,) = read(tmp_path)
    assert (one.name, one.corpus, one.split) == ("/wiki/First", "timeqa", drawn("/wiki/First"))
    assert [len(s) for s in sections(one)] == [2, 3, 2], "headings are no units, and two in a row are one boundary"
    assert paragraphs(one) == [1, 3, 4]
    text = "\n".join(one.units.texts)
    for gone in ("Title", "Early life", "short item", "Career", "First years"):
        assert gone not in text
    assert "more words than eight" in text


@pytest.mark.parametrize("name", ["human_annotated_test.json", "human_annotated_val.json", "human_annotated_dev.json"])
def test_timeqa_articles_of_a_test_file_are_never_trained_on(tmp_path, name):
    links = [f"/wiki/{i}" for i in range(40)]
    put(tmp_path, "human_annotated_train.json", [{**FIRST, "link": link} for link in links])
    put(tmp_path, name, [{**FIRST, "link": link} for link in links[:20]])
    found = {one.name: one.split for one in read(tmp_path)}
    assert len(found) == 40
    assert {found[link] for link in links[:20]} == {"test"}
    assert [found[link] for link in links[20:]] == [drawn(link) for link in links[20:]]
    expected = {0: "test", 1: "dev"}
    assert all(drawn(link) == expected.get(eighth(link), "train") for link in links)


MARKDOWN = """# The title

A lead. It has two sentences.

## First
One here. Two
here.

### Deeper

- an item
- another

```sh
# no heading

ls
```

Second
------

~~~
open to the end
## no heading
"""


def test_markdown(tmp_path):
    put(tmp_path, "docs/a.md", MARKDOWN)
    put(tmp_path, "docs/.hidden.md", MARKDOWN)
    put(tmp_path, "docs/flat.txt", "No heading here. None at all.\n")
    trace = Trace()
    with trace.stage("read"):
        (one,) = read(tmp_path / "docs")
    assert trace.warnings == {"left out, files of a single section: 1 (flat.txt)": 1}
    assert (one.name, one.corpus, one.split) == ("a.md", "docs", drawn("a.md"))
    assert sections(one) == [
        ["A lead.", "It has two sentences."],
        ["One here.", "Two here.", "- an item", "- another", "```sh # no heading ls ```"],
        ["~~~ open to the end ## no heading"],
    ]
    assert paragraphs(one) == [1, 3, 5, 6]
    (deep,) = read(tmp_path / "docs", level=3)
    assert [len(s) for s in sections(deep)] == [2, 2, 3, 1]
    assert read(tmp_path / "docs" / "a.md")[0].name == "a.md"


def test_of_many_files_that_are_left_out_the_first_are_named(tmp_path):
    put(tmp_path, "a.md", MARKDOWN)
    for n in range(7):
        put(tmp_path, f"flat{n}.txt", "No heading here. None at all.\n")
    trace = Trace()
    with trace.stage("read"):
        read(tmp_path)
    named = ", ".join(f"flat{n}.txt" for n in range(5))
    assert trace.warnings == {f"left out, files of a single section: 7 ({named} and 2 more)": 1}


def test_several_corpora_in_one_folder_in_one_order(tmp_path):
    put(tmp_path, "README.md", MARKDOWN)
    put(tmp_path, "b/val/m.json", meeting(TURNS, (0, 3), (4, 7)))
    put(tmp_path, "a/3-11/2.ref", f"A .\n{RULE}B .\n")
    put(tmp_path, "a/3-11/10.ref", f"A .\n{RULE}B .\n")
    put(tmp_path, "a/3-11/one.ref", "A .\n")
    put(tmp_path, "c/human_annotated_train.json", [FIRST])
    put(tmp_path, "c/other.json", {"x": 1})
    trace = Trace()
    with trace.stage("read"):
        found = read(tmp_path)
    assert [(one.corpus, one.name) for one in found] == [
        ("choi 3-11", "a/3-11/10.ref"),
        ("choi 3-11", "a/3-11/2.ref"),
        ("qmsum", "b/val/m.json"),
        ("timeqa", "/wiki/First"),
    ]
    assert trace.warnings == {
        "left out, texts of a single unit: 1 (a/3-11/one.ref)": 1,
        "left out, JSON files of no corpus that is known: 1 (c/other.json)": 1,
    }


def test_what_is_broken_is_named(tmp_path):
    with pytest.raises(ConfigError, match="there is no"):
        read(tmp_path / "nowhere")
    put(tmp_path, "a.csv", "x")
    with pytest.raises(DocumentError, match=r"no corpus.*\.csv") as caught:
        read(tmp_path)
    assert "QMSum" in caught.value.fix
    put(tmp_path, "m.json", '{"meeting_transcripts": [\n')
    with pytest.raises(DocumentError) as caught:
        read(tmp_path)
    assert "m.json:2:1: not JSON" in str(caught.value)
    put(tmp_path, "m.json", {"meeting_transcripts": [{"speaker": "A"}], "topic_list": []})
    with pytest.raises(DocumentError, match=r"no meeting.*content"):
        read(tmp_path)
    put(tmp_path, "m.json", meeting(TURNS, ("x", 2)))
    with pytest.raises(DocumentError, match="no meeting"):
        read(tmp_path)
    put(tmp_path, "m.json", [FIRST, {"link": "/wiki/x"}])
    with pytest.raises(DocumentError, match="entry 1 is no article"):
        read(tmp_path)


@pytest.mark.skipif(not (SHARED / "data" / "temporal").exists(), reason="the shared data is not there")
def test_timeqa_as_it_is():
    found = read(SHARED / "data" / "temporal" / "timeqa")
    counts = [(len(o.units), o.units.breaks.sum() + 1, o.boundaries.sum() + 1) for o in found]
    assert len(found) == 316
    assert np.mean(counts, axis=0) == pytest.approx([87.1, 29.8, 8.9], abs=0.05)
    nothing = [pk(o.boundaries, np.zeros_like(o.boundaries)) for o in found]
    assert 100 * np.mean(nothing) == pytest.approx(38.4, abs=0.1)
    assert not any((o.boundaries & ~o.units.breaks).any() for o in found), "a section ends where a paragraph does"


@pytest.mark.skipif(not (SHARED / "data" / "segmentation").exists(), reason="the shared data is not there")
def test_choi_and_qmsum_as_they_are():
    found = read(SHARED / "data" / "segmentation")
    choi = [o for o in found if o.corpus.startswith("choi")]
    assert {o.corpus for o in choi} == {"choi 3-11", "choi 3-5", "choi 6-8", "choi 9-11"}
    assert len(choi) == 400
    assert all(o.boundaries.sum() == 9 for o in choi), "ten segments each"
    assert {o.split for o in found if o.corpus == "qmsum"} == {"train", "dev", "test"}
