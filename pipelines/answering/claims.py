"""What of a statement may not differ in its evidence: its numbers, its names, and what it denies.

A number is compared with what it counts: "4 weeks" is not in "2 weeks a year, at most 4 months".

Likeness of wording cannot tell "in 1969" from "in 1979", nor "has no air" from "has air": these are compared as such.
Number words and negations are known for English; digits and capitals work wherever they are used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from fovea.pipelines.answering.likeness import COMMON, STEM, stems
from fovea.rag.tokens import words
from fovea.rag.types import Span

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
UNITS = {word: n for n, word in enumerate(_UNITS.split())} | {"once": 1, "twice": 2, "thrice": 3}
TENS = {word: n * 10 for n, word in enumerate(_TENS.split(), 2)}
POWERS = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
LOOSE = frozenset({"1", "1000", "1000000", "100", "1000000000"})
"""Read from words, these are as often figures of speech ("one of them", "a thousand"): found, but not asked for."""

_WORDS = "|".join([*UNITS, *TENS])
_QUANTITY = re.compile(
    rf"(?<![\w.,])(?P<digits>\d[\d.,]*(?<![.,]))|\b(?P<words>(?:{_WORDS})(?:[ -](?:{'|'.join(UNITS)}))?)\b|"
    rf"\b(?P<alone>{'|'.join(POWERS)})\b",
    re.IGNORECASE,
)
_SUFFIX = re.compile(r"(k|mn?|bn?)\b", re.IGNORECASE)
_SUFFIXES = {"k": 1_000, "m": 1_000_000, "mn": 1_000_000, "b": 1_000_000_000, "bn": 1_000_000_000}
"""What stands behind the digits of an amount of money: `$1.5k`, `€10bn`."""
_SIGNS = {"$": "dolla", "€": "euro", "£": "pound", "¥": "yen", "%": "perce"}
_MEASURES = (
    "second minute hour day week month quarter year decade century percent percentage dollar euro pound yen usd eur "
    "gbp kilogram gram metre meter kilometre kilometer mile"
)
_SAME = {"usd": "dolla", "eur": "euro", "gbp": "pound"}
_POWER = re.compile(rf"[\s-]+({'|'.join(POWERS)})s?\b", re.IGNORECASE)
_COUNTED = re.compile(r"[ -]?(?:[$€£¥%]|[^\W\d_]+)")
_RANGE = re.compile(r"\s*(?:-|–|to|or|and)\s*[$€£¥]?\d|\s+(?:to|or|and)\s", re.IGNORECASE)
_REFERS = re.compile(r"\b(?:he|she|it|they|his|her|him|its|their|them|this|these)\b", re.IGNORECASE)
_JOINT = re.compile(r"\s*[;；]\s*|,?\s+(?:and|but|while|whereas)\s+|,\s+", re.IGNORECASE)
_NEGATION = re.compile(r"\b(?:not|no|never|none|neither|nor|without|cannot|nobody|nothing)\b|n['’]t\b", re.IGNORECASE)
REACH, NEAR = 3, 80
"""How many telling words after a negation it is taken to deny, and within how many characters."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement: its telling words by their first letters, the numbers and names it gives, the words it denies."""

    words: frozenset[str]
    numbers: frozenset[str]
    counted: frozenset[tuple[str, str]]
    names: frozenset[tuple[str, ...]]
    denied: frozenset[str]

    @classmethod
    def of(cls, text: str) -> Claim:
        """Read a statement."""
        return cls(stems(text), asked_numbers(text), counted(text), names(text), denied(text))


@lru_cache(maxsize=1024)
def numbers(text: str) -> frozenset[str]:
    """The numbers in `text`, however written: `1,500`, `1500` and "fifteen hundred" are one, and so are .50 and .5."""
    return frozenset(value for value, _, _ in _quantities(text))


def asked_numbers(text: str) -> frozenset[str]:
    """The numbers which evidence for `text` must hold."""
    return frozenset(value for value, spelt, _ in _quantities(text) if not (spelt and value in LOOSE))


@lru_cache(maxsize=1024)
def counted(text: str) -> frozenset[tuple[str, str]]:
    """The numbers in `text` with the first letters of what each counts: a sign, or the telling word behind it; "" where
    there is none. A number that goes on to another ("2 to 4 weeks") counts what that one does.
    """
    found: set[tuple[str, str]] = set()
    waiting: list[str] = []
    for value, _, span in _quantities(text):
        thing = _thing(text, span)
        waiting.append(value)
        if thing or not _RANGE.match(text, span.end):
            found.update((v, thing) for v in waiting)
            waiting = []
    return frozenset(found | {(v, "") for v in waiting})


