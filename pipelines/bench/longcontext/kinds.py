"""The kinds of tasks: facts, chains of assignments, frequent words, records of questions and answers."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from fovea.pipelines.bench.longcontext.records import Record
from fovea.pipelines.bench.longcontext.task import Case, Haystack, Question, Task, drawn_names

Depth = Annotated[float, Field(ge=0, le=1)]
CITIES = (
    "Amsterdam", "Bergen", "Cairo", "Dakar", "Edinburgh", "Florence", "Geneva", "Hanoi", "Istanbul", "Jakarta",
    "Kyoto", "Lisbon", "Madrid", "Nairobi", "Oslo", "Prague", "Quito", "Riga", "Seville", "Tallinn", "Utrecht",
    "Vienna", "Warsaw", "Zurich",
)  # fmt: skip


class Facts(Task):
    """A number of a city at each depth: in a text each, or together in one and each asked for."""

    kind: Literal["facts"]
    depths: Annotated[list[Depth], Field(min_length=1, max_length=len(CITIES))]
    together: bool
    fact: str
    digits: PositiveInt

    def cases(self, haystack: Haystack, seed: str) -> Iterator[Case]:
        """One, or one a depth."""
        rng = random.Random(seed)
        keys = rng.sample(CITIES, len(self.depths))
        values = [_number(rng, self.digits) for _ in keys]
        facts = list(zip(self.depths, keys, values))
        for group in [facts] if self.together else [[fact] for fact in facts]:
            planted = [(depth, self.fact.format(key=key, value=value)) for depth, key, value in group]
            asked = [
                Question(self.question.format(key=key), self.lead.format(key=key), (value,), depth)
                for depth, key, value in group
            ]
            yield Case(haystack(rng.randrange(1 << 30)), planted, partial(_all, asked))


class Chain(Task):
    """Variables that hold a number, by assignments from one to the next."""

    kind: Literal["chain"]
    chains: PositiveInt
    hops: NonNegativeInt
    first: str
    next: str
    digits: PositiveInt

    def cases(self, haystack: Haystack, seed: str) -> Iterator[Case]:
        """One."""
        rng = random.Random(seed)
        names = iter(drawn_names(rng, self.chains * (self.hops + 1)))
        planted, asked = [], []
        for _ in range(self.chains):
            mine = [name.upper() for name in itertools.islice(names, self.hops + 1)]
            value = _number(rng, self.digits)
            said = [self.first.format(name=mine[0], value=value)]
            said += [self.next.format(name=name, before=before) for before, name in itertools.pairwise(mine)]
            planted += list(zip(sorted(rng.random() for _ in said), said))
            told = {"value": value, "count": len(mine)}
            asked.append(Question(self.question.format(**told), self.lead.format(**told), tuple(mine)))
        yield Case(haystack(rng.randrange(1 << 30)), planted, partial(_all, asked))


class Words(Task):
    """Made-up words, the k-th of which is drawn in proportion to k^-alpha; the most frequent are asked for."""

    kind: Literal["words"]
    vocabulary: PositiveInt
    alpha: PositiveFloat
    asked: PositiveInt

    def cases(self, haystack: Haystack, seed: str) -> Iterator[Case]:
        """One; the answer is counted in what was used."""
        rng = random.Random(seed)
        words = drawn_names(rng, max(self.vocabulary, self.asked))
        weights = [(n + 1) ** -self.alpha for n in range(len(words))]

        def units() -> Iterator[str]:
            while True:
                yield from rng.choices(words, weights, k=100)

        def questions(used: Sequence[str]) -> list[Question]:
            most = tuple(word for word, _ in Counter(used).most_common(self.asked))
            return [Question(self.question.format(count=self.asked), self.lead.format(count=self.asked), most)]

        yield Case(units(), (), questions)


class Records(Task):
    """A passage of `--data` among others, and what was asked about it."""

    kind: Literal["records"]
    depth: Depth
    questions: PositiveInt
    """Of one passage, at most."""
    question: str = "{question}"
    records: tuple[Record, ...] = Field(default=(), exclude=True)

    def cases(self, haystack: Haystack, seed: str) -> Iterator[Case]:
        """One: a passage that is drawn, and others of the data around it; made-up prose, where there are no others."""
        rng = random.Random(seed)
        mine = rng.choice(self.records)
        others = [record.context for record in self.records if record.context != mine.context]
        rng.shuffle(others)
        picked = mine.asked if len(mine.asked) <= self.questions else rng.sample(mine.asked, self.questions)
        asked = [Question(self.question.format(question=text), self.lead, answers) for text, answers in picked]
        units = itertools.chain(others, haystack(rng.randrange(1 << 30)))
        yield Case(units, [(self.depth, mine.context)], partial(_all, asked), "\n\n")


Kind = Annotated[Facts | Chain | Words | Records, Field(discriminator="kind")]


def _all(asked: Sequence[Question], used: Sequence[str]) -> Sequence[Question]:
    return asked


def _number(rng: random.Random, digits: int) -> str:
    return str(rng.randrange(10 ** (digits - 1), 10**digits))
