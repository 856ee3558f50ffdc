"""The words that carry the matter of a text, each by its first letters: forms of one word meet, with no dictionary."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from fovea.rag.tokens import patterns, words

_COMMON = (
    "a an the of in on at to for from by with and or as is are was were be been being it its this that these those he "
    "she they his her their what which who whom whose when where why how did do does has have had than then there into "
    "about between can could will would should may might also but if so such i you we s t"
)
COMMON = frozenset(_COMMON.split())
"""Words that tell nothing of a sentence's matter. For languages other than English the weights do the same."""

STEM = 5
"""Words are compared by their first letters: forms of one long word meet, in languages that inflect at the end."""


@lru_cache(maxsize=1024)
def stems(text: str) -> frozenset[str]:
    """The words that carry the matter of `text`, each by its first letters."""
    return frozenset(w[:STEM] for w in words(text) if w not in COMMON)


def holds(folded: str, stem: str) -> bool:
    """Whether a text that `fovea.rag.folding.fold` has made holds a word with this stem: as one of `cut(folded)` does,
    without cutting the whole text.
    """
    unit, at = patterns(stem).unit.fullmatch(stem), folded.find(stem)
    while at >= 0:
        end = at + len(stem)
        begins = unit or not at or not _goes_on(folded[at - 1])
        if begins and (unit or len(stem) == STEM or end == len(folded) or not _goes_on(folded[end])):
            return True
        at = folded.find(stem, at + 1)
    return False


def _goes_on(letter: str) -> bool:
    return letter.isalnum() or (not letter.isascii() and unicodedata.category(letter)[0] == "M")
