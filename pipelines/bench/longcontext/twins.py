"""One set of weights, attending in several ways: a model per attention implementation, the parameters shared."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from fovea.pipelines.bench.longcontext import handing
from fovea.rag.causal_lm import CausalLM, cache_argument

FULL = "sdpa"


def twin(model: Any, implementation: str) -> Any:
    """A model of the very same parameters and buffers whose attention is `implementation`."""
    shared = {id(each): each for each in (*model.parameters(), *model.buffers())}
    other = copy.deepcopy(model, shared)
    other.set_attn_implementation(implementation)
    return other


@dataclass
class Twins:
    """The models of one `lm`, made when they are first asked for."""

    lm: CausalLM
    made: dict[str, Any] = field(default_factory=dict)

    def by(self, implementation: str) -> Any:
        """The model that attends by `implementation`, a name that transformers knows."""
        if implementation not in self.made:
            self.made[implementation] = twin(self.lm.model, implementation)
        return self.made[implementation]

    @property
    def handing(self) -> Any:
        """The one that reads with full attention and hands on what it reads, for a `HandingCache`."""
        handing.register()
        return self.by(handing.IMPLEMENTATION)


def read(model: Any, cache: Any, ids: list[int], position: int) -> Any:
    """Read `ids`, of which the first is at `position` of the text; the logits of what follows, (vocabulary,)."""
    import torch

    where = torch.arange(position, position + len(ids), device=model.device)[None]
    tokens = torch.tensor([ids], device=model.device)
    with torch.inference_mode():
        out = model(tokens, position_ids=where, use_cache=True, logits_to_keep=1, **cache_argument(model, cache))
    return out.logits[0, -1].float()


def pieces(tokens: int, size: int) -> list[tuple[int, int]]:
    """`tokens` in pieces of `size`, as (start, stop); none is of one token, which a cache would take for an answer's.

    One token in all is one piece.
    """
    starts = [n for n in range(0, tokens, size) if n == 0 or tokens - n > 1]
    return list(zip(starts, [*starts[1:], tokens]))
