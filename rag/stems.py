"""The words that carry the matter of a text, each by its first letters: forms of one word meet, with no dictionary."""

from __future__ import annotations

from functools import lru_cache

from fovea.rag.tokens import NO_UNITS, cut, patterns, words

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
    """Whether a text that `fovea.rag.folding.fold` has made holds a word with this stem: as one of `cut(folded)` does.
    Only a text with a script without spaces, or with vowel signs, is cut for it.
    """
    if patterns(folded).unit.pattern != NO_UNITS:
        return stem in _cut(folded)
    at = folded.find(stem)
    while at >= 0:
        end = at + len(stem)
        begins = not at or not folded[at - 1].isalnum()
        if begins and (len(stem) == STEM or end == len(folded) or not folded[end].isalnum()):
            return True
        at = folded.find(stem, at + 1)
    return False


@lru_cache(maxsize=256)
def _cut(folded: str) -> frozenset[str]:
    return frozenset(word[:STEM] for word in cut(folded))
