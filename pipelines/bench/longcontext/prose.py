"""Running text to hide facts in, made by rule: the same for the same seed, and without a fact that a task asks for."""

from __future__ import annotations

import random
from collections.abc import Iterator

PEOPLE = (
    "the gardener", "a retired teacher", "the ferryman", "our neighbour", "the young baker", "an old clockmaker",
    "the librarian", "a travelling fiddler", "the postmistress", "the beekeeper", "her brother", "the schoolboy",
    "a visiting painter", "the stationmaster", "the miller's daughter", "the night watchman",
)  # fmt: skip
DEEDS = (
    "walked along the canal", "repaired the wooden gate", "wrote a long letter", "sorted the old photographs",
    "waited under the lime trees", "carried baskets of apples", "listened to the rain", "painted the boathouse",
    "told the children a story", "closed the shutters early", "planted beans behind the shed",
    "counted the passing carts", "baked bread for the fair", "searched the attic for a map", "rowed to the island",
    "mended a fishing net", "read aloud from a worn book", "swept the market square",
)  # fmt: skip
TIMES = (
    "In the early morning", "Before the harvest", "After supper", "On a windy afternoon", "During the long winter",
    "When the bells had rung", "Towards the end of spring", "On the first day of the holidays", "Late in the evening",
    "While the others slept",
)  # fmt: skip
REASONS = (
    "because the weather was about to change", "although nobody had asked for it", "as it had always been done",
    "so that the work would be done by dusk", "and nobody thought much of it", "while the kettle was on the stove",
    "hoping for a quiet hour", "since the road was closed again", "and came home with muddy boots",
    "without saying a word to anyone", "as if there were all the time in the world",
)  # fmt: skip
THOUGHTS = (
    "It was the kind of day that is soon forgotten.", "Nothing of the sort had happened before.",
    "The village looked smaller from the hill.", "People said that the summer would be dry.",
    "A thin smoke rose from the chimneys.", "Somewhere a dog barked and fell silent.",
    "The river had been higher the year before.", "Most of the talk was about the weather and the price of wood.",
)  # fmt: skip


def prose(seed: int) -> Iterator[str]:
    """Sentences without end."""
    rng = random.Random(seed)
    while True:
        if rng.random() < 0.15:
            yield rng.choice(THOUGHTS)
            continue
        time, who, other = rng.choice(TIMES), *rng.sample(PEOPLE, 2)
        first, second = rng.sample(DEEDS, 2)
        match rng.randrange(4):
            case 0:
                yield f"{time}, {who} {first} {rng.choice(REASONS)}."
            case 1:
                yield f"{who.capitalize()} {first}, and {other} {second}."
            case 2:
                yield f"{time} {who} {first}; later {other} {second} {rng.choice(REASONS)}."
            case _:
                yield f"{who.capitalize()} {first} {rng.choice(REASONS)}, and then {second}."