def _thing(text: str, span: Span) -> str:
    if (sign := text[max(0, span.start - 4) : span.start].rstrip()[-1:]) in _SIGNS:
        return _SIGNS[sign]
    behind = _COUNTED.match(text, span.end)
    if not behind or (word := behind[0].strip(" -").lower()) in COMMON:
        return ""
    stem = _SIGNS.get(word) or word.rstrip("s")[:STEM]
    return _SAME.get(stem, stem)


def _quantities(text: str) -> list[tuple[str, bool, Span]]:
    found, at = [], 0
    for match in _QUANTITY.finditer(text):
        if match.start() < at:  # the "million" of "two million"
            continue
        spelt = match["digits"] is None
        if match["alone"]:
            value = float(POWERS[match["alone"].lower()])
        else:
            value = _spelt(match["words"]) if spelt else _written(match["digits"])
        at = match.end()
        while power := _POWER.match(text, at):
            value, at = value * POWERS[power[1].lower()], power.end()
        if text[max(0, match.start() - 1) : match.start()] in _SIGNS and (suffix := _SUFFIX.match(text, at)):
            value, at = value * _SUFFIXES[suffix[1].lower()], suffix.end()
        found.append((f"{value:.12g}", spelt, Span(match.start(), at)))
    return found


def _spelt(phrase: str) -> float:
    return float(sum((UNITS | TENS)[word] for word in re.split(r"[ -]", phrase.lower())))


def _written(digits: str) -> float:
    """`1,500` and `1.500.000` group thousands; any other single mark is the decimal one. A version keeps its digits."""
    for mark, other in (",.", ".,"):
        if re.fullmatch(rf"\d{{1,3}}(?:\{mark}\d{{3}}){'+' if mark == ',' else '{2,}'}(?:\{other}\d+)?", digits):
            return float(digits.replace(mark, "").replace(other, "."))
    whole, *rest = re.split(r"[.,]", digits)
    return float(f"{whole}.{''.join(rest) or 0}")


def names(text: str) -> frozenset[tuple[str, ...]]:
    """Runs of capitalised words, by their first letters. The word that opens the sentence counts only in a longer run,
    since any word may stand there with a capital.
    """
    found, begins = set(), len(text) - len(text.lstrip())
    for match in re.finditer(r"[^\W\d_][\w'’-]*(?: +[^\W\d_][\w'’-]*)*", text):
        run: list[str] = []
        for i, word in enumerate([*match[0].split(), ""]):
            if any(c.isupper() for c in word) and word.lower() not in COMMON:
                run.append(word)
                continue
            opens = match.start() == begins and i == len(run)
            if run and not (opens and len(run) == 1 and not any(c.isupper() for c in run[0][1:])):
                found.add(tuple(stem for name in run for stem in sorted(stems(name))))
            run = []
    return frozenset(n for n in found if n)


def denied(text: str) -> frozenset[str]:
    """The telling words just after each negation, by their first letters."""
    found: set[str] = set()
    for match in _NEGATION.finditer(text):
        after = re.split(r"[.,;:!?]", text[match.end() : match.end() + NEAR], maxsplit=1)[0]
        found.update([w[:STEM] for w in words(after) if w not in COMMON][:REACH])
    return frozenset(found)


def clauses(text: str) -> list[str]:
    """The parts of a sentence that may rest on different evidence; the sentence itself where it has no such parts."""
    parts = [p for p in _JOINT.split(" ".join(text.split())) if p]
    return parts if len(parts) > 1 and all(len(stems(p)) >= 2 for p in parts) else [text]


def refers(text: str) -> bool:
    """Whether a sentence speaks of something the sentence before it names."""
    return bool(_REFERS.search(text))


MEASURES = frozenset(_SAME.get(stem, stem) for stem in (word[:STEM] for word in _MEASURES.split()))


def miscounted(claim: Claim, evidence: str) -> bool:
    """Whether a number of the claim counts something else in `evidence`: there the number counts another thing only,
    and either both things are measures, or the claim's thing has another number.
    """
    told = counted(evidence)
    others = {thing for _, thing in told if thing}
    for value, thing in claim.counted:
        there = {t for v, t in told if v == value}
        if thing and there and not there & {thing, ""}:
            measures = thing in MEASURES and there <= MEASURES
            if measures or thing in others:
                return True
    return False


def agrees(claim: Claim, evidence: str, passage: str, question: str = "") -> bool:
    """Whether `evidence` holds the claim's numbers and a word of each of its names, and denies what the claim denies.

    What the question already gave, and the rest of a name, may stand elsewhere in the `passage`, its title or source.
    """
    held, refused, around, given = stems(evidence), denied(evidence), stems(passage) | stems(evidence), stems(question)
    told = numbers(evidence)
    return (
        claim.numbers - numbers(question) <= told
        and claim.numbers <= told | numbers(passage)
        and not miscounted(claim, evidence)
        and all(any(w in held or w in given for w in name) and around.issuperset(name) for name in claim.names)
        and claim.denied & held <= refused
        and refused & claim.words <= claim.denied
    )
