"""The settings of `retrieval`: what a cache, its layers and their indexes are told.

    reading           prefill       which tokens a prompt's token reads           null: all before it
    after reading     evict         which tokens are kept                         null: all
    each step         heads         which heads read the whole text               null: all
                      select        what these read of the tokens that are far
                      correct       what stands for those that they do not read

A method of attention is a choice at each of these moments; every one is a component, and null or left out is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from fovea.attention_retrieval.attention import Attention
from fovea.attention_retrieval.corrections.act import ActCorrection
from fovea.attention_retrieval.corrections.correction import Correction
from fovea.attention_retrieval.eviction.eviction import Eviction
from fovea.attention_retrieval.heads.heads import Heads
from fovea.attention_retrieval.index.engine import Engine
from fovea.attention_retrieval.prefill.prefill import Prefill
from fovea.attention_retrieval.rotation import Rotation
from fovea.attention_retrieval.rounding import Dtype
from fovea.attention_retrieval.selection.selection import Selection
from fovea.rag.component import SpeedOnly


class RetrievalSettings(Attention):
    """Zones of a text's tokens, the index over the far ones, and how vectors are kept."""

    sinks: NonNegativeInt = 128
    """The first tokens, which every query attends to."""

    window: PositiveInt = 512
    """The last tokens, which every query attends to."""

    prefill: Prefill | None = None
    """While a prompt is read, what a token reads of those before it: `{use: band, window: 1024}`, or null for all."""

    evict: Eviction | None = None
    """What is kept of a prompt when the first token after it is decoded: `{use: snapkv, keep: 2048}`, or null for
    all."""

    heads: Heads | None = None
    """Which heads read the whole text while others attend to sinks and a window: `{use: retrieval_heads, ...}`, or null
    for all of them."""

    select: Selection | None = None
    """What a step reads of the tokens between them, all heads of a layer at once, in place of `engine`, `top_k` and
    `correct`: `{use: wave}`, which is what `auto` means where neither of these is set."""

    top_k: NonNegativeInt | None = None
    """Keys that each query attends to beyond these: 100 for an `engine` where it is left out. With 0 there is no
    index, and nothing to correct."""

    engine: Engine | Literal["auto"] = "auto"
    """The index of each head; `auto` chooses by the length of the text and whether it will be asked again."""

    correct: Correction | None = Field(default_factory=lambda: Correction.model_validate({"use": "tail"}))
    """What stands for the tokens that were not found: `{use: tail}`, `{use: lift}`, or null for nothing; `{use: act,
    heads: ...}` changes besides what a decoded token attends to, whatever reads it."""

    reuse: bool = False
    """Whether the text will be asked more than once: then a slower build that searches faster pays, and the prompt's
    queries are kept for it to learn from."""

    build_seconds: PositiveFloat | None = None
    """What the index of one head may take to build; `auto` takes another engine where it expects more."""

    dtype: Dtype = "bf16"
    """How keys and values are kept: bf16, fp32, or int8 and int4 with a scale a channel (keys) or a token (values)."""

    dense_below: NonNegativeInt = 4096
    """Up to this many tokens a decoded token attends to all of them: until there, clusters cost what they save."""

    insert_every: PositiveInt = 1024
    """Tokens that have left the window wait, attended to exactly, until so many are there for the index to take in."""

    exact_prompt: bool = True
    """Whether a prompt that follows a text already read attends to all of it; else it is read token by token, like an
    answer, which costs far less where the text is long and the question short."""

    queries: PositiveInt = 4096
    """Queries of the prompt, per kv head, that the index learns from."""

    audit_every: NonNegativeInt = 64
    """At every so many tokens, one head's search is repeated exactly, for the report and so that the index may learn;
    0 never does."""

    watch: bool | Literal["auto"] | tuple[tuple[NonNegativeInt, NonNegativeInt], ...] = False
    """Whether to keep how much attention each token got while the answer was written: `RetrievalCache.attention`. Of
    all heads; `auto` of those that point at evidence (`fovea heads MODEL`); or of a list of [layer, head] from 0."""

    threads: SpeedOnly[NonNegativeInt] = 0
    """Threads that search, heads side by side; 0 is one a processor."""

    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    """Decides what the index draws while it is built."""

    @model_validator(mode="after")
    def _fits(self) -> RetrievalSettings:
        if self.watch and (own := [name for name in ("evict", "heads") if getattr(self, name)]):
            raise ValueError(f"watch counts tokens that all heads read alike: leave out {' and '.join(own)}, or watch")
        if self.evict and self.evict.wants_heads and not self.heads:
            what = "evict.budget shares rows out by a policy of heads, and heads is not set"
            raise ValueError(f"{what}: heads: {{use: retrieval_heads}}, or budget: even")
        if self.evict and self.heads and self.heads.queries:
            what = f"heads: {{use: {self.heads.name}}} and evict both look at the prompt's last queries"
            raise ValueError(f"{what}: leave out one or the other")
        idle = [name for name in _BESIDE_SELECT if getattr(self, name) != self._default(name)]
        if self.select and self.select.name != "retrieval" and self.missing != self._default("correct"):
            idle.append("correct")
        if self.select and idle:
            what = f"select: {{use: {self.select.name}}} takes the place of {' and '.join(idle)}"
            raise ValueError(f"{what}: leave out one or the other")
        if self.select and (not_beside := [each for each in self.select.excludes.items() if getattr(self, each[0])]):
            name, why = not_beside[0]
            raise ValueError(f"select: {{use: {self.select.name}}} beside {name}: {why}")
        self._calms()
        here, there = self.missing, getattr(self.select, "correct", self.missing)
        if here != there and self._default("correct") not in (here, there):
            raise ValueError("correct stands here and under select, and says two things: leave out one or the other")
        return self

    def _calms(self) -> None:
        """Refuse `act` where it would calm nothing, or not the attention that there is."""
        if isinstance(getattr(self.select, "correct", None), ActCorrection):
            raise ValueError("act is of all attention, not of what select reads: say correct: {use: act} beside select")
        if not self.calming:
            return
        if not self.calming.heads:
            raise ValueError("act names no heads: heads: [[layer, head], ...], those that gain by it in a model")
        beside = [name for name in ("watch", "evict", "heads") if getattr(self, name)]
        if beside or (self.select and self.select.moves):
            what = f"act changes the attention of all tokens at their places: leave out {' and '.join(beside)}"
            raise ValueError(what if beside else f"{what}positions: remapped")

    def _default(self, name: str) -> object:
        return type(self).model_fields[name].get_default(call_default_factory=True)

    @property
    def calming(self) -> ActCorrection | None:
        """What takes sinks down in all attention together."""
        return self.correct if isinstance(self.correct, ActCorrection) else None

    @property
    def missing(self) -> Correction | None:
        """What stands for rows that were not found."""
        return self.calming.rest if self.calming else self.correct

    @property
    def wants_rotation(self) -> bool:
        """Where the selection does."""
        return self.select is not None and self.select.wants_rotation

    def with_rotation(self, rotation: Rotation) -> RetrievalSettings:
        """The same, its selection with this."""
        return self.model_copy(update={"select": self.select and self.select.with_rotation(rotation)})

    def check_model(self, model: str, identity: Callable[[str], str]) -> None:
        """Where the selection does."""
        if self.select:
            self.select.check_model(model, identity)

    @property
    def last_queries(self) -> int | None:
        """How many of a prompt's last queries are kept for `evict` or `heads`; None where neither will look."""
        if self.evict:
            return self.evict.queries
        return (self.heads.queries or None) if self.heads else None

    def watched(self, layer: int, heads: int) -> list[int]:
        """Which of the `heads` query heads of a layer are watched."""
        if isinstance(self.watch, tuple):
            return sorted({head for at, head in self.watch if at == layer and head < heads})
        return list(range(heads)) if self.watch else []

    @property
    def selection(self) -> Selection | None:
        """What reads the tokens that are far; None where nothing does."""
        if self.select and self.select.name == "retrieval" and self.missing != self._default("correct"):
            return self.select.model_copy(update={"correct": self.missing})
        if self.select or self.top_k == 0:
            return self.select
        estimated = self.missing is not None and self.missing.name == "tail"
        if self.engine == "auto" and self.top_k is None and not self.reuse and estimated:
            return Selection.model_validate({"use": "wave"})
        own = {name: getattr(self, "missing" if name == "correct" else name) for name in _SEARCHED}
        return Selection.model_validate({"use": "retrieval", "top_k": self.top_k or 100, **own})


_BESIDE_SELECT = ("top_k", "engine", "reuse", "build_seconds")
_SEARCHED = ("engine", "correct", "reuse", "build_seconds", "audit_every", "threads")
"""Settings of the selection `retrieval` that stand here as well, so that they need not be named under `select`."""
