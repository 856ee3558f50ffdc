"""act: heads that gain where their sinks are taken down, by trying each alone on examples.

{"prompt": "What a user says", "answer": "What the model should answer"}           a line each, in .jsonl
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from fovea.attention_retrieval.corrections.act import ActCorrection
from fovea.attention_retrieval.head_files import FILES
from fovea.attention_retrieval.probes.act_heads import Example, Gains, gaining, gains_of
from fovea.pipelines.training.heads.learning import Learning
from fovea.pipelines.training.heads.profiles import profiled
from fovea.rag.causal_lm import CausalLM
from fovea.rag.errors import ConfigError
from fovea.rag.training.files import json_lines, malformed
from fovea.rag.training.train import Result
from fovea.rag.write_whole import write_whole

RECIPE = Gains


def learn(learning: Learning) -> Result | int:
    """Choose them once every example is tried; until then, how many are."""
    lm, recipe = learning.lm, learning.recipe
    examples = list(_examples(lm, learning.paths))
    act = ActCorrection(beta=recipe.beta, threshold=recipe.threshold)
    wanted = {str(n): partial(gains_of, lm, each, act) for n, each in enumerate(examples)}
    kept = profiled(learning.out, learning.asked(examples), wanted, **learning.sitting)
    if len(kept) < len(wanted):
        return len(kept)
    gains = np.stack(list(kept.values()))
    heads, mean = gaining(gains), gains.mean(axis=0)
    text = json.dumps({"heads": heads}) + "\n"
    write_whole(learning.out / FILES["act"], lambda part: part.write_text(text, "utf-8"))
    best = [mean[head] for head in heads]
    scores = {"heads that gain, share": len(heads) / mean.size, "their mean gain": float(np.mean(best or [0.0]))}
    table = [{"head": f"{layer}.{head}", "gain, nats a token": f"{mean[layer, head]:.4f}"} for layer, head in heads]
    return Result(recipe, learning.seed, "", "steps", len(wanted), len(wanted), scores, 0.0, table)


def _examples(lm: CausalLM, paths: Sequence[str]) -> Iterator[Example]:
    """Those of all files; raises ConfigError where there are none, DocumentError with file and line for a bad one."""
    form = '--data FILE.jsonl, lines of {"prompt": "...", "answer": "..."}'
    if not paths:
        raise ConfigError("act tries heads on prompts and their answers, and there are none", where="--data", fix=form)
    found = False
    for where, row in (line for path in paths for line in json_lines(Path(path))):
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("prompt", "answer")):
            raise malformed(where, f"no prompt and answer, both texts: {form}")
        answer = list(lm.tokenizer(row["answer"], add_special_tokens=False)["input_ids"])
        if len(answer) < 2:
            raise malformed(where, "an answer of fewer than two tokens: the first is read before anything changes")
        found = True
        yield Example(lm.tokens([("user", row["prompt"])]), answer)
    if not found:
        raise ConfigError("these files hold no examples", where="--data", fix=form)
