"""Which heads gain where their sinks in mid-text are attended to less: each is tried alone on prompts and answers.

    gain = mean over examples of log p(answer | prompt, head h calmed) - log p(answer | prompt)      nats a token

What is changed is what decoding will change: the rows behind the prompt, by sinks that the prompt's own rows tell. The
first token of an answer comes from the prompt's last row, which is read as it is, so it does not count. Of ACT's heads
those stay that gain, layers 0 and 1 left out. (arXiv 2406.15765: some 900 samples, accuracy in place of likelihood)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import ConfigDict, Field, PositiveFloat

from fovea.attention_retrieval.corrections.act import ActCorrection
from fovea.attention_retrieval.probes.through import Called, through
from fovea.rag.causal_lm import CausalLM
from fovea.rag.errors import ConfigError
from fovea.rag.progress import bar
from fovea.rag.written import Written

FIRST = 2
"""Layers before this one are left as they are."""


class Gains(Written):
    """Heads of a model that gain where their sinks in mid-text are taken down, as ACT finds them, one at a time."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str] = "heads"
    method: ClassVar[str] = "act"

    beta: Annotated[float, Field(ge=0, le=1)] = 0.4
    """What is left of a sink's attention; as in `correct: {use: act}`, like the following."""
    threshold: PositiveFloat = 0.1
    """The mean attention from which on a token is a sink."""


class Example(NamedTuple):
    """Tokens of a prompt, and of an answer of two tokens or more."""

    prompt: Sequence[int]
    answer: Sequence[int]


@dataclass(frozen=True)
class Calmed:
    """One query head's sinks taken down, in the rows behind a prompt of `prompt` tokens."""

    act: ActCorrection
    layer: int
    head: int
    prompt: int

    def __call__(self, called: Called, out: Any) -> Any:
        """Put the map's way in the place of the head's output, (1, tokens, heads, d)."""
        import torch

        if called.layer != self.layer:
            return out
        query = called.query[0, self.head].float() * called.scaling
        key, value = (each[0, self.head // called.group].float() for each in (called.key, called.value))
        at = np.arange(self.prompt)
        there = self.act.sinks(query[: self.prompt].cpu().numpy(), at, key[: self.prompt].cpu().numpy())
        rows = query[self.prompt :] @ key.T
        weights = rows.masked_fill(called.hidden[0, 0, self.prompt :], float("-inf")).softmax(dim=-1)
        sinks = torch.zeros(len(key), dtype=torch.bool, device=key.device)
        sinks[torch.from_numpy(there).long().to(key.device)] = True
        freed = (1 - self.act.beta) * weights[:, sinks].sum(dim=1, keepdim=True)
        others = weights.masked_fill(sinks, 0)
        mapped = torch.where(sinks, self.act.beta * weights, others * (1 + freed / others.sum(dim=1, keepdim=True)))
        out[0, self.prompt :, self.head] = (mapped @ value).to(out.dtype)
        return out


def act_gains(lm: CausalLM, examples: Sequence[Example], act: ActCorrection | None = None) -> np.ndarray:
    """What each query head gains, (examples, layers, heads), nats a token.

    Costs a reading of each example for every head. Raises ConfigError without examples, and for an answer of one token.
    """
    if not examples:
        raise ConfigError("heads are tried on prompts and their answers, and there are none")
    with bar("trying heads", len(examples)) as progress:
        gains = []
        for example in examples:
            gains.append(gains_of(lm, example, act or ActCorrection()))
            progress.advance()
    return np.stack(gains)


def gains_of(lm: CausalLM, example: Example, act: ActCorrection) -> np.ndarray:
    """What each query head gains on one example, (layers, heads); nothing in layers before FIRST."""
    if len(example.answer) < 2:
        raise ConfigError("heads are tried on answers of two tokens or more: the first is read before anything changes")
    config, plain = lm.model.config.get_text_config(), _likelihood(lm, example)
    gains = np.zeros((config.num_hidden_layers, config.num_attention_heads))
    for layer, head in np.argwhere(np.ones_like(gains)).tolist():
        if layer >= FIRST:
            with through(lm.model, Calmed(act, layer, head, len(example.prompt))):
                gains[layer, head] = _likelihood(lm, example) - plain
    return gains


def gaining(gains: np.ndarray) -> list[tuple[int, int]]:
    """The heads whose mean gain (examples, layers, heads) is above its standard error: `ActCorrection.heads`."""
    error = gains.std(axis=0, ddof=1) / len(gains) ** 0.5 if len(gains) > 1 else np.zeros(gains.shape[1:])
    better = (gains.mean(axis=0) > error) & (gains.mean(axis=0) > 0)
    return [(int(layer), int(head)) for layer, head in np.argwhere(better)]


def _likelihood(lm: CausalLM, example: Example) -> float:
    """Mean log-likelihood of an answer's tokens behind the first."""
    import torch

    ids = torch.tensor([[*example.prompt, *example.answer]], device=lm.model.device)
    with torch.inference_mode():
        logits = lm.model(ids, use_cache=False).logits[0, len(example.prompt) : -1].float()
    wanted = torch.tensor(example.answer[1:], device=logits.device)[:, None]
    return float(logits.log_softmax(dim=-1).gather(1, wanted).mean())
