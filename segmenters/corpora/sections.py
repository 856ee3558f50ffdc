"""From paragraphs, each of some section, to a text in sentences that knows where paragraphs and sections end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from fovea.segmenters.sectioned import Sectioned, Split
from fovea.segmenters.units import Units


class Paragraph(NamedTuple):
    """Sentences that stand together, and the number of the section they stand in."""

    section: int
    sentences: Sequence[str]


def sectioned(name: str, paragraphs: Iterable[Paragraph], corpus: str, split: Split) -> Sectioned:
    """The text of `paragraphs`: a boundary where the next sentence belongs to another section."""
    texts: list[str] = []
    ends: list[int] = []
    sections: list[int] = []
    for number, paragraph in enumerate(paragraphs):
        texts += [" ".join(sentence.split()) for sentence in paragraph.sentences]
        ends += [number] * len(paragraph.sentences)
        sections += [paragraph.section] * len(paragraph.sentences)
    units = Units.given(texts, np.diff(np.array(ends, int)) != 0)
    return Sectioned(name, units, np.diff(np.array(sections, int)) != 0, corpus, split)
