"""Needles: facts among sentences of the same kind, each with a question in other words than its own, made by rule.

    needle = next(needles(seed))
    needle.passages[needle.passage][slice(*needle.span)], needle.question, needle.answer

A head that points at evidence has to find the one sentence that says what is asked, beside others that say the same of
somebody else, or something else of the same one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

FACTS = (
    ("{who} grew up in {town}, the eldest of five children.", "Where did {who} spend their childhood?", "{town}"),
    ("In {year}, {who} left the navy and opened a bakery.", "When did {who} stop being a sailor?", "{year}"),
    ("{who} plays the {tool} in a small orchestra.", "Which instrument does {who} play?", "the {tool}"),
    ("{who} paid {sum} for the old mill beside the river.", "How much did the mill cost {who}?", "{sum}"),
    ("For the wedding, {who} wore a coat of {colour} wool.", "What colour was {who} dressed in?", "{colour}"),
    ("{who} studied {field} for three years before the war.", "What subject did {who} learn?", "{field}"),
    ("The bridge near {town} was designed by {who}.", "Who was the architect of the bridge at {town}?", "{who}"),
    ("{town} has about {many} inhabitants, most of them farmers.", "How many people live in {town}?", "{many}"),
    ("The library of {town} burnt down in {year}.", "In which year was there a fire in {town}?", "{year}"),
    ("Trains from {town} to the coast take {hours} hours.", "How long is the railway journey from {town}?", "{hours}"),
    ("{town} is known for its {goods}, which it sells abroad.", "What does {town} export?", "{goods}"),
    ("Since {year} the mayor of {town} has been {who}.", "Who governs {town}?", "{who}"),
    ("The {firm} company employs {many} people in two factories.", "How large is the staff of {firm}?", "{many}"),
    ("{firm} was founded by {who}, a chemist.", "Who started the business called {firm}?", "{who}"),
    ("{firm} moved its headquarters to {town} after the flood.", "In which place are the main offices of {firm}?",
     "{town}"),
    ("The first product of {firm} was a machine for making {goods}.", "What did {firm} begin with?", "{goods}"),
    ("{who} was afraid of {fear} and never travelled without a lamp.", "What frightened {who}?", "{fear}"),
    ("Doctors told {who} to rest because of a weak {organ}.", "Why could {who} not work?", "a weak {organ}"),
    ("The lake north of {town} is {hours} metres deep.", "What is the depth of the water near {town}?", "{hours}"),
    ("{who} married a {trade} from the islands.", "What was the profession of the spouse of {who}?", "a {trade}"),
)  # fmt: skip
"""Sentence, question, answer."""

WORDS = {
    "who": (
        "Anna Berger", "Tomas Lind", "Ruth Okafor", "Pavel Novak", "Ines Duarte", "Harold Finch", "Mira Sato",
        "Leon Vasquez", "Clara Whitby", "Omar Haddad", "Greta Nilsson", "Victor Amari", "Edith Moran", "Samuel Reyes",
    ),
    "town": (
        "Hallbrook", "Port Varen", "Ostrava Mills", "Kelmar", "Sunford", "Dunwich Cross", "Lorven", "Maple Reach",
        "Tarnholm", "Bellisle", "Quarry Hill", "Esk Valley",
    ),
    "firm": ("Norvik", "Halden and Sons", "Bluestone", "Tessera", "Arkwell", "Pinehurst", "Calloway", "Velmo"),
    "tool": ("cello", "trumpet", "flute", "harp", "oboe", "viola"),
    "colour": ("green", "scarlet", "grey", "yellow", "purple", "white"),
    "field": ("geology", "medicine", "law", "astronomy", "botany", "music"),
    "goods": ("glass", "leather shoes", "clocks", "cheese", "paper", "bicycles", "soap"),
    "fear": ("spiders", "the dark", "thunder", "deep water", "horses"),
    "organ": ("heart", "lung", "back", "knee"),
    "trade": ("carpenter", "nurse", "teacher", "weaver", "surgeon", "fisherman"),
}  # fmt: skip


@dataclass(frozen=True)
class Needle:
    """Passages, the question, its answer, and where the sentence is that says it."""

    passages: tuple[str, ...]
    question: str
    answer: str
    passage: int
    span: tuple[int, int]


def needles(seed: int = 0, *, passages: int = 3, each: int = 6) -> Iterator[Needle]:
    """Needles without end, the same ones for a seed: `passages` of `each` sentences, all of them facts."""
    rng = random.Random(seed)
    while True:
        yield _needle(rng, passages, each)


def _needle(rng: random.Random, passages: int, each: int) -> Needle:
    """No two of its sentences tell the same kind of fact of the same one."""
    told: dict[str, tuple[str, str, str]] = {}
    while len(told) < passages * each:
        sentence, question, answer = rng.choice(FACTS)
        words = {name: rng.choice(some) for name, some in WORDS.items()}
        words |= {"year": str(rng.randrange(1820, 1990)), "hours": str(rng.randrange(3, 60))}
        words |= {"sum": f"{rng.randrange(2, 90)},000 crowns", "many": f"{rng.randrange(11, 990) * 10:,}"}
        asked = question.format(**words)
        told.setdefault(asked, (sentence.format(**words), asked, answer.format(**words)))
    facts = list(told.values())
    at = rng.randrange(len(facts))
    texts = [" ".join(s for s, _, _ in facts[n : n + each]) for n in range(0, len(facts), each)]
    start = texts[at // each].index(facts[at][0])
    return Needle(tuple(texts), facts[at][1], facts[at][2], at // each, (start, start + len(facts[at][0])))
