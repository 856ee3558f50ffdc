"""A prompt composed of passages that were read before: each alone, behind the instruction, and kept.

The prompt is the one that would be read whole, token by token. A passage is kept as it is in a prompt of its own, where
it is number 1; in another place its number is read anew, and all else of it is looked up by its tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from fovea.attention_retrieval.cache.rotation import Rotation
from fovea.attention_retrieval.memory.composed import Composed, Placed, compose
from fovea.attention_retrieval.memory.read_text import ReadText, read_text
from fovea.pipelines.answering.prompt import INSTRUCTION, blocks, messages
from fovea.rag.causal_lm import CausalLM
from fovea.rag.corpus import Corpus
from fovea.rag.types import Hit, Query

Keep = Callable[[str, Callable[[], ReadText]], ReadText]
"""The text of a key, from where it is kept, or made and kept."""
ANY = Query("?")
"""The question of a prompt of which only the passage is read."""


@dataclass(frozen=True)
class Passages:
    """What reads passages once for a model: under the same instruction, with the same `keep`."""

    lm: CausalLM
    rotation: Rotation
    keep: Keep
    identity: str
    """What decides keys and values beside the tokens: the model by its content, and its type of numbers."""
    instruction: str = INSTRUCTION
    behind: bool = True
    """Whether passages are read behind the instruction; else with nothing before them."""

    def compose(self, query: Query, hits: Sequence[Hit], corpus: Corpus | None, recompute: float) -> Composed:
        """Keys and values of the prompt of `hits`, but for its last token."""
        ids, places = self._prompt(query, hits, corpus)
        opening = self._opening(ids[: places[0].start])
        placed = [Placed(0, opening, exact=True)]
        for n, (place, hit) in enumerate(zip(places, hits)):
            alone = self.read(hit, corpus)
            same = self.behind and n == 0 and alone.ids.tolist() == ids[place.start : place.stop]
            placed += [Placed(place.start + at, part, same) for at, part in held(alone, ids[place.start : place.stop])]
        return compose(self.lm, self.rotation, ids[:-1], placed, recompute)

    def read(self, hit: Hit, corpus: Corpus | None = None) -> ReadText:
        """A passage, as number 1 behind the instruction; read now if it is not kept."""
        ids, places = self._prompt(ANY, [hit], corpus)
        opening, block = ids[: places[0].start], ids[places[0].start : places[0].stop]

        def make() -> ReadText:
            return read_text(self.lm, self.rotation, block, self._opening(opening) if self.behind else None)

        return self.keep(self._key(opening if self.behind else [], block), make)

    def _opening(self, ids: list[int]) -> ReadText:
        """What stands before the first passage."""
        return self.keep(self._key([], ids), lambda: read_text(self.lm, self.rotation, ids))

    def _key(self, before: Sequence[int], ids: Sequence[int]) -> str:
        said = np.array([len(before), *before, *ids], np.int64).tobytes()
        return blake2b(said, key=blake2b(self.identity.encode()).digest(), digest_size=20).hexdigest()

    def _prompt(self, query: Query, hits: Sequence[Hit], corpus: Corpus | None) -> tuple[list[int], list[range]]:
        """The tokens of a prompt, and those that lie wholly inside each passage's tags."""
        said = messages(query, hits, self.instruction, corpus)
        text, offsets = self.lm.prompt(said)
        starts, ends = np.array([a for a, _ in offsets]), np.array([b for _, b in offsets])
        places, at = [], 0
        for block in blocks(hits, corpus):
            at = text.index(block, at)
            inside = np.flatnonzero((starts >= at) & (ends <= at + len(block)) & (ends > starts))
            places.append(range(int(inside[0]), int(inside[-1]) + 1))
            at += len(block)
        return self.lm.tokens(said), places


def held(alone: ReadText, ids: Sequence[int]) -> Iterator[tuple[int, ReadText]]:
    """The parts of `alone` that `ids` begins and ends with, and where in `ids` they are: between them is the number."""
    mine = alone.ids.tolist()
    most = min(len(mine), len(ids))
    first = next((n for n in range(most) if mine[n] != ids[n]), most)
    last = next((n for n in range(most - first) if mine[-1 - n] != ids[-1 - n]), most - first)
    if first:
        yield 0, alone.part(0, first)
    if last:
        yield len(ids) - last, alone.part(len(mine) - last, len(mine))
