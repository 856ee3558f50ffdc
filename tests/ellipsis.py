"""Made documents whose sentences leave out what they are about: only the first one names it.

Forty places, each with an introducing sentence and twelve facts that begin with "It" or "Its"; every fact is asked for
with the place's name. Chunks are sentences. Without context, nothing tells the forty chunks of one kind apart.
"""

from __future__ import annotations

import random

from fovea.rag.types import Chunk, Document, Span

KINDS = ("harbour town", "mountain village", "mining settlement", "market town", "island port")
FIRST = ("Vel", "Cor", "Ash", "Mor", "Thal", "Bre", "Quin", "Ost")
LAST = ("mora", "dale", "wick", "stead", "haven")
FACTS = (
    ("It was founded in the year {year}.", "When was {name} founded?"),
    ("Its mayor is called {person}.", "Who is the mayor of {name}?"),
    ("It has about {thousands} thousand inhabitants.", "How many people live in {name}?"),
    ("Its oldest church is built of {stone}.", "What is the oldest church of {name} made of?"),
    ("It lies {height} metres above the sea.", "How high above the sea does {name} lie?"),
    ("Its railway station opened in {later}.", "When did the railway station of {name} open?"),
    ("It is known for its {food}.", "Which food is {name} known for?"),
    ("Its football club plays in {colour} shirts.", "What colour are the shirts of the football club of {name}?"),
    ("It was destroyed by a {disaster} and built again.", "What destroyed {name}?"),
    ("Its school teaches {number} pupils.", "How many pupils does the school of {name} teach?"),
    ("It holds a fair every {month}.", "In which month does {name} hold its fair?"),
    ("Its largest employer makes {goods}.", "What does the largest employer of {name} make?"),
)
VALUES = {
    "person": ("Anna Brandt", "Peter Oyelaran", "Maria Costa", "Jonas Lind", "Ruth Adeyemi", "Ivan Petrov"),
    "stone": ("granite", "sandstone", "brick", "limestone", "slate", "oak"),
    "food": ("smoked eel", "plum cake", "goat cheese", "rye bread", "pickled herring", "chestnuts"),
    "colour": ("red", "green", "yellow", "white", "black", "purple"),
    "disaster": ("fire", "flood", "landslide", "storm", "siege", "earthquake"),
    "month": ("March", "April", "June", "August", "October", "December"),
    "goods": ("bicycles", "furniture", "paper", "glass", "engines", "carpets"),
}
RANGES = {"year": (1100, 1500), "thousands": (2, 90), "height": (3, 1900), "later": (1850, 1930), "number": (80, 900)}


def ellipsis(*, titled: bool, seed: int = 0) -> tuple[list[Document], list[list[Chunk]], list[tuple[str, Chunk]]]:
    """Documents, the chunks of each, and 480 questions, each with the chunk that answers it."""
    draw = random.Random(seed)
    documents, chunks, questions = [], [], []
    for name in (first + last for first in FIRST for last in LAST):
        values = {key: draw.choice(found) for key, found in VALUES.items()}
        values |= {key: draw.randint(*ends) for key, ends in RANGES.items()}
        facts = draw.sample(FACTS, len(FACTS))
        sentences = [f"{name} is a {draw.choice(KINDS)}.", *(said.format(**values) for said, _ in facts)]
        document = Document(name.lower(), " ".join(sentences), title=name if titled else "")
        starts = [document.text.index(sentence) for sentence in sentences]
        found = [document.chunk(Span(at, at + len(sentence))) for at, sentence in zip(starts, sentences)]
        documents.append(document)
        chunks.append(found)
        questions += [(asked.format(name=name), chunk) for (_, asked), chunk in zip(facts, found[1:])]
    return documents, chunks, questions
