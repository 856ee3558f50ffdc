"""DuoAttention's optimisation: one number a kv head, trained so that the model's answers stay what they were.

    out   = alpha * full + (1 - alpha) * streaming          alpha in [0, 1], 1 at first; streaming: sinks and window
    loss  = mean over an answer's tokens of  |h_full - h_out|^2 / width   +   regularisation * mean |alpha|

h are last hidden states, and the answers are passkeys (`passkeys.py`); the model's own weights are left as they are.
A text is read up to its answer once, with full attention, and its keys and values are kept: heads stream from the first
decoded token here (`heads/duo.py`), so alphas mix the answer's attention alone, and a step costs the answer's tokens
and not the text's. The paper mixes the attention of the whole text, and reads another at each step: 2,000 of them, of
1,000 to 32,000 tokens with ten keys of 32 digits. Its rate rises and falls over a fifth of the steps each; here it goes
as in every training of this project. (Xiao et al., "DuoAttention", 2024, arXiv 2410.10819)
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from transformers import DynamicCache

from fovea.attention_retrieval.probes.passkeys import Passkeys, passkeys
from fovea.attention_retrieval.probes.through import Called, through
from fovea.rag.causal_lm import CausalLM, cache_argument
from fovea.rag.training.loop import seed_of
from fovea.rag.training.recipe import Recipe, Task

DEV = 1 << 20
"""From here on seeds are of texts that are measured with."""


class Alphas(Recipe):
    """Alphas of a model's kv heads, as DuoAttention trains them, on passkeys."""

    kind: ClassVar[str] = "heads"
    method: ClassVar[str] = "duo"
    reads_vectors: ClassVar[bool] = False

    steps: int = 60
    every: int = 20
    patience: int = 100
    learning_rate: float = 0.05
    weight_decay: float = 0.0
    lengths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (768, 1024, 1280)
    """Tokens of a text; each draws one."""
    keys: PositiveInt = 5
    """Pass keys in a text, ten at most."""
    digits: PositiveInt = 8
    """Of a pass key."""
    sinks: NonNegativeInt = 128
    """The first tokens, which a streaming head sees."""
    window: PositiveInt = 256
    """The last tokens, which it sees, its own among them."""
    regularisation: PositiveFloat = 0.05
    """What alphas cost."""
    texts: PositiveInt = 4
    """That are trained on in turn."""
    measured: PositiveInt = 2
    """Others, that are measured with."""


@dataclass(frozen=True)
class Mixed:
    """Attention as `alphas` (layers, kv heads) mix it."""

    alphas: torch.Tensor
    sinks: int
    window: int

    def __call__(self, called: Called, out: Any) -> Any:
        """The mixture, (batch, tokens, heads, d)."""
        tokens, keys = called.query.shape[2], called.key.shape[2]
        at = torch.arange(keys, device=called.query.device)
        mine, at = at[keys - tokens :, None], at[(at < self.sinks) | (at > keys - tokens - self.window)]
        near = (at > mine - self.window) | (at < self.sinks)
        key, value, hidden = called.key[:, :, at], called.value[:, :, at], called.hidden[..., at]
        streaming = torch.nn.functional.scaled_dot_product_attention(
            called.query, key, value, near & ~hidden, scale=called.scaling, enable_gqa=True
        ).transpose(1, 2)
        alpha = self.alphas[called.layer].clamp(0, 1).repeat_interleave(called.group)[:, None].to(out.dtype)
        return alpha * out + (1 - alpha) * streaming


class Read(NamedTuple):
    """A text read up to its answer."""

    cache: Any
    """Keys and values of what is before."""
    asked: torch.Tensor
    """The tokens that tell the answer, each the next one, (1, tokens)."""
    full: torch.Tensor
    """Their last hidden states by full attention, (tokens, width)."""


class _Alphas(torch.nn.Module):
    def __init__(self, layers: int, kv_heads: int) -> None:
        super().__init__()
        self.alphas = torch.nn.Parameter(torch.ones(layers, kv_heads))


class AlphaTask(Task):
    """A model's alphas, and the texts that they are trained on."""

    def __init__(self, lm: CausalLM, sentences: Sequence[str], recipe: Alphas, seed: int) -> None:
        config = lm.model.config.get_text_config()
        kv_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        self.lm, self.sentences, self.recipe, self.seed = lm, sentences, recipe, seed
        self.model = self.mixture = _Alphas(config.num_hidden_layers, kv_heads)
        self.reads: dict[int, Read] = {}
        lm.model.requires_grad_(False)

    def loss(self, step: int) -> torch.Tensor:
        """Of one text."""
        with torch.no_grad():
            self.mixture.alphas.clamp_(0, 1)  # where the last step has left it
        return self._loss(self._read(step % self.recipe.texts), self.mixture.alphas)

    def scores(self) -> dict[str, float]:
        """The loss of the texts that are measured with, and how many heads have an alpha of 0.5 or more, of all."""
        alphas = self.mixture.alphas.detach().clamp(0, 1)
        dev = [self._read(DEV + n) for n in range(self.recipe.measured)]
        loss = float(np.mean([float(self._loss(text, alphas)) for text in dev]))
        return {"loss": loss, "retrieval heads": float((alphas >= 0.5).float().mean())}

    def arrays(self) -> dict[str, np.ndarray]:
        """Alphas."""
        return {"alphas": self.mixture.alphas.detach().clamp(0, 1).numpy()}

    def about(self) -> dict[str, Any]:
        """The model."""
        return {"model": self.lm.name}

    def _text(self, n: int) -> Passkeys:
        recipe = self.recipe
        length = recipe.lengths[seed_of(self.seed, n) % len(recipe.lengths)]
        made = {"tokens": length, "keys": recipe.keys, "digits": recipe.digits, "seed": [self.seed, n]}
        return passkeys(self.lm.tokenizer, self.sentences, **made)  # type: ignore[arg-type]

    def _read(self, n: int) -> Read:
        """Text `n`, read once."""
        if n not in self.reads:
            text, model = self._text(n), self.lm.model
            ids, first = torch.tensor([text.ids], device=model.device), text.answer.start - 1
            cache, asked = DynamicCache(config=model.config), ids[:, first:-1]
            with torch.no_grad():
                self._hidden(cache, ids[:, :first])
                self.reads[n] = Read(cache, asked, self._hidden(copy.deepcopy(cache), asked))
        return self.reads[n]

    def _loss(self, text: Read, alphas: torch.Tensor) -> torch.Tensor:
        with through(self.lm.model, Mixed(alphas.to(text.full.device), self.recipe.sinks, self.recipe.window)):
            mixed = self._hidden(copy.deepcopy(text.cache), text.asked)
        far = (text.full - mixed).float().square().mean().cpu()
        return far + self.recipe.regularisation * alphas.clamp(0, 1).mean()

    def _hidden(self, cache: Any, ids: torch.Tensor) -> torch.Tensor:
        """Last hidden states of tokens (1, tokens), which `cache` takes in, (tokens, width)."""
        model = self.lm.model.base_model
        states: torch.Tensor = model(ids, use_cache=True, **cache_argument(model, cache)).last_hidden_state[0]
        return states
