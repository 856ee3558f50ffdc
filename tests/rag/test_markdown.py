"""Lines of Markdown: what opens, what ends it, and what the words of a heading are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.headings import headings
from fovea.rag.inline import plain
from fovea.rag.markdown import front_matter, lines


def heads(text: str) -> list[str]:
    return [heading.words for heading in headings(text, "text/markdown")]


@pytest.mark.parametrize(
    "between",
    [
        "```inline``` code",
        "````x```` y",
        "``` a ``` and ``` b ```",
        "```\n# no\n```",
        "~~~ a`b\n# no\n~~~",
        "````\n```\n# no\n````",
        "```` \n# no\n`````",
        "- ```\n  # no\n  ```",
        "1. step\n\n    ```sh\n    # no\n    ```",
        "- ```\n  never closed\n",
        "> ```\n> # no\n> ```",
        "> ```\n> never closed\n",
        "<!-- # no -->",
        "<!--\n# no\n\n# no\n-->",
        "- x\n\n  <!--\n  # no\n  -->",
        "<pre>\n# no\n\n# no\n</pre>",
        "<div>\n# no\n</div>\n",
        "<script>\n# no\n</script>",
        "    ```\n    # no",
        "text\n    # no\n",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_opens_is_closed_and_the_headings_around_it_stay(between, end):
    assert heads(f"# A\n\n{between}\n\n## B\n".replace("\n", end)) == ["A", "B"]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("See [x](http://a.b/c_(d)) and `code_a` *em* **b**", "See x and code_a em b"),
        (r"C\# and \*star\*", "C# and *star*"),
        ('[a](<b c> "title") ![alt](p.png)', "a alt"),
        ("[![badge](b.svg)](http://x) Name", "badge Name"),
        ("[Guide][g] and [g][] and [g] but [1.0.0]", "Guide and g and g but [1.0.0]"),
        ("snake_case and _em_ and __strong__", "snake_case and em and strong"),
        ("2 * 3 * 4 and `a*b` and a ~~old~~ new", "2 * 3 * 4 and a*b and a old new"),
        ("R&amp;D &lt; 5 &copy; <b>bold</b><!-- note -->", "R&D < 5 © bold"),
        ("<https://a.b/c_d_e> ``a ` b``", "https://a.b/c_d_e a ` b"),
        ("Setup {#setup .x}", "Setup"),
        (r"`\#` stays", r"\# stays"),
        ("``` never closed", "``` never closed"),
    ],
)
def test_the_words_of_a_heading(written, read):
    assert heads(f"# {written}\n\n[g]: http://y\n") == [read]


@given(st.text(alphabet="ab *_`[]()<>\\&;~!{}#", max_size=60))
def test_words_are_made_of_what_is_written(written):
    assert set(plain(written)) <= set(written)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_front_matter_of_both_kinds(end):
    for mark, name in (("---", "yaml"), ("+++", "toml")):
        text = f"{mark}\na = 1\n# c\n{mark}\n# A\n".replace("\n", end)
        front = front_matter(text)
        assert front is not None
        assert (front.format, front.inside.strip(), text[front.end :].strip()) == (name, f"a = 1{end}# c", "# A")
    assert front_matter("+++ no\n+++\n") is None


@given(st.lists(st.sampled_from(["# a", "```", "~~~", "- x", "> q", "  y", "|a|", "<!--", "-->", "", "(a) z"])))
def test_lines_are_slices_in_order_and_none_is_left_out(parts):
    text = "\n".join(parts)
    found = list(lines(text))
    assert [text[line.at : line.end].strip() for line in found] == [part.strip() for part in parts if part.strip()]
    assert all(line.start <= line.at < line.end <= line.next for line in found)


def test_clauses_are_items_where_no_paragraph_runs_on():
    kinds = [line.kind for line in lines("2.1 One\n2.2 Two\n  (a) three\n\nIt cost\n2.5 million.\n")]
    assert kinds == ["item", "item", "item", "text", "text"]
