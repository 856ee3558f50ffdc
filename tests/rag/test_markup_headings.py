"""Headings of reStructuredText, AsciiDoc, Org and LaTeX are found, and nothing else is."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.headings import headings
from fovea.rag.markup_headings import ASCIIDOC, LATEX, MARKUP, ORG, RST
from tests.growth import MOST, growth

CASES = [
    (RST, "====\nTop\n====\n\nOne\n===\n\nDeep\n----\n\nTwo\n===\n", [(1, "Top"), (2, "One"), (3, "Deep"), (2, "Two")]),
    (RST, "A :ref:`role <x>` and ``code``\n==============================\n", [(1, "A role and code")]),
    (RST, "text\n\n----\n\nmore\n\n====  ===\nA     B\n====  ===\n1     2\n====  ===\n", []),
    (RST, "::\n\n    indented\n    --------\n", []),
    (RST, "two lines\nof text\n=======\n", []),
    (RST, "Long title here\n===\n", []),
    (ASCIIDOC, "= Doc\n\n== One ==\n\n----\n== no\n----\n\n=== Two\n", [(1, "Doc"), (2, "One"), (3, "Two")]),
    (ASCIIDOC, "////\n= no\n////\n....\n= no\n----\n....\n# Hash\n", [(1, "Hash")]),
    (ASCIIDOC, "==no\n =  no\n", []),
    (ORG, "* TODO [#A] One :tag:x:\n** Two\n*bold* no\n", [(1, "One"), (2, "Two")]),
    (ORG, "#+BEGIN_SRC\n* no\n#+END_SRC\n* Yes\n", [(1, "Yes")]),
    (LATEX, "\\chapter[short]{A \\emph{long} one}\n\\section*{B \\& C}\\label{x}\n", [(1, "A long one"), (2, "B & C")]),
    (LATEX, "% \\section{no}\n100\\% \\section{Yes}\n", [(2, "Yes")]),
    (LATEX, "\\begin{verbatim}\n\\section{no}\n\\end{verbatim}\n\\subsection{C\\label{c}}\n", [(3, "C")]),
    (LATEX, "\\sectionmark{no}\\section{never closed", []),
    ("text/plain", "Tea\n===\n", []),
]


@pytest.mark.parametrize(("kind", "text", "expected"), CASES)
def test_headings_of(kind, text, expected):
    assert [(heading.level, heading.words) for heading in headings(text, kind)] == expected


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_places_are_the_files_own(newline):
    text = newline.join(["intro", "", "Tea", "===", "", "words"])
    (found,) = headings(text, RST)
    assert text[found.start : found.end] == f"Tea{newline}==="


@given(kind=st.sampled_from(sorted(MARKUP)), text=st.text("=-*#\\{}[]%~`:. \t\r\nabsection", max_size=200))
def test_any_text_gives_headings_in_order(kind, text):
    found = headings(text, kind)
    for heading in found:
        assert 0 <= heading.start < heading.end <= len(text)
        assert heading.words
        assert 1 <= heading.level <= 6
    assert all(before.end <= after.start for before, after in pairwise(found))


@pytest.mark.parametrize("kind", sorted(MARKUP))
@pytest.mark.parametrize("piece", ["=", "* ", "\\section{", "\\section[", "a\n=\n", "#+begin_src\n", "----\n", "{"])
def test_many_of_the_same_take_no_time_to_speak_of(kind, piece):
    assert growth(lambda size: lambda: headings(piece * (size // len(piece)), kind), 5_000) < MOST
