"""Headings: what is one, what is none, and which stand above a place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.headings import Heading, body, headings, trail
from tests.growth import MOST, growth

MARKDOWN = """---
title: not a heading
---
# One #

text

## Two *with* `marks` and a [link](http://x)
Under
===

A paragraph
of two lines
---

- an item
---
```
# a comment in code
```
~~~
## another
```
# still inside
~~~
#no space
#
    # indented code
### C#
   ###### six
####### seven
1. first
---
"""


def words(text: str, media_type: str = "text/markdown") -> list[tuple[int, str]]:
    return [(h.level, h.words) for h in headings(text, media_type)]


def test_markdown():
    assert words(MARKDOWN) == [(1, "One"), (2, "Two with marks and a link"), (1, "Under"), (3, "C#"), (6, "six")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_ending(end):
    text = MARKDOWN.replace("\n", end) if end != "\r" else MARKDOWN.split("---\n", 2)[2].replace("\n", end)
    assert words(text) == words(MARKDOWN)


def test_html():
    text = (
        "<!-- <h1>no</h1> --><h1 class='x'>A &amp; <b>B</b>\n C</h1><script>'<h2>no</h2>'</script><STYLE>h1</STYLE>"
        "<p>x<h2>never closed<h3>Sub</h3><H2>Next</H2><h2></h2><h4>x</h5><script>'<h1>never closed</h1>"
    )
    assert words(text, "text/html") == [(1, "A & B C"), (3, "Sub"), (2, "Next")]
    assert words(text, "text/plain") == []


def test_the_body_begins_behind_front_matter():
    assert MARKDOWN[body(MARKDOWN, "text/markdown") :].lstrip().startswith("# One")
    assert body(MARKDOWN, "text/plain") == body("# One", "text/markdown") == 0


@given(st.text(alphabet="#=-`~ \n\r\tab<>h1/![]()*", max_size=200), st.sampled_from(["text/markdown", "text/html"]))
def test_headings_are_slices_in_order(text, media_type):
    end = 0
    for heading in headings(text, media_type):
        assert end <= heading.start < heading.end <= len(text)
        assert heading.words == " ".join(heading.words.split()) != ""
        assert set(heading.words.split()[0]) <= set(text)
        assert 1 <= heading.level <= 6
        end = heading.end


@pytest.mark.parametrize(
    "piece", ["<h1>", "<!--", "<script>", "</h1>", "# ", "#", "[", "---\n", "=\n", "`", " #", "<", "*"]
)
@pytest.mark.parametrize("media_type", ["text/markdown", "text/html"])
def test_time_is_linear(piece, media_type):
    assert growth(lambda times: lambda: headings("# x" + piece * times, media_type), 5_000) < MOST
    assert growth(lambda times: lambda: headings(piece * times + "x", media_type), 5_000) < MOST


TEXT = "# T\n\nintro\n\n## A\n\naa\n\n### A1\n\nxx\n\n## B\n\n### B1\n\nbb\n\n# U\n\nuu\n"


@pytest.mark.parametrize(
    ("first", "last", "above"),
    [
        ("intro", "intro", ["T"]),
        ("aa", "aa", ["T", "A"]),
        ("xx", "xx", ["T", "A", "A1"]),
        ("bb", "bb", ["T", "B", "B1"]),
        ("uu", "uu", ["U"]),
        ("# T", "intro", []),
        ("## A\n", "aa", ["T"]),
        ("### A1", "xx", ["T", "A"]),
        ("## B\n", "bb", ["T"]),
        ("## B\n", "## B\n", ["T"]),
        ("### B1", "bb", ["T", "B"]),
        ("# U", "uu", []),
        ("aa", "bb", ["T", "A"]),
    ],
)
def test_the_trail_is_what_stands_above(first, last, above):
    start, end = TEXT.index(first), TEXT.index(last) + len(last)
    found = headings(TEXT, "text/markdown")
    assert [h.words for h in trail(found, start, end, TEXT)] == above


LINES = st.lists(st.sampled_from(["# a", "## b", "### c", "text", "#### d"]), max_size=12).map("\n\n".join)


@given(LINES, st.data())
def test_a_trail_rises_in_place_and_falls_in_rank(text, data):
    found = headings(text, "text/markdown")
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    above = trail(found, start, end, text)
    assert [h.level for h in above] == sorted({h.level for h in above})
    assert all(h.start < start and h in found for h in above)
    for heading in above:  # Nothing of its rank or higher stands between it and the range.
        between: list[Heading] = [h for h in found if heading.start < h.start < start]
        assert all(h.level > heading.level for h in between)
