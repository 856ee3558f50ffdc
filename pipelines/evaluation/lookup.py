"""Lookup: where a text stands in a document, whatever its case, accents, white space and marks.

What is compared are the letters and digits of both, folded (`fovea.rag.folding`), with one space for whatever stands
between words. A text begins and ends where words do: "80" does not stand in "1980".
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache
from operator import itemgetter

from fovea.rag.folding import fold
from fovea.rag.sentences import sentences
from fovea.rag.tokens import words
from fovea.rag.types import Span


class Standing:
    """The texts that stand in one document. Made in O(document)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._letters, self._at = _folded(text)

    def places(self, wanted: str) -> list[Span]:
        """Every place where `wanted` stands, in order, with the marks around it where the document has them too; by its
        characters where it has no letter. O(document).
        """
        letters, at = _folded(wanted)
        if not at:
            return self._exact(wanted)
        ahead, behind = wanted[: at[0]], wanted[_end(wanted, at[-1]) :]
        found, start = [], self._letters.find(letters)
        while start >= 0:
            end = start + len(letters)
            if self._edge(start) and self._edge(end):
                first, last = self._at[start], _end(self.text, self._at[end - 1])
                first -= len(ahead) if ahead and self.text.endswith(ahead, 0, first) else 0
                last += len(behind) if self.text.startswith(behind, last) else 0
                found.append(Span(first, last))
            start = self._letters.find(letters, start + 1)
        return found

    def nearest(self, wanted: str) -> tuple[float, Span]:
        """The sentence that shares most words with `wanted`, and the F1 of these."""
        asked = Counter(words(wanted))

        def shared(span: Span) -> float:
            said = Counter(words(self.text[span.start : span.end]))
            return 2 * (asked & said).total() / max(1, asked.total() + said.total())

        return max(
            ((shared(span), span) for span in sentences(self.text)), key=itemgetter(0), default=(0.0, Span(0, 0))
        )

    def _exact(self, wanted: str) -> list[Span]:
        found, start = [], self.text.find(wanted) if wanted else -1
        while start >= 0:
            found.append(Span(start, start + len(wanted)))
            start = self.text.find(wanted, start + 1)
        return found

    def _edge(self, place: int) -> bool:
        """Whether a word can begin or end there."""
        pair = self._letters[max(0, place - 1) : place + 1]
        return len(pair) < 2 or " " in pair or len(words(pair)) > 1


def _folded(text: str) -> tuple[str, list[int]]:
    """The folded letters and digits, words apart by one space, and where in `text` each of them comes from."""
    letters: list[str] = []
    at: list[int] = []
    apart = False
    for place, char in enumerate(text):
        found = _letters(char)
        if found == " ":
            apart = bool(letters)
            continue
        if apart and found:
            letters.append(" ")
            at.append(place)
            apart = False
        letters.append(found)
        at += [place] * len(found)
    return "".join(letters), at


@lru_cache(maxsize=4096)
def _letters(char: str) -> str:
    """A character, folded: " " for what stands between words, "" for what belongs to the letter before it."""
    kept = "".join(c for c in fold(char) if c.isalnum())
    return kept or ("" if unicodedata.category(char)[0] == "M" or unicodedata.category(char) == "Cf" else " ")


def _end(text: str, last: int) -> int:
    """Behind a character, and the marks that belong to it."""
    end = last + 1
    while end < len(text) and unicodedata.category(text[end])[0] == "M":
        end += 1
    return end
