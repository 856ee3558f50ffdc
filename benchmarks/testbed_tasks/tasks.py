"""The tasks: each makes facts, and how many of them fill a given room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmarks.testbed_tasks.page import Fact, Ids, Page

Rng = np.random.Generator


@dataclass(frozen=True)
class Task:
    """`facts(rng, page, count)` makes `count` facts, the asked one first; a prompt has `count`, or as many as fit."""

    facts: Callable[[Rng, Page, int], list[Fact]]
    count: int | None = 1

    def prompt_facts(self, rng: Rng, page: Page, length: int) -> list[Fact]:
        """The facts of a prompt of `length` tokens, question and answer included."""
        count = self.count
        if count is None:
            one = self.facts(np.random.default_rng(0), page, 1)[0]
            room = length - len(one.question) - len(one.answer)
            count = max(1, room // len(one.statements[0]))
        return self.facts(rng, page, count)


def needle(rng: Rng, page: Page, count: int) -> list[Fact]:
    """The secret number of each of `count` words."""
    made = []
    for word in page.some_words(rng, count):
        ask, number = [*page.ids("\nThe secret number of"), word, *page.ids(" is")], page.number(rng, 4)
        ask += page.ids(" ")
        made.append(Fact([[*ask, *number, *page.ids(".\n")]], ask, number))
    return made


def passkey(rng: Rng, page: Page, count: int) -> list[Fact]:
    """One pass key, said twice in a row."""
    key = page.number(rng, 5)
    said = [*page.ids("\nThe pass key is"), *page.ids(" ")]
    statement = [*said, *key, *page.ids(". Remember it."), *said[1:], *key, *page.ids(".\n")]
    return [Fact([statement], [*page.ids("\nWhat is the pass key?"), *said], key)]


def key_value(rng: Rng, page: Page, count: int, width: int = 2) -> list[Fact]:
    """Lines of `width` words, a colon, a word; no key comes twice."""
    keys = _different(rng, lambda: tuple(page.some_words(rng, width)), count)
    made = []
    for key, value in zip(keys, rng.choice(page.words, count).tolist()):
        ask = [*page.ids("\n"), *key, *page.ids(":")]
        made.append(Fact([[*ask, value]], ask, [value]))
    return made


def json_pairs(rng: Rng, page: Page, count: int) -> list[Fact]:
    """Lines of a JSON object from four digits to four digits; no key comes twice."""
    keys = _different(rng, lambda: tuple(page.number(rng, 4)), count)
    made = []
    for key in keys:
        ask, value = [*page.ids('\n"'), *key, *page.ids('":'), *page.ids(' "')], page.number(rng, 4)
        made.append(Fact([[*ask, *value, *page.ids('",')]], ask, value))
    return made


def variable_tracking(rng: Rng, page: Page, count: int, hops: int = 3) -> list[Fact]:
    """Chains of names, each told in a place of its own, that end in a number: the answer names every link."""
    names = page.some_words(rng, count * hops)
    to, made = page.ids(" ->"), []
    for chain in (names[i : i + hops] for i in range(0, len(names), hops)):
        links: list[Ids] = [[name] for name in chain] + [[*page.ids(" "), *page.number(rng, 3)]]
        told = [[*page.ids("\nLet"), *a, *to, *b, *page.ids(".\n")] for a, b in pairwise(links)]
        answer = [token for link in links[1:] for token in (*to, *link)][len(to) :]
        made.append(Fact(told, [*page.ids("\nTrace"), *links[0], *to], answer))
    return made


def frequent_word(rng: Rng, page: Page, count: int, kinds: int = 8) -> list[Fact]:
    """A list of `count` words of `kinds`; one comes three times as often as any other."""
    words = np.array(page.some_words(rng, kinds))
    share = np.ones(kinds)
    share[0] = 3
    listed = np.repeat(words, np.ceil(share / share.sum() * (count + kinds)).astype(int))
    listed = np.concatenate([words[:1].repeat(min(3, count)), rng.permutation(listed[1:])])[:count]
    return [Fact([rng.permutation(listed).tolist()], page.ids("\nThe most frequent word:"), [int(words[0])])]


def count_pings(rng: Rng, page: Page, count: int) -> list[Fact]:
    """How often one line stands in the text, 1 to 9 times."""
    times = int(rng.integers(1, 10))
    question = [*page.ids("\nHow many times does the bell ring?"), *page.ids(" ")]
    return [Fact([page.ids("\nThe bell rings.\n")] * times, question, [int(page.digits[times])])]


def copy(rng: Rng, page: Page, count: int) -> list[Fact]:
    """Rows of random words and digits; the question begins one of them and the answer goes on with it."""
    alphabet, made = np.concatenate([page.words, page.digits]), []
    for _ in range(count):
        row = rng.choice(alphabet, 20).tolist()
        made.append(Fact([row], row[:4], row[4:]))
    return made


def _different(rng: Rng, draw: Callable[[], tuple[int, ...]], count: int) -> list[tuple[int, ...]]:
    """`count` different draws, in the order drawn."""
    found: dict[tuple[int, ...], None] = {}
    while len(found) < count:
        found[draw()] = None
    return list(found)


TASKS = {
    "needle": Task(needle),
    "passkey": Task(passkey),
    "multi_needle": Task(needle, count=8),
    "key_value": Task(key_value, count=None),
    "json_pairs": Task(json_pairs, count=None),
    "variable_tracking": Task(variable_tracking, count=2),
    "frequent_word": Task(frequent_word, count=None),
    "count": Task(count_pings),
    "copy": Task(copy, count=4),
}
