"""MoA's plan for a model: what each head's attention is worth by distance, and spans that lose least in all.

    E_ij       = -A_ij (g_ij - sum_n A_in g_in) / (1 - A_ij)      what the loss gains if row i of a head loses key j
    lost_h(s)  = sum of E_ij over  i - j >= s,  j >= sinks         of a head whose span is s
    plan       = argmin  sum over kv heads and lengths N of  lost(alpha + beta N) / scale(N)
                 over one rule (alpha, beta) a kv head, with a mean span of at most `density` N at every length N

g is the gradient of the loss of an answer with respect to the weights A; the answers are the model's own, to passkeys
(`passkeys.py`). A rule is chosen by integer programming, HiGHS by scipy. scale(N) is the largest loss of any one rule
for all heads, so that every length counts alike; the paper solves for one length with the others as bounds and
validates at a longer one. One rule serves the group of a kv head, whose losses are summed.
(T. Fu et al., "MoA", 2024, arXiv 2406.14909)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt

from fovea.attention_retrieval.moa_plan import Plan
from fovea.attention_retrieval.probes.passkeys import Passkeys
from fovea.attention_retrieval.probes.through import Called, through
from fovea.rag.causal_lm import CausalLM
from fovea.rag.errors import ConfigError, require
from fovea.rag.written import Written

Share = Annotated[float, Field(ge=0, le=1)]


class Spans(Written):
    """A span's rule for each head of a model, as MoA chooses them, on passkeys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str] = "heads"
    method: ClassVar[str] = "moa"

    lengths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (256, 512)
    """Tokens of the texts that are profiled."""
    texts: PositiveInt = 3
    """Of each length."""
    keys: PositiveInt = 3
    """Pass keys in a text, ten at most."""
    digits: PositiveInt = 8
    """Of a pass key."""
    answer_tokens: PositiveInt = 32
    """What is kept of the model's own answer."""
    sinks: NonNegativeInt = 16
    """The first tokens, which every head sees."""
    density: Share = 0.5
    """The mean span, as a share of the text."""
    alphas: tuple[int, ...] = (-128, 0, 64, 128, 256, 512)
    """Tokens that a rule may begin with."""
    betas: tuple[Share, ...] = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
    """Shares of the text that it may grow by."""
    least: PositiveInt = 64
    """No span is shorter."""

    def span(self, alpha: float, beta: float, tokens: int) -> int:
        """A rule's span of a text."""
        return int(np.clip(max(alpha + beta * tokens, self.least), 1, tokens))


@dataclass
class Shown:
    """Attention by weights that a gradient reaches, kept by layer: (heads, tokens, tokens)."""

    weights: dict[int, Any] = field(default_factory=dict)

    def __call__(self, called: Called, out: Any) -> Any:
        """The same output, made of the weights that are kept."""
        keys, values = (each.repeat_interleave(called.group, dim=1) for each in (called.key, called.value))
        logits = (called.query @ keys.transpose(2, 3)) * called.scaling
        weights = logits.masked_fill(called.hidden, float("-inf")).float().softmax(-1)
        weights.requires_grad_(True)
        weights.retain_grad()
        self.weights[called.layer] = weights
        return (weights.to(values.dtype) @ values).transpose(1, 2)


def profile(lm: CausalLM, text: Passkeys, recipe: Spans) -> np.ndarray:
    """What each head's attention at every distance is worth for the model's own answer, (layers, heads, tokens).

    Rows of sinks are left out. One forward and one backward pass: O(layers * heads * tokens^2) of memory.
    """
    lm.model.requires_grad_(False)
    ids = torch.tensor([text.ids[: text.answer.start]], device=lm.model.device)
    with torch.no_grad():
        said = lm.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=recipe.answer_tokens, do_sample=False
        )
    shown = Shown()
    with through(lm.model, shown), torch.enable_grad():
        logits = lm.model(said, use_cache=False).logits[0, ids.shape[1] - 1 : -1].float()
        torch.nn.functional.cross_entropy(logits, said[0, ids.shape[1] :]).backward()
    config, tokens = lm.model.config.get_text_config(), said.shape[1]
    worth = np.zeros((config.num_hidden_layers, config.num_attention_heads, tokens))
    for layer, weights in shown.weights.items():
        a, g = weights.detach()[0], weights.grad[0]
        gains = -a * (g - (a * g).sum(-1, keepdim=True)) / (1 - a).clamp_min(1e-6)
        gains[:, :, : recipe.sinks] = 0
        worth[layer] = by_distance(gains.cpu().numpy())
    return worth


