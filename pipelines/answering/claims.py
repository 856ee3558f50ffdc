"""What of a statement may not differ in its evidence: its numbers, its names, and what it denies.

A number is compared with what it counts and on which side it bounds: neither "4 weeks" nor "at least 4 months" is in
"2 weeks a year, at most 4 months" (`pipelines/answering/contradictions.py`).

Likeness of wording cannot tell "in 1969" from "in 1979", nor "has no air" from "has air": these are compared as such.
Negations are known for English; capitals work wherever they are used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from fovea.pipelines.answering.bounds import BOUNDS, NEGATED
from fovea.pipelines.answering.contradictions import misbounded, miscounted, misplaced
from fovea.pipelines.answering.numerals import in_digits
from fovea.pipelines.answering.quantities import Quantity, asked_numbers, numbers, quantities
from fovea.rag.stems import COMMON, STEM, stems
from fovea.rag.tokens import words

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
    quantities: tuple[Quantity, ...]
    names: frozenset[tuple[str, ...]]
    denied: frozenset[str]

    @classmethod
    def of(cls, text: str) -> Claim:
        """Read a statement."""
        told = quantities(text)
        bare = BOUNDS.sub(" ", text) if any(q.side for q in told) else text
        return cls(matter(bare), asked_numbers(text), told, names(in_digits(text)), denied(text))


@lru_cache(maxsize=1024)
def matter(text: str) -> frozenset[str]:
    """The telling words of `text`, numbers in digits: what evidence is asked for."""
    return stems(in_digits(text))


def bag(text: str) -> frozenset[str]:
    """What words are looked for in: those of `text`, and its numbers in digits."""
    return stems(text) | matter(text)


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
    text = NEGATED.sub(" ", text)
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


def agrees(claim: Claim, evidence: str, passage: str, question: str = "") -> bool:
    """Whether `evidence` holds the claim's numbers and a word of each of its names, and denies what the claim denies.

    What the question already gave, and the rest of a name, may stand elsewhere in the `passage`, its title or source.
    """
    held, refused, around, given = stems(evidence), denied(evidence), stems(passage) | stems(evidence), stems(question)
    held_numbers, told = numbers(evidence), quantities(evidence)
    return (
        claim.numbers - numbers(question) <= held_numbers
        and claim.numbers <= held_numbers | numbers(passage)
        and not miscounted(claim.quantities, told)
        and not misbounded(claim.quantities, told)
        and not misplaced(claim.quantities, told)
        and all(any(w in held or w in given for w in name) and around.issuperset(name) for name in claim.names)
        and claim.denied & held <= refused
        and refused & claim.words <= claim.denied
    )
