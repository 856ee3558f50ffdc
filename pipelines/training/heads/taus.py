"""sale: the threshold of each head, a line a layer, a number a query head, by what its output moves on passkeys."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from fovea.attention_retrieval.head_files import FILES
from fovea.attention_retrieval.probes.passkeys import passkeys
from fovea.attention_retrieval.probes.taus import Taus, taus_of
from fovea.pipelines.training.heads.learning import Learning
from fovea.pipelines.training.heads.profiles import profiled
from fovea.rag.causal_lm import CausalLM
from fovea.rag.training.train import Result
from fovea.rag.write_whole import write_whole

RECIPE = Taus


def learn(learning: Learning) -> Result | int:
    """The least of all texts for each head, once all are read; until then, how many are."""
    recipe, said, lm = learning.recipe, learning.sentences(), learning.lm
    wanted = {str(n): partial(_profile, lm, said, learning, n) for n in range(recipe.texts)}
    kept = profiled(learning.out, learning.asked(said), wanted, **learning.sitting)
    if len(kept) < len(wanted):
        return len(kept)
    taus = np.stack(list(kept.values())).min(axis=0)
    text = "\n".join("\t".join(f"{tau:g}" for tau in row) for row in taus) + "\n"
    write_whole(learning.out / FILES["sale"], lambda part: part.write_text(text, "utf-8"))
    scores = {"mean tau": float(taus.mean()), "heads that read all, share": float((taus == 0).mean())}
    table = [{"layer": str(n), "taus": ", ".join(f"{tau:g}" for tau in row)} for n, row in enumerate(taus)]
    return Result(recipe, learning.seed, "", "steps", len(wanted), len(wanted), scores, 0.0, table)


def _profile(lm: CausalLM, said: Sequence[str], learning: Learning, n: int) -> np.ndarray:
    recipe, seed = learning.recipe, [learning.seed, n]
    text = passkeys(lm.tokenizer, said, tokens=recipe.tokens, keys=recipe.keys, digits=recipe.digits, seed=seed)
    return taus_of(lm, text.ids, recipe)
