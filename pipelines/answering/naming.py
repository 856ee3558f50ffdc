"""What a question names, and whether the documents that came back hold it: what is said of another is no answer.

Names are told by their capitals, so only in an English question; years ("in 2023"), numbers that label ("section 12")
and what stands in quotation marks or code in any.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence

from fovea.pipelines.answering.claims import names
from fovea.pipelines.answering.passages import Passage
from fovea.pipelines.answering.quantities import LABELS, YEARS
from fovea.rag.stems import stems
from fovea.rag.types import Document

_ENGLISH = re.compile(r"\b(?:the|of|does|did|is|are|how|what|which|who|when|where|why)\b", re.IGNORECASE)
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mär|mai|okt|dez|janv|févr|avril|juin|août|ene|abr|ago|dic"
_YEAR = re.compile(
    rf"\b(?:in|of|for|during|year|im|jahre?|en|de|on|(?:{_MONTHS})[^\W\d]*),?\s+"
    r"(?:the\s+)?(?:year\s+|jahre?\s+|\d{1,2},\s*)?([12]\d{3})(?![\w/-]|[.,]\d)|"
    r"\b(?:the|der|die|das)\s+([12]\d{3})\s+[^\W\d]{3,}(?<!s)\b|(?<![\w.,/-])([12]\d{3})\s*\?",
    re.IGNORECASE,
)
"""A year that says which: "in 2023", "the 2023 report". What lies "after 2023" may be told without it."""
_AROUND = re.compile(
    r"\b(?:after|since|before|until|till|from|between|than|to|by|and|nach|seit|vor|bis|ab|von|zwischen|und|depuis|après|"
    rf"avant|entre|desde|hasta|y|et)\s+(?:(?:the\s+)?(?:year|jahr|(?:{_MONTHS})[^\W\d]*)\s+)?\Z",
    re.IGNORECASE,
)
_RANGE = re.compile(
    r"\b([12]\d{3})s?\s*(?:-|–|—|to|until|till|through|and|bis|und)\s*(?:[a-z]+\s+)?([12]\d{3}|\d{2})\b"
)
_LABEL = re.compile(
    rf"\b(?:{LABELS})\s+(\d+(?:\.\d+)*)\b|§\s*(\d+(?:\.\d+)*)",
    re.IGNORECASE,
)
_LITERAL = re.compile(r"`([^`]+)`|“([^”]+)”|„([^“”]+)[“”]|\"([^\"]+)\"|(?<![\w-])(--?[a-z][\w-]+|\w+_\w+)")


def speak_of(question: str, passages: Sequence[Passage]) -> bool:
    """Whether the documents among `passages`, with their titles, sources and metadata, hold all that the question
    names. Linear in the documents, where it names anything."""
    wanted = names(question) if _ENGLISH.search(question) else frozenset()
    years, labels, literal = list(_years(question)), list(_groups(_LABEL, question)), list(_groups(_LITERAL, question))
    if not (wanted or years or labels or literal):
        return True
    texts = [_around(d) for d in {p.document.id: p.document for p in passages}.values()]
    around = frozenset[str]().union(*map(stems, texts))
    return (
        all(held(name, around) for name in wanted)
        and all(any(_holds_year(text, year) for text in texts) for year in years)
        and all(any(re.search(rf"(?<![\w.]){label}(?!\w)", text) for text in texts) for label in labels)
        and all(stems(said) <= around for said in literal)
    )


def _around(document: Document) -> str:
    return " ".join([document.text, document.title, document.source, *map(str, document.metadata.values())])


def _years(question: str) -> Iterator[int]:
    for match in _YEAR.finditer(question):
        at = match.start(match.lastindex or 0)
        if int(question[at : at + 4]) in YEARS and not _AROUND.search(question[:at]):
            yield int(question[at : at + 4])


def _groups(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    for match in pattern.finditer(text):
        yield next(group for group in match.groups() if group)


def _holds_year(text: str, year: int) -> bool:
    """Whether the year stands there, in a decade ("1990s") or between two years ("2005 to 2010", "2005-10")."""
    if str(year) in text or f"{year // 10}0s" in text:
        return True
    ends = ((m[1], m[2] if len(m[2]) == 4 else m[1][:2] + m[2]) for m in _RANGE.finditer(text))
    return any(int(start) <= year <= int(end) for start, end in ends)


def held(name: Sequence[str], words: Container[str]) -> bool:
    """Whether the words of a name, or the greater part of a long one, are among `words`."""
    return 2 * sum(word in words for word in name) > len(name)
