"""Key sentences: those of a document that say most of its matter, and the openings of its sections."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass

from fovea.pipelines.answering.likeness import weights
from fovea.pipelines.answering.quantities import asked_numbers
from fovea.rag.headings import Heading, body, headings, trail
from fovea.rag.sentences import sentences
from fovea.rag.stems import COMMON, stems
from fovea.rag.tokens import words
from fovea.rag.types import Document, Span

FEWEST, MOST = 6, 40
"""Words of a key sentence."""
OPENING = 3
"""Sentences of a section's opening, at most; it ends with its paragraph."""
_NO_PROSE = re.compile(r"^(?:[#|>*`•+/-]|\d+[.)])|https?://|[{}<>=|\\\u2500-\u257f]|[^.!。！]$")
_LEANING = (
    "this that these those it its they them their he his she her such but and or so thus then hence also however "
    "therefore moreover furthermore otherwise instead there here note for if unfortunately"
)
_LEANS = frozenset(_LEANING.split())
"""First words of sentences that lean on the one before."""
_WORD = re.compile(r"[^\W_][\w'’.,-]*[^\W_]|[^\W_]")


@dataclass(frozen=True, slots=True)
class Key:
    """A place worth a question; `heading` is what it opens, None for a key sentence."""

    span: Span
    heading: Heading | None = None


def keys(document: Document) -> list[Key]:
    """Key sentences and openings of sections in turns, the weightiest of each first.

    With f the number of sentences of the document that hold a word, and w the word's weight (as in BM25, over these
    sentences), a sentence weighs the mean of `ln(1 + f) w` over its telling words. A sentence of fewer than 6 or more
    than 40 words, one that is no prose, and one that begins by leaning on the sentence before it are passed over.
    """
    text, start = document.text, body(document.text, document.media_type)
    spans = [s for s in sentences(text) if s.start >= start]
    bags = [stems(text[s.start : s.end]) for s in spans]
    weight, often = weights(bags), Counter(word for bag in bags for word in bag)
    weighed = {
        span: sum(math.log1p(often[word]) * weight[word] for word in bag) / max(len(bag), 1)
        for span, bag in zip(spans, bags)
        if _prose(text[span.start : span.end])
    }
    ranked = sorted(weighed, key=lambda span: (-weighed[span], span.start))
    opened = _openings(document, spans, set(ranked))
    opened.sort(key=lambda key: (-weighed[_first(key, ranked)], key.span.start))
    taken = {span for key in opened for span in ranked if key.span.start <= span.start < key.span.end}
    single = [Key(span) for span in ranked if span not in taken]
    most = max(len(opened), len(single))
    return [key for turn in range(most) for row in (opened, single) for key in row[turn : turn + 1]]


def _first(key: Key, spans: list[Span]) -> Span:
    return next(span for span in spans if span.start == key.span.start)


def _openings(document: Document, spans: list[Span], prose: set[Span]) -> list[Key]:
    """The first sentences of prose under each heading of two words and more."""
    text, found, seen = document.text, [], set()
    heard = headings(text, document.media_type)
    for number, span in enumerate(spans):
        if span not in prose or not (above := trail(heard, span.start, span.end, text)):
            continue
        if above[-1].start in seen or len(words(above[-1].words)) < 2:
            continue
        seen.add(above[-1].start)
        end = span.end
        for after in spans[number + 1 : number + OPENING]:
            if "\n\n" in text[end : after.start] or any(end <= h.start < after.end for h in heard):
                break
            end = after.end
        found.append(Key(Span(span.start, end), above[-1]))
    return found


def _prose(sentence: str) -> bool:
    said = words(sentence)
    return FEWEST <= len(said) <= MOST and said[0] not in _LEANS and not _NO_PROSE.search(sentence)


def telling(sentence: str) -> str:
    """The longest number of a sentence, else its longest name but the first word, else its longest word; "" if none."""
    found = _WORD.findall(sentence)
    numbers = [word for word in found if word[0].isdigit() and asked_numbers(word)]
    names = [word for word in found[1:] if word[0].isupper() and word.lower() not in COMMON]
    return max(numbers or names or found, key=len, default="")
