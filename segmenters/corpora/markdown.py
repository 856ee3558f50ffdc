"""One's own Markdown: a folder of `.md` and `.txt` files whose headings say where sections begin.

A section begins at a heading of level 2 or higher up (`level`), written `## so` or underlined. Headings of every level
are taken out, so that nothing gives a boundary away; blank lines end paragraphs, sentences are the units, and a block
of code between fences is one unit. Text before the first heading is a section of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from fovea.rag.sentences import sentences
from fovea.rag.training.files import read_text
from fovea.segmenters.corpora.drawn import drawn
from fovea.segmenters.corpora.sections import Paragraph, sectioned
from fovea.segmenters.sectioned import Sectioned

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:\s|\Z)")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)\s*\Z")


def read_markdown(path: Path, name: str, corpus: str, level: int = 2) -> Sectioned:
    """The text of one file; `name`, its place in the corpus, decides what it is for."""
    return sectioned(name, _paragraphs(read_text(path), level), corpus, drawn(name))


def _paragraphs(text: str, level: int) -> Iterator[Paragraph]:
    section, lines = 0, [*text.splitlines(), ""]
    block: list[str] = []
    fence = ""
    for line in lines:
        if fence:
            block.append(line)
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                yield Paragraph(section, ["\n".join(block)])
                block, fence = [], ""
            continue
        opens, heading = _FENCE.match(line), _HEADING.match(line)
        depth = len(heading[1]) if heading else _underlined(line, block)
        if depth and not heading:
            block.pop()
        if (opens or depth or not line.strip()) and block:
            yield _prose(section, block)
            block = []
        if opens:
            fence, block = opens[1], [line]
        elif 0 < depth <= level:
            section += 1
        elif not depth and line.strip():
            block.append(line)
    if block:
        yield Paragraph(section, ["\n".join(block)])  # A fence that nobody closed.


def _underlined(line: str, block: list[str]) -> int:
    """The level of the heading that `line` makes of the line before it; 0 where it makes none."""
    if len(block) != 1 or not _UNDERLINE.match(line):
        return 0
    return 1 if "=" in line else 2


def _prose(section: int, block: list[str]) -> Paragraph:
    text = "\n".join(block)
    return Paragraph(section, [text[s.start : s.end] for s in sentences(text)])
