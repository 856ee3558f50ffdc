"""The settings of `retrieval`: what a cache, its layers and their indexes are told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from fovea.attention_retrieval.attention import Attention
from fovea.attention_retrieval.corrections.correction import Correction
from fovea.attention_retrieval.index.engine import Engine
from fovea.attention_retrieval.rounding import Dtype
from fovea.attention_retrieval.selection.selection import Selection
from fovea.rag.component import SpeedOnly


class RetrievalSettings(Attention):
    """Zones of a text's tokens, the index over the far ones, and how vectors are kept."""

    sinks: NonNegativeInt = 128
    """The first tokens, which every query attends to."""

    window: PositiveInt = 512
    """The last tokens, which every query attends to."""

    select: Selection | None = None
    """What a step reads of the tokens between them, all heads of a layer at once, in place of `engine`, `top_k` and
    `correction`: `{use: wave}`, which is what `auto` means where neither of these is set."""

    top_k: NonNegativeInt | None = None
    """Keys that each query attends to beyond these: 100 for an `engine` where it is left out. With 0 there is no
    index, and nothing to correct."""

    engine: Engine | Literal["auto"] = "auto"
    """The index of each head; `auto` chooses by the length of the text and whether it will be asked again."""

    correction: Correction | None = Field(default_factory=lambda: Correction.model_validate({"use": "tail"}))
    """What stands for the tokens that were not found: `{use: tail}`, `{use: lift}`, or null for nothing."""

    reuse: bool = False
    """Whether the text will be asked more than once: then a slower build that searches faster pays, and the prompt's
    queries are kept for it to learn from."""

    build_seconds: PositiveFloat | None = None
    """What the index of one head may take to build; `auto` takes another engine where it expects more."""

    dtype: Dtype = "bf16"
    """How keys and values are kept: bf16, fp32, or int8 and int4 with a scale a channel (keys) or a token (values)."""

    dense_below: NonNegativeInt = 2048
    """Up to this many tokens a decoded token attends to all of them."""

    insert_every: PositiveInt = 1024
    """Tokens that have left the window wait, attended to exactly, until so many are there for the index to take in."""

    exact_prompt: bool = True
    """Whether a prompt that follows a text already read attends to all of it; else it is read token by token, like an
    answer, which costs far less where the text is long and the question short."""

    prompt_window: PositiveInt | None = None
    """While a prompt is read, tokens attend to the sinks and to so many tokens before them, so that reading takes time
    in proportion to the text; to all, if left out."""

    queries: PositiveInt = 4096
    """Queries of the prompt, per kv head, that the index learns from."""

    audit_every: NonNegativeInt = 64
    """At every so many tokens, one head's search is repeated exactly, for the report and so that the index may learn;
    0 never does."""

    watch: bool = False
    """Whether to keep how much attention each token got while the answer was written: `RetrievalCache.attention`."""

    threads: SpeedOnly[NonNegativeInt] = 0
    """Threads that search, heads side by side; 0 is one a processor."""

    seed: NonNegativeInt = 0
    """Decides what the index draws while it is built."""

    @property
    def k(self) -> int:
        """Keys that a search of an engine brings."""
        return 100 if self.top_k is None else self.top_k

    @property
    def selection(self) -> Selection | None:
        """What reads for all heads at once; None where heads are searched one by one, or not at all."""
        plain = self.engine == "auto" and self.top_k is None and not self.reuse
        estimated = self.correction is not None and self.correction.name == "tail"
        return self.select or (Selection.model_validate({"use": "wave"}) if plain and estimated else None)
