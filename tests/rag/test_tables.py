"""Tables in Markdown, and the header row above a part of one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.tables import headers, tables, with_headers
from fovea.rag.types import Document, Span

TEXT = """# Prices

| Item | Price |
| --- | ---: |
| Bolt | 9.50 |
| Nut | 3.25 |

Some text | with a pipe.

A | B
--|--
1 | 2

```
| not | a table |
| --- | --- |
| in | code |
```

|  |  |
| --- | --- |
| no | header |
"""


def document(text: str = TEXT, media_type: str = "text/markdown") -> Document:
    return Document("d", text, "d", media_type=media_type)


def test_tables_are_found_with_header_and_rows():
    found = tables(TEXT, "text/markdown")
    assert [TEXT[t.header.start : t.header.end] for t in found] == ["| Item | Price |", "A | B", "|  |  |"]
    assert [TEXT[t.rows.start : t.rows.end] for t in found] == [
        "| Bolt | 9.50 |\n| Nut | 3.25 |", "1 | 2", "| no | header |"
    ]  # fmt: skip
    assert tables(TEXT, "text/plain") == []


@pytest.mark.parametrize(
    ("first", "last", "header"),
    [
        ("| Bolt", "3.25 |", "| Item | Price |"), ("| Nut", "3.25 |", "| Item | Price |"),
        ("3.25", "3.25", "| Item | Price |"),
        ("| Nut", "pipe.", "| Item | Price |"), ("| Item", "9.50 |", ""), ("# Prices", "3.25 |", ""),
        ("Some", "pipe.", ""),
        ("1 | 2", "1 | 2", "A | B"), ("| in", "code |", ""), ("| no", "header |", ""),
        ("| --- | ---:", "9.50 |", "| Item | Price |"),
    ],
)  # fmt: skip
def test_a_chunk_of_rows_is_read_behind_its_header(first, last, header):
    start = TEXT.index(first)
    chunk = document().chunk(Span(start, TEXT.index(last, start) + len(last)))
    assert headers(document(), [chunk]) == [header]
    assert with_headers(document(), [chunk]) == [f"{header}\n{chunk.text}" if header else chunk.text]


LINES = st.lists(st.sampled_from(["| a | b |", "|---|---|", "a | b", "--|--", "text", "", "```", "# h"]), max_size=14)


@given(LINES, st.data())
def test_tables_are_in_order_and_a_header_is_never_of_the_chunk(parts, data):
    text = "\n".join(parts)
    found = tables(text, "text/markdown")
    assert all(t.header.end < t.rows.start < t.rows.end <= len(text) for t in found)
    assert all(a.rows.end < b.header.start for a, b in pairwise(found))
    start = data.draw(st.integers(0, max(len(text) - 1, 0)))
    end = data.draw(st.integers(start, len(text)))
    if start < end:
        (header,) = headers(document(text), [document(text).chunk(Span(start, end))])
        assert header in text[:start]


def test_a_header_as_long_as_a_page_is_not_carried():
    text = f"| {'word ' * 200} | b |\n|---|---|\n| 1 | 2 |\n"
    assert headers(document(text), [document(text).chunk(Span(text.index("| 1"), len(text)))]) == [""]
