"""An answer as one text with marks for its citations, and these as OpenAI's annotations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from fovea.rag.types import Answer


def marked(answer: Answer) -> tuple[str, list[tuple[int, int]]]:
    """The text with `[1]` behind each sentence for each of its citations, and where each sentence lies in it."""
    numbers = {citation: n for n, citation in enumerate(answer.citations, 1)}
    text, at, places = "", 0, list[tuple[int, int]]()
    for sentence in answer.sentences:
        text += answer.text[at : sentence.start]
        start = len(text)
        text += answer.text[sentence.start : sentence.end]
        at = sentence.end
        if sentence.citations:
            text += " " + "".join(f"[{numbers[citation]}]" for citation in sentence.citations)
        places.append((start, len(text)))
    return text + answer.text[at:], places


def references(answer: Answer) -> str:
    """The citations as lines that stand below the text; "" where there are none."""
    lines = [f"[{n}] {citation.where}" for n, citation in enumerate(answer.citations, 1)]
    return "\n\n" + "\n".join(lines) if lines else ""


def cited(answer: Answer, places: Sequence[tuple[int, int]], pipeline: str) -> list[dict[str, Any]]:
    """One annotation for each citation of each sentence, which lies at `places` of the message. `url` is the span's own
    address on this server.
    """
    numbers = {citation: n for n, citation in enumerate(answer.citations, 1)}
    found = []
    for sentence, (start, end) in zip(answer.sentences, places):
        for c in sentence.citations:
            span = urlencode({"pipeline": pipeline, "start": c.start, "end": c.end})
            url = f"/documents/{quote(c.document_id, safe='/', errors='replace')}/text?{span}"
            mark = {"start_index": start, "end_index": end, "url": url, "title": c.where}
            place = {"n": numbers[c], "document": c.document_id, "source": c.source, "start": c.start, "end": c.end}
            place |= {"page": c.page, "line": c.line, "quote": c.quote}
            found.append({"type": "url_citation", "url_citation": mark, "citation": place})
    return found
