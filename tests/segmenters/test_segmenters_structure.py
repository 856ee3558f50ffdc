"""What the structure of a text says about where to cut it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.types import Document
from fovea.segmenters.chain import segment
from fovea.segmenters.recursive import RecursiveSegmenter
from fovea.segmenters.structure import code, html, markdown, plain
from tests.growth import MOST, growth
from tests.tokenizers_of_tests import encoder


def broken(rule, text):
    """The text in pieces, each with the strength before it."""
    found = rule(text)
    return [(found.get(a, 0), text[a:b]) for a, b in pairwise([0, *found, len(text)])]


def chunks(text, size, media_type="text/plain"):
    document = Document("d", text, media_type=media_type)
    return [c.text for c in segment(document, [RecursiveSegmenter(max_tokens=size)], encoder("words"))]


def test_plain_paragraphs_lines_sentences_and_wrapped_lines():
    text = "One. Two.\nThree\nwrapped. Four.\n\nFive.\fSix."
    assert broken(plain.strengths, text) == [
        (0, "One. "), (0.5, "Two.\n"), (0.6, "Three\n"), (0.4, "wrapped. "),
        (0.5, "Four.\n\n"), (0.8, "Five.\f"), (0.85, "Six."),
    ]  # fmt: skip


def test_a_long_line_is_a_paragraph():
    long = "Nobody wraps lines at a hundred characters, so that the end of this one is the end of what it says here."
    assert [s for s, _ in broken(plain.strengths, f"{long}\n{long}\nShort.\nEnd.")] == [0, 0.8, 0.8, 0.6]


def test_markdown_blocks():
    text = "# T\n\nOne. Two.\n\n## S\n- a\n  - b\n\n- c\n\n```py\nx. Y\n\nz\n```\nafter\n\n"
    text += "| a. B |\n|---|\n| c |\n\nU\n==\nend\n\n***\n\nfin"
    assert [(round(s, 2), t) for s, t in broken(markdown.strengths, text)] == [
        (0, "# T\n\n"), (0.05, "One. "), (0.5, "Two.\n\n"), (0.94, "## S\n"), (0.05, "- a\n  "), (0.5, "- b\n\n"),
        (0.7, "- c\n\n"), (0.75, "```py\n"), (0.1, "x. Y\n\n"), (0.15, "z\n"), (0.05, "```\n"), (0.75, "after\n\n"),
        (0.75, "| a. B |\n"), (0.2, "|---|\n"), (0.2, "| c |\n\n"), (0.95, "U\n"), (0.05, "==\n"), (0.05, "end\n\n"),
        (0.85, "***\n\n"), (0.8, "fin"),
    ]  # fmt: skip


def test_a_heading_stays_with_its_text():
    text = "# One\n\nAlpha beta gamma.\n\n# Two\n\nDelta epsilon zeta."
    assert chunks(text, 6, "text/markdown") == ["# One\n\nAlpha beta gamma.", "# Two\n\nDelta epsilon zeta."]


def test_fences_and_tables_stay_whole_if_they_fit():
    fence = "```\na = 1\n\nb = 2\n```"
    table = "| a | b |\n|---|---|\n| 1. X | 2 |"
    text = f"Some words before it. And more.\n\n{fence}\n\nWords between. And more.\n\n{table}\n\nLast words."
    found = chunks(text, 22, "text/markdown")
    assert any(fence in c for c in found)
    assert any(table in c for c in found)


def test_a_table_too_large_is_cut_between_rows():
    rows = [f"| {i} | word. Word |" for i in range(12)]
    for chunk in chunks("\n".join(["| n | t |", "|---|---|", *rows]), 20, "text/markdown"):
        assert all(line.startswith("|") and line.endswith("|") for line in chunk.splitlines())


def test_html_blocks():
    text = "<body><h1>T. U</h1>\n<div class='a. B'><p>One. Two <b>x.</b> Y</p>"
    text += "<ul><li>a</li><li>b</li></ul><pre>l. M\nn</pre>z</div>"
    assert [(round(s, 2), t) for s, t in broken(html.strengths, text)] == [
        (0, "<body>"), (0.96, "<h1>T. "), (0.5, "U</h1>\n"), (0.05, "<div class='a. B'>"), (0.8, "<p>One. "),
        (0.5, "Two <b>x.</b> Y</p>"), (0.8, "<ul>"), (0.6, "<li>a</li>"), (0.6, "<li>b</li>"), (0.6, "</ul>"),
        (0.8, "<pre>l. "), (0.1, "M\n"), (0.08, "n</pre>"), (0.8, "z</div>"),
    ]  # fmt: skip


@given(
    st.lists(
        st.sampled_from(["<p>", "</p>", "<b a='x. Y'>", "One. Two. ", "<!-- a. B -->", "<script>a. B</script>", "\n\n"])
    )
)
def test_no_place_lies_inside_a_tag(parts):
    text, inside = "", set()
    for part in parts:
        if part.startswith("<"):
            inside |= set(range(len(text) + 1, len(text) + len(part)))
        text += part
    assert not inside & set(html.strengths(text))


PYTHON = '''import os
import sys

# Why it is.
@cache
def first(a):
    """Doc. Two."""
    if a:
        return 1

    return {
        2: 3,
    }


class Second:
    def method(self):
        return 1
'''


def test_code_definitions_keep_what_introduces_them():
    found = {text.strip().splitlines()[0]: s for s, text in broken(code.strengths, PYTHON)}
    assert found["# Why it is."] == 0.9
    assert found["@cache"] == found["def first(a):"] == found["}"] == 0.05
    assert found["class Second:"] == 0.9
    assert found["def method(self):"] == pytest.approx(0.8)
    assert found["return {"] > found["if a:"] > found["return 1"]


@pytest.mark.parametrize(
    ("language", "text", "start"),
    [
        ("c", "#include <a.h>\n\n// Adds.\nint add(int a) {\n    return a;\n}\n", "// Adds."),
        ("java", "import a.b;\n\npublic final class A {\n    int x;\n}\n", "public final"),
        ("javascript", "let a = 1\nexport default function f(x) {\n  return x\n}\n", "export"),
        ("rust", "use a::b;\n#[test]\npub fn f() -> u8 {\n    1\n}\n", "#[test]"),
        ("go", 'import "a"\nfunc (s *S) F() int {\n\treturn 1\n}\n', "func"),
    ],
)
def test_definitions_of_languages(language, text, start):
    assert code.reads(f"text/x-{language}")
    assert max(code.strengths(text).items(), key=lambda item: item[1])[0] == text.index(start)


def test_code_is_cut_between_functions():
    text = "\n\n".join(f"def f{i}(a, b):\n    c = a + b\n\n    return c * {i}" for i in range(6))
    for chunk in chunks(text, 30, "text/x-python"):
        assert chunk.startswith("def f")


def test_media_types():
    assert not code.reads("text/plain")
    assert not code.reads("text/markdown")
    assert chunks("a\n\nb", 1, "application/x-unheard-of") == ["a", "b"]


HOSTILE = [
    "```\n",
    "# \n",
    "<",
    "<!--",
    "<script>",
    "<pre>",
    "</h1><b>",
    "<aaaa",
    "a(",
    "public ",
    "- ",
    "\n",
    "|",
    "@a\n",
    " ",
]


@pytest.mark.parametrize(
    "rule", [plain.strengths, markdown.strengths, html.strengths, code.strengths], ids=lambda r: r.__module__
)
def test_linear_on_hostile_text(rule):
    slow = {u: growth(lambda size, u=u: lambda: rule(u * (size // len(u))), 10_000) for u in HOSTILE}
    assert {unit: times for unit, times in slow.items() if times >= MOST} == {}


def test_code_in_a_fence_is_cut_between_functions():
    text = "```python\n@cache\ndef a():\n    x = 1\n\n    return x\n\n\ndef b():\n    return 2\n```\n"
    found = markdown.strengths(text)
    inside = {at: s for at, s in found.items() if text.index("@cache") < at < text.rindex("```")}
    assert max(inside, key=inside.__getitem__) == text.index("def b")
    assert inside[text.index("def b")] <= markdown.ROW
