"""A question without its time: what is left when the expressions, and the words that lead to them, are taken out.

"Where did she work from Apr 1926 to Apr 1927?"  ->  "Where did she work?"
"""

from __future__ import annotations

from collections.abc import Container
from functools import cache

from fovea.retrievers.time.parser import SPOKEN, Languages
from fovea.retrievers.time.scan import scanner
from fovea.retrievers.time.words import RELATIONS, phrases

LONGEST = 40
"""Characters of the longest word that may lead to a date."""


def undated(text: str, languages: Languages = SPOKEN) -> str:
    """The text without its dates; it begins with a capital if it did before. Nothing is left of a text of dates.

    Linear in the text.
    """
    leads = _leads(languages)
    end, rest = len(text), [""]  # What is kept before the dates read so far, and, last piece first, behind them.
    for found in reversed(scanner(languages).find(text)):
        if between := text[found.end : end].lstrip(" ,"):
            rest.append(between)
        elif rest[-1] == " ":
            rest.pop()
        end = _before(text, found.start, leads)
        if end and rest[-1] and rest[-1][0] not in ".,;:!?)":
            rest.append(" ")
    whole = text[:end] + "".join(reversed(rest))
    return whole[:1].upper() + whole[1:]


def _before(text: str, end: int, leads: Container[str]) -> int:
    """Where what stands before a date ends, without the words that lead to it."""
    while True:
        while end and text[end - 1].isspace():
            end -= 1
        start = end
        while start and end - start < LONGEST and not text[start - 1].isspace():
            start -= 1
        if start == end or text[start:end].lower().strip(",(") not in leads:
            break
        end = start
    while end and text[end - 1] in " ,(":
        end -= 1
    return end


@cache
def _leads(languages: Languages) -> set[str]:
    fields = (*RELATIONS, "origin", "to", "both", "fill", "in_year", "early", "middle", "late", "opening", "closing")
    extra = {"during", "as", "up", "with", "while", "für", "während", "pendant", "durante"}
    return {word for field in fields for phrase in phrases(languages, field) for word in phrase.split()} | extra
