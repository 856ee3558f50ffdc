"""Passkeys: numbers hidden in a text, all asked for at its end; what heads are trained and profiled by.

    text = passkeys(tokenizer, sentences, tokens=512, keys=3, digits=8, seed=[0, 1])
    text.ids[text.answer.start : text.answer.stop]      the numbers, one after the other

Only a head that looks far behind can help with the answer, and only where a number was said. (DuoAttention hides ten of
32 digits in 1,000 to 32,000 tokens.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fovea.rag.errors import ConfigError

NAMES = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


@dataclass(frozen=True)
class Passkeys:
    """The tokens of a text, and which of them, at its end, are the answer."""

    ids: list[int]
    answer: range


def passkeys(
    tokenizer: Any, sentences: Sequence[str], *, tokens: int, keys: int, digits: int, seed: Sequence[int]
) -> Passkeys:
    """A text of at most `tokens` tokens, of `sentences` from a drawn one on; the same one for a seed.

    Raises ConfigError where the numbers alone are longer.
    """
    rng = np.random.default_rng(list(seed))
    numbers = ["".join(map(str, rng.integers(0, 10, digits))) for _ in range(keys)]
    told = [f"The {name} pass key is {number}. Remember it.\n" for name, number in zip(NAMES, numbers)]
    head = _encoded(tokenizer, "Some pass keys are hidden in this text. They are asked for at its end.\n\n", True)
    question = _encoded(tokenizer, "\nWhat are the pass keys, in the order of their names?\nThey are")
    answer = _encoded(tokenizer, f" {', '.join(numbers)}.")
    hidden = [_encoded(tokenizer, each) for each in told]
    room = tokens - len(head) - len(question) - len(answer) - sum(map(len, hidden))
    if room < 0:
        what = f"{keys} pass keys of {digits} digits are longer than {tokens} tokens"
        raise ConfigError(what, fix=f"--set lengths=[{tokens - room + 100}], or fewer keys or digits")
    lines, used, at = [], 0, int(rng.integers(len(sentences)))
    while used < room:
        lines.append(_encoded(tokenizer, f"{sentences[at % len(sentences)]}\n")[: room - used])
        used, at = used + len(lines[-1]), at + 1
    for each, place in zip(hidden, rng.integers(0, len(lines) + 1, keys)):
        lines.insert(int(place), each)
    before = [*head, *(token for line in lines for token in line), *question]
    return Passkeys([*before, *answer], range(len(before), len(before) + len(answer)))


def _encoded(tokenizer: Any, text: str, begins: bool = False) -> list[int]:
    return list(tokenizer(text, add_special_tokens=begins)["input_ids"])
