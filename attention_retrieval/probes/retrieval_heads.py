"""Which heads look things up, and what a model loses without them.

A retrieval head copies: while a sentence is repeated, it attends to where its next token stood. Few heads do, the same
ones in every text (W. Wu et al., "Retrieval head mechanistically explains long-context factuality", 2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fovea.attention_retrieval.probes.through import Called, through
from fovea.rag.causal_lm import CausalLM
from fovea.rag.errors import ConfigError
from fovea.rag.progress import bar


@dataclass
class Looked:
    """Where each head looks most, from some rows of the one text of a call: `at[layer]` is (heads, rows)."""

    rows: Sequence[int]
    at: dict[int, np.ndarray] = field(default_factory=dict)

    def __call__(self, called: Called, out: Any) -> Any:
        """Find the largest logits among the tokens that each row may see."""
        import torch

        rows = torch.tensor(list(self.rows), device=called.query.device)
        keys = called.key.repeat_interleave(called.group, dim=1)
        logits = called.query[0][:, rows] @ keys[0].transpose(1, 2)
        hidden = called.hidden[0, :, rows]
        self.at[called.layer] = logits.masked_fill(hidden, float("-inf")).argmax(dim=-1).cpu().numpy()
        return out


@dataclass(frozen=True)
class Blurred:
    """Some heads, by layer, attend to all tokens up to their own alike."""

    heads: Mapping[int, Sequence[int]]

    def __call__(self, called: Called, out: Any) -> Any:
        """Put running means of the values in the place of these heads' outputs, (batch, tokens, heads, d)."""
        import torch

        value = called.value
        many = torch.arange(1, value.shape[2] + 1, device=value.device, dtype=torch.float32)[:, None]
        for head in self.heads.get(called.layer, ()):
            out[:, :, head] = (value[:, head // called.group].float().cumsum(dim=1) / many).to(out.dtype)
        return out


def retrieval_scores(
    lm: CausalLM, sentences: Sequence[str], *, probes: int = 40, tokens: int = 1024, seed: int = 0
) -> np.ndarray:
    """How much each head copies, (layers, heads), 0 to 1.

    A probe is a list of `key: sentence` lines, three of them repeated, and a fourth key, whose sentence follows. Score:
    the share of that sentence's tokens that the head, one token before, attends to most in its line. Lines are drawn
    from `sentences`, as many as `tokens` hold. Raises ConfigError for fewer than eight sentences.
    """
    import torch

    if len(sentences) < 8:
        raise ConfigError(f"{len(sentences)} sentences are too few to probe heads with: eight at least")
    rng = np.random.default_rng(seed)
    config = lm.model.config.get_text_config()
    total = np.zeros((config.num_hidden_layers, config.num_attention_heads))
    with bar("probing heads", probes) as progress, torch.inference_mode():
        for _ in range(probes):
            ids, line, answer = _probe(lm, sentences, tokens, rng)
            looked = Looked(range(len(ids) - len(answer) - 1, len(ids) - 1))
            with through(lm.model, looked):
                lm.model(torch.tensor([ids], device=lm.model.device), use_cache=False)
            there = np.array(ids)
            for layer, at in looked.at.items():
                in_line = (at >= line.start) & (at < line.stop)
                total[layer] += (in_line & (there[at] == np.array(answer))).mean(axis=1)
            progress.advance()
    return total / probes


def _probe(
    lm: CausalLM, sentences: Sequence[str], tokens: int, rng: np.random.Generator
) -> tuple[list[int], range, list[int]]:
    """A probe's tokens, where the asked line stands in it, and the tokens of the answer, which end it."""

    def encoded(text: str) -> list[int]:
        return list(lm.tokenizer(text, add_special_tokens=False)["input_ids"])

    lines: list[tuple[list[int], list[int]]] = []
    used = 0
    for n in rng.permutation(len(sentences)):
        key = "".join(rng.choice(list("abcdefghijkmnpqrstuvwxyz23456789"), 6))
        line = encoded(f"{key}:"), encoded(f" {sentences[n]}\n")[: tokens // 6]
        used += len(line[0]) + len(line[1])
        if len(lines) > 4 and used > tokens * 2 // 3:
            break
        lines.append(line)
    ids: list[int] = []
    places = []
    for key_ids, sentence in lines:
        ids += key_ids
        places.append(range(len(ids), len(ids) + len(sentence)))
        ids += sentence
    order = rng.permutation(len(lines))[:4]
    for n in order:
        ids += lines[n][0] + lines[n][1]
    return ids, places[order[3]], lines[order[3]][1]


def strongest(scores: np.ndarray, share: float) -> dict[int, list[int]]:
    """The heads with the largest scores, `share` of all and one at least, by layer."""
    count = max(round(share * scores.size), 1)
    best = np.argsort(-scores, axis=None, kind="stable")[:count]
    found: dict[int, list[int]] = {}
    for at in sorted(best.tolist()):
        found.setdefault(at // scores.shape[1], []).append(at % scores.shape[1])
    return found