def by_distance(gains: np.ndarray) -> np.ndarray:
    """Sums of (heads, tokens, tokens) over pairs (i, j) by i - j, (heads, tokens)."""
    tokens = gains.shape[1]
    return np.stack([gains.diagonal(-back, axis1=1, axis2=2).sum(axis=1) for back in range(tokens)], axis=1)


def lost(worth: np.ndarray, span: int) -> np.ndarray:
    """What heads lose that look no further than `span` tokens, (layers, heads), from `worth` by distance."""
    return np.asarray(worth[..., span:].sum(axis=-1))


def plan(worth: Mapping[int, np.ndarray], kv_heads: int, recipe: Spans) -> Plan:
    """The rules that lose least; `worth` holds, by length, (layers, heads, distance).

    Raises ConfigError where no rules are so short.
    """
    rules = [(alpha, beta) for alpha in recipe.alphas for beta in recipe.betas]
    layers, heads = next(iter(worth.values())).shape[:2]
    costs, spans = np.zeros((len(rules), layers * kv_heads)), np.empty((len(worth), len(rules)))
    for n, (tokens, each) in enumerate(worth.items()):
        spans[n] = [recipe.span(*rule, tokens) for rule in rules]
        mine = np.stack([lost(each, int(span)) for span in spans[n]]).reshape(len(rules), layers * kv_heads, -1).sum(2)
        costs += mine / max(np.abs(mine).sum(axis=1).max(), 1e-30)
    density = spans / np.array(list(worth))[:, None]
    chosen = cheapest(costs, density, recipe.density)
    alphas, betas = (
        np.repeat(np.array(rules)[chosen, n].reshape(layers, kv_heads), heads // kv_heads, 1) for n in (0, 1)
    )
    return Plan(alphas=alphas.tolist(), betas=betas.tolist())


def cheapest(costs: np.ndarray, density: np.ndarray, most: float) -> np.ndarray:
    """One rule for each head, (heads,), so that the sum of `costs` (rules, heads) is least and the mean of each row of
    `density` (lengths, rules) over heads is at most `most`. Raises ConfigError where there are none.
    """
    optimize: Any = require("scipy.optimize", extra="models", needed_by="choosing spans")
    sparse: Any = require("scipy.sparse", extra="models", needed_by="choosing spans")
    rules, heads = costs.shape
    one_each = sparse.kron(np.ones((1, rules)), sparse.eye(heads))
    dense = sparse.csr_matrix(np.repeat(density, heads, axis=1) / heads)
    found = optimize.milp(
        costs.ravel(),
        integrality=np.ones(costs.size),
        bounds=optimize.Bounds(0, 1),
        constraints=[optimize.LinearConstraint(one_each, 1, 1), optimize.LinearConstraint(dense, -np.inf, most + 1e-9)],
        options={"mip_rel_gap": 1e-3, "time_limit": 60},
    )
    if found.x is None:
        least = float(density.min(axis=1).max())
        what = f"no rules have a mean span of {most:g} of the text: the shortest have {least:.2f}"
        raise ConfigError(what, where="density", fix=f"--set density={min(least + 0.05, 1):.2f}, or a smaller least")
    return np.asarray(found.x.reshape(rules, heads).argmax(axis=0))


def total(profiles: Sequence[np.ndarray], tokens: int) -> np.ndarray:
    """The sum of profiles whose texts were about `tokens` long: distances beyond count as the last one."""
    found = np.zeros((*profiles[0].shape[:2], tokens))
    for each in profiles:
        short = min(each.shape[2], tokens)
        found[..., :short] += each[..., :short]
        found[..., -1] += each[..., short:].sum(axis=-1)
    return found
