"""Heads that find what was said before: echo heads look at earlier copies of a token, induction heads behind them.

    K random tokens, `copies` times over; row i of copy c > 1, attention a causal over all rows
    echo(h)      = mean over i of  sum_m a_h(i, i - m K)            m = 1 .. c - 1
    induction(h) = mean over i of  sum_m a_h(i, i - m K + 1)

Random tokens mean nothing, so that what a head looks at is where they stood. The paper says 2,500 tokens four times
over, which is ten thousand to read; which heads these are shows in hundreds. (H. Tang et al., "RazorAttention", 2024,
arXiv 2407.15891)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fovea.attention_retrieval.probes.through import Called, through
from fovea.rag.causal_lm import CausalLM
from fovea.rag.progress import bar


@dataclass
class Copies:
    """What rows give to earlier copies of their token and to what followed these: `echo[layer]` and `induction[layer]`
    are (heads, tokens), of a text whose tokens come again after `period`, from token `start` on.
    """

    period: int
    start: int = 0
    echo: dict[int, np.ndarray] = field(default_factory=dict)
    induction: dict[int, np.ndarray] = field(default_factory=dict)

    def __call__(self, called: Called, out: Any) -> Any:
        """Keep one layer's; the output is as it came. O(tokens^2) a head."""
        import torch

        heads, tokens = called.query.shape[1:3]
        echo, induction = torch.zeros(heads, tokens), torch.zeros(heads, tokens)
        for head in range(heads):
            logits = called.query[0, head].float() @ called.key[0, head // called.group].float().T * called.scaling
            seen = logits.masked_fill(called.hidden[0, 0], float("-inf")).softmax(-1).cpu()
            for back in range(self.period, tokens - self.start, self.period):
                echo[head, self.start + back :] += seen.diagonal(-back)[self.start :]
                induction[head, self.start + back :] += seen.diagonal(1 - back)[self.start + 1 :]
        self.echo[called.layer], self.induction[called.layer] = echo.numpy(), induction.numpy()
        return out


def repeat_scores(
    lm: CausalLM, *, probes: int = 2, period: int = 256, copies: int = 4, seed: int = 0
) -> dict[str, np.ndarray]:
    """How much each head echoes and induces, {"echo", "induction"}: (layers, heads), 0 to 1; a prefill a probe."""
    import torch

    config, rng = lm.model.config.get_text_config(), np.random.default_rng(seed)
    begin = list(lm.tokenizer("")["input_ids"])
    special = set(lm.tokenizer.all_special_ids)
    words = np.array([token for token in range(min(len(lm.tokenizer), config.vocab_size)) if token not in special])
    shape = probes, config.num_hidden_layers, config.num_attention_heads
    found = {"echo": np.zeros(shape), "induction": np.zeros(shape)}
    with bar("probing heads", probes) as progress, torch.inference_mode():
        for n in range(probes):
            ids = [*begin, *rng.choice(words, period).tolist() * copies]
            seen = Copies(period, len(begin))
            with through(lm.model, seen):
                lm.model(torch.tensor([ids], device=lm.model.device), use_cache=False)
            for name, each in (("echo", seen.echo), ("induction", seen.induction)):
                for layer, rows in each.items():
                    found[name][n, layer] = rows[:, len(begin) + period :].mean(axis=1)
            progress.advance()
    return {name: each.mean(axis=0) for name, each in found.items()}
