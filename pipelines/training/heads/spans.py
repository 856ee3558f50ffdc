"""moa: a plan of spans, by what each head loses on passkeys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from fovea.attention_retrieval.head_files import FILES
from fovea.attention_retrieval.moa_plan import Plan
from fovea.attention_retrieval.probes import spans
from fovea.attention_retrieval.probes.passkeys import passkeys
from fovea.pipelines.training.heads.learning import Learning
from fovea.pipelines.training.heads.profiles import profiled
from fovea.rag.causal_lm import CausalLM
from fovea.rag.training.train import Result
from fovea.rag.write_whole import write_whole

RECIPE = spans.Spans


def learn(learning: Learning) -> Result | int:
    """Choose it once every text is profiled; until then, how many are."""
    recipe, said, lm = learning.recipe, learning.sentences(), learning.lm
    names = {(tokens, n): f"{tokens}.{n}" for tokens in recipe.lengths for n in range(recipe.texts)}
    wanted = {name: partial(_profile, lm, said, learning, *each) for each, name in names.items()}
    kept = profiled(learning.out, learning.asked(said), wanted, **learning.sitting)
    if len(kept) < len(wanted):
        return len(kept)
    config = lm.model.config.get_text_config()
    kv_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    worth = {t: spans.total([kept[names[t, n]] for n in range(recipe.texts)], t) for t in recipe.lengths}
    plan = spans.plan(worth, kv_heads, recipe)
    text = plan.model_dump_json() + "\n"
    write_whole(learning.out / FILES["moa"], lambda part: part.write_text(text, "utf-8"))
    scores, table = _measured(plan, recipe)
    return Result(recipe, learning.seed, "", "steps", len(wanted), len(wanted), scores, 0.0, table)


def _profile(lm: CausalLM, said: Sequence[str], learning: Learning, tokens: int, n: int) -> np.ndarray:
    recipe, seed = learning.recipe, [learning.seed, tokens, n]
    text = passkeys(lm.tokenizer, said, tokens=tokens, keys=recipe.keys, digits=recipe.digits, seed=seed)
    return spans.profile(lm, text, recipe)


def _measured(plan: Plan, recipe: Any) -> tuple[Mapping[str, float], list[dict[str, str]]]:
    """The mean span at each length, and the rules."""
    rules = [list(zip(*row)) for row in zip(plan.alphas, plan.betas)]
    flat = [rule for row in rules for rule in row]
    means = {n: float(np.mean([recipe.span(*rule, n) for rule in flat]) / n) for n in recipe.lengths}
    table = [{"layer": str(n), "spans": ", ".join(f"{a:g} + {b:g} N" for a, b in row)} for n, row in enumerate(rules)]
    return {f"mean span at {n}, share": mean for n, mean in means.items()}, table
