"""TimeQA: articles of Wikipedia with their sections (W. Chen et al., "A dataset for answering time-sensitive
questions", 2021).

The set gives an article as a list of paragraphs, headings among them. The first is the title; one of at most eight
words that is no list item is taken for a heading, and begins a section; a list item of at most eight words is left out.
Units are the sentences of what remains. Title and headings are no units, so that nothing gives a boundary away but the
text, and that a paragraph ends there.

Several questions share an article, which is read once; articles of fewer than two sections are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fovea.rag.sentences import sentences
from fovea.rag.training.files import malformed
from fovea.segmenters.corpora.drawn import drawn
from fovea.segmenters.corpora.sections import Paragraph, sectioned
from fovea.segmenters.sectioned import Sectioned, Split

SHORT = 8
"""Words, up to which a paragraph is a heading or a bare list item."""
_HELD_OUT = ("test", "val", "dev")


def is_timeqa(data: Any) -> bool:
    """Whether the JSON of a file is a list of questions with their articles."""
    return isinstance(data, list) and bool(data) and isinstance(data[0], dict) and {"link", "paras"} <= data[0].keys()


def read_timeqa(files: Mapping[Path, Any]) -> Iterator[Sectioned]:
    """The articles of all files, JSON by path. Files whose name says test, val or dev are all for testing and are read
    first, so that no article of theirs is trained on; those of other files are drawn by their links.

    Raises DocumentError for an entry without the fields it must have.
    """
    seen: set[str] = set()
    for path in sorted(files, key=lambda p: (not _held_out(p), p)):
        for number, entry in enumerate(files[path]):
            try:
                link, paragraphs = str(entry["link"]), [str(p) for p in entry["paras"]]
            except (KeyError, TypeError) as error:
                raise malformed(path, f"entry {number} is no article: {type(error).__name__}: {error}") from None
            if link in seen:
                continue
            seen.add(link)
            split: Split = "test" if _held_out(path) else drawn(link)
            article = sectioned(link, _paragraphs(paragraphs), "timeqa", split)
            if article.boundaries.any():
                yield article


def _held_out(path: Path) -> bool:
    return any(part in path.name.lower() for part in _HELD_OUT)


def _paragraphs(texts: list[str]) -> Iterator[Paragraph]:
    section = 0
    for text in texts[1:]:
        if len(text.split()) > SHORT:
            yield Paragraph(section, [text[s.start : s.end] for s in sentences(text)])
        elif text.strip() and not text.lstrip().startswith("-"):
            section += 1
