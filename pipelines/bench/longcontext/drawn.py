"""Caches filled without reading: queries, keys and values drawn as a model's own are distributed.

    x ~ N(mean, covariance), both of each head's own vectors over the first `PROBE` tokens of a text

The first tokens of all, the sinks, are the text's own. Enough for the time of a step, which depends on how many vectors
there are and, of an index, on how they lie; not for what is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fovea.pipelines.bench.longcontext.handing import HandingCache, Read
from fovea.pipelines.bench.longcontext.twins import Twins, pieces, read
from fovea.rag.errors import ModelError

PROBE, FIRST = 512, 4


def probe(twins: Twins, ids: Sequence[int]) -> list[Read]:
    """What every layer is given of a text's first `PROBE` tokens; raises ModelError for a layer that cannot be seen."""
    found: list[Read] = []
    model = twins.handing
    read(model, HandingCache(model.config, found.append), list(ids[:PROBE]), 0)
    layers = int(model.config.get_text_config().num_hidden_layers)
    if unseen := sorted(set(range(layers)) - {one.layer for one in found}):
        raise ModelError(
            f"layer {unseen[0]} of {twins.lm.name} has no attention that goes through transformers' interface",
            fix="a model of another architecture, such as Llama, Qwen, Mistral, Phi or SmolLM",
        )
    return found


def draw(seen: Sequence[Read], tokens: int, seed: int, size: int = 256) -> Iterator[Read]:
    """`tokens` tokens in pieces of `size`, each for all layers in turn; the first `FIRST` of a layer are those seen."""
    source = torch.Generator().manual_seed(seed)
    normal = [{name: Normal.of(getattr(one, name)) for name in ("queries", "keys", "values")} for one in seen]
    for start, stop in pieces(tokens, size):
        for one, each in zip(seen, normal):
            new = {name: normal.draw(stop - start, source) for name, normal in each.items()}
            if start == 0:
                for name, drawn in new.items():
                    few = min(FIRST, stop)
                    drawn[:, :, :few] = getattr(one, name)[:, :, :few]
            yield Read(one.module, one.layer, new["queries"], new["keys"], new["values"], one.scaling)


@dataclass(frozen=True)
class Normal:
    """A normal distribution for each head: mean (heads, 1, d) and a factor of the covariance (heads, d, d)."""

    mean: torch.Tensor
    factor: torch.Tensor
    like: torch.Tensor

    @classmethod
    def of(cls, seen: torch.Tensor) -> Normal:
        """Of vectors (1, heads, tokens, d), the first few left out."""
        rows = seen[0, :, FIRST:].float()
        mean = rows.mean(dim=1, keepdim=True)
        spread = rows - mean
        covariance = spread.transpose(1, 2) @ spread / max(rows.shape[1] - 1, 1)
        value, vector = torch.linalg.eigh(covariance)
        return cls(mean, vector * value.clamp_min(0).sqrt()[:, None], seen)

    def draw(self, tokens: int, source: torch.Generator) -> torch.Tensor:
        """(1, heads, tokens, d)."""
        heads, _, d = self.factor.shape
        noise = torch.randn(heads, tokens, d, generator=source).to(self.factor.device)
        return (self.mean + noise @ self.factor.transpose(1, 2))[None].to(self.like.device, self.like.dtype)


def fill(take: Callable[[Read], Any], seen: Sequence[Read], tokens: int, seed: int) -> None:
    """Hand `tokens` drawn tokens on."""
    with torch.inference_mode():
        for one in draw(seen, tokens, seed):
            take(one)
