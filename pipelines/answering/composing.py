"""A prompt composed of passages that were read before: each alone, behind the instruction, and kept.

The prompt is the one that would be read whole, token by token. A passage is kept as it is in a prompt of its own, where
it is number 1; in another place its number is read anew, and all else of it is looked up by its tokens.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from fovea.attention_retrieval.memory.composed import Composed, Placed, compose
from fovea.attention_retrieval.memory.kept import KeptTexts
from fovea.attention_retrieval.memory.read_text import Kept, ReadText, read_text
from fovea.attention_retrieval.memory.shelf import Shelf
from fovea.attention_retrieval.rotation import Rotation
from fovea.pipelines.answering.held import digest_of
from fovea.pipelines.answering.prompt import INSTRUCTION, blocks, messages
from fovea.rag.causal_lm import CausalLM
from fovea.rag.corpus import Corpus
from fovea.rag.errors import ModelError
from fovea.rag.types import Hit, Query

ANY = Query("?")
"""The question of a prompt of which only the passage is read."""


class PassageRead(NamedTuple):
    """A passage, its key, whether it was read now or found, and the bytes of its file, 0 where it has none."""

    key: str
    text: ReadText
    now: bool
    bytes: int


class Laid(NamedTuple):
    """A prompt: its tokens, and those that lie wholly inside each passage's tags."""

    ids: list[int]
    places: list[range]

    @property
    def opening(self) -> list[int]:
        """What stands before the first passage."""
        return self.ids[: self.places[0].start]


@dataclass(frozen=True)
class Passages:
    """What reads passages once for a model, under one instruction."""

    lm: CausalLM
    rotation: Rotation
    kept: KeptTexts
    identity: str
    """What decides keys and values beside the tokens: the model by its content, and its type of numbers."""
    instruction: str = INSTRUCTION
    behind: bool = True
    """Whether passages are read behind the instruction; else with nothing before them."""

    def compose(
        self, query: Query, hits: Sequence[Hit], corpus: Corpus | None, recompute: float
    ) -> tuple[Composed, dict[str, Any]]:
        """Keys and values of the prompt of `hits`, but for its last token; and what the trace says of it."""
        began, prompt = time.perf_counter(), self.laid(query, hits, corpus)
        placed, now = [Placed(0, self.opening(prompt.opening), exact=True)], 0
        for n, (place, hit) in enumerate(zip(prompt.places, hits)):
            read, ids = self.read(hit, corpus), prompt.ids[place.start : place.stop]
            alone, now = read.text, now + read.now
            same = self.behind and n == 0 and alone.ids.tolist() == ids
            placed += [Placed(place.start + at, part, same) for at, part in held(alone, ids)]
        made = compose(self.lm, self.rotation, prompt.ids[:-1], placed, recompute)
        said = {"from": "composed", "passages": len(hits), "of them read now": now, "tokens": made.kept}
        more = {"recomputed": made.recomputed, "then": made.fresh + 1}
        return made, {**said, **more, "seconds": round(time.perf_counter() - began, 3)}

    def read(self, hit: Hit, corpus: Corpus | None = None) -> PassageRead:
        """A passage, as number 1 behind the instruction; read now and kept, if it is not."""
        ids, places = prompt = self.laid(ANY, [hit], corpus)
        block = ids[places[0].start : places[0].stop]
        key = self.key(prompt.opening if self.behind else [], block)
        if found := self.kept.find(key):
            return PassageRead(key, found, False, self.kept.size(key))
        made = read_text(self.lm, self.rotation, block, self.opening(prompt.opening) if self.behind else None)
        return PassageRead(key, made, True, self.kept.keep(key, made, about_of(hit)))

    def opening(self, ids: list[int]) -> ReadText:
        """What stands before the first passage."""
        return self.kept.opening(self.key([], ids), lambda: read_text(self.lm, self.rotation, ids))

    def key(self, before: Sequence[int], ids: Sequence[int], part: str = "") -> str:
        """The name of what is kept of tokens behind others."""
        said = np.array([len(before), *before, *ids], np.int64).tobytes()
        return blake2b(said, key=blake2b(f"{self.identity}\0{part}".encode()).digest(), digest_size=20).hexdigest()

    def laid(self, query: Query, hits: Sequence[Hit], corpus: Corpus | None = None) -> Laid:
        """The prompt as it would be read whole; raises ModelError for a template that rewrites passages."""
        said = messages(query, hits, self.instruction, corpus)
        text, offsets = self.lm.prompt(said)
        starts, ends = np.array([a for a, _ in offsets]), np.array([b for _, b in offsets])
        places, at = [], 0
        for block in blocks(hits, corpus):
            at = text.find(block, at)
            inside = np.flatnonzero((starts >= at) & (ends <= at + len(block)) & (ends > starts))
            if at < 0 or not len(inside):
                what = f"the chat template of {self.lm.name} does not keep passages as they are: none can be composed"
                raise ModelError(what, fix="leave out read, or read: documents")
            places.append(range(int(inside[0]), int(inside[-1]) + 1))
            at += len(block)
        return Laid(self.lm.tokens(said), places)


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


def about_of(hit: Hit) -> dict[str, Any]:
    """Of which passage a file is, for people, and to tell whether that is still there."""
    chunk = hit.chunk
    return {"kind": "passages", "name": chunk.document_id, "part": [chunk.start, chunk.end],
            "text": digest_of(chunk.text), "source": chunk.where}  # fmt: skip


def passages_for(
    lm: CausalLM, model: str, content: str, shelf: Shelf | None, dtype: Kept, instruction: str = INSTRUCTION
) -> Passages:
    """What reads passages once for `model`, whose files `content` names. Raises ModelError for a model whose keys
    cannot be moved to another place.
    """
    about = {"model": model, "content": content, "dtype": dtype}
    identity = "\0".join([content, str(lm.model.dtype), dtype])
    return Passages(lm, Rotation.of(lm.model), KeptTexts(shelf, dtype, about), identity, instruction)
