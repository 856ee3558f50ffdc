"""Gates learned on a model that stays as it is, from where its own attention lies.

    loss = KL(target | softmax(scores))       over a query's blocks, or a text's rows; the mean of all heads and layers

    seer         target: the largest attention in a block, of any query of a kv head's group, as SeerAttention-R has it
    landmark     target: the attention of a query head to all rows of a block
    value_gate   target: the attention that later queries give a row, of a kv head's group together

Scores are those of `selection/seer.py`, `landmark.py` and `value_gate.py`. Of blocks the loss is the mean of what it is
with the text's first block, that of the sinks, and without. A gate of blocks begins as their mean key: what is learned
is what is better than that. Every fourth text hides pass keys; others are what is given, or
made-up prose. The papers train on .4 to 15 billion tokens; here some ten thousand queries of each layer are enough to
be better than what needs no training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field, PositiveInt

from fovea.attention_retrieval.probes import gate_modules
from fovea.attention_retrieval.probes.gate_reads import Arrays, Reader
from fovea.attention_retrieval.probes.passkeys import passkeys
from fovea.attention_retrieval.rotation import Rotation
from fovea.rag.causal_lm import CausalLM
from fovea.rag.component import fingerprint
from fovea.rag.training.recipe import Recipe, Task

DEV = 1 << 20
"""From here on texts are those that are measured with."""
NEEDLES = 4
"""Every so many texts, one hides pass keys."""


class Gates(Recipe):
    """Gates of a model's layers, distilled from its own attention."""

    kind: ClassVar[str] = "selection"
    reads_vectors: ClassVar[bool] = False

    steps: int = 400
    every: int = 50
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    tokens: PositiveInt = 2048
    """Of a text."""
    size: PositiveInt = 64
    """Rows of a block."""
    queries: PositiveInt = 256
    """Of a text that are learned from."""
    values: PositiveInt = 512
    """Of a text that are learned from, by those that learn from values."""
    keys: Annotated[int, Field(ge=1, le=10)] = 3
    """Pass keys in every fourth text."""
    digits: PositiveInt = 8
    """Of a pass key."""
    texts: PositiveInt = 28
    """That are trained on in turn."""
    measured: PositiveInt = 4
    """Others, that are measured with."""


class Seer(Gates):
    """SeerAttention-R's gates of blocks, of each kv head, distilled from the model's own attention."""

    method: ClassVar[str] = "seer"

    width: Annotated[int, Field(ge=2, multiple_of=2)] = 64
    """Numbers of a gate's query and key."""


class Landmark(Gates):
    """A landmark key for each block, learned from the model's own attention, which stays as it is."""

    method: ClassVar[str] = "landmark"


class ValueGate(Gates):
    """Dynamic Mask Attention's gate: what a row is worth by its value, learned from the model's own attention."""

    method: ClassVar[str] = "value_gate"

    learning_rate: float = 1e-2


RECIPES: Mapping[str, type[Gates]] = {each.method: each for each in (Seer, Landmark, ValueGate)}


@dataclass(frozen=True)
class Texts:
    """What gates are learned on."""

    whole: Sequence[str]
    sentences: Sequence[str]

    def ids(self, tokenizer: Any, recipe: Gates, seed: list[int]) -> tuple[list[int], range]:
        """The tokens of the text of a seed, and those that are looked at first of all; the same for the same seed."""
        if seed[-1] % NEEDLES == NEEDLES - 1:
            size = {"tokens": recipe.tokens, "keys": recipe.keys, "digits": recipe.digits}
            made = passkeys(tokenizer, self.sentences, **size, seed=seed)
            return made.ids, range(made.answer.start - 1, made.answer.stop - 1)
        rng = np.random.default_rng(seed)
        at = int(rng.integers(len(self.whole)))
        first = int(rng.integers(max(len(self.whole[at]) - 5 * recipe.tokens, 1)))
        text = "\n\n".join([self.whole[at][first:], *self.whole[at + 1 :], *self.whole[:at]])
        return list(tokenizer(text[: 12 * recipe.tokens], verbose=False)["input_ids"])[: recipe.tokens], range(0)


class GateTask(Task):
    """A model's gates, and the texts that they are learned on; `given` tells the model and its texts from others."""

    def __init__(
        self, lm: CausalLM, texts: Texts, recipe: Gates, seed: int, folder: Path, given: Mapping[str, str]
    ) -> None:
        config = lm.model.config.get_text_config()
        heads = config.num_attention_heads
        kv_heads = getattr(config, "num_key_value_heads", None) or heads
        d = getattr(config, "head_dim", None) or config.hidden_size // heads
        self.shape = gate_modules.Shape(config.num_hidden_layers, heads, kv_heads, d, recipe.size)
        self.lm, self.texts, self.recipe, self.seed = lm, texts, recipe, seed
        self.rotation = Rotation.of(lm.model)
        self.model = self.gate = gate_modules.made(recipe, self.shape, self.rotation)
        reading = {name: getattr(recipe, name) for name in ("tokens", "size", "queries", "values", "keys", "digits")}
        asked = fingerprint([reading, seed, dict(given)])
        self.reader = Reader(lm, self.rotation, recipe.size, recipe.queries, recipe.values, folder, asked)

    def loss(self, step: int) -> torch.Tensor:
        """Of one text."""
        return self.gate.loss(self._read(step % self.recipe.texts))

    def scores(self) -> dict[str, float]:
        """The loss of the texts that are measured with."""
        losses = [float(self.gate.loss(self._read(DEV + n)).detach()) for n in range(self.recipe.measured)]
        return {"KL": float(np.mean(losses))}

    def arrays(self) -> dict[str, np.ndarray]:
        """What is learned, by name: (layers, kv heads, ...), in half precision."""
        return {name: each.detach().cpu().half().numpy() for name, each in self.gate.named_parameters()}

    def about(self) -> dict[str, Any]:
        """The model's shape, and how it turns keys."""
        turns = {"turns": self.rotation.frequencies.tolist(), "interleaved": self.rotation.interleaved}
        return {"model_name": self.lm.name, **self.shape._asdict(), **turns, **self.gate.about()}

    def _read(self, n: int) -> Arrays:
        seed = [self.seed, n]
        return self.reader.text(n, lambda: self.texts.ids(self.lm.tokenizer, self.recipe, seed), seed)
