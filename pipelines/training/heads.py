"""`fovea train heads`: how far each head of a local language model looks, learned from the model itself on passkeys.

duo    alphas, as `full_attention_heads.tsv`: a line a layer, a number a kv head
moa    a plan of spans, as `moa_alpha_beta.json`
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fovea.attention_retrieval.heads import duo, moa
from fovea.pipelines.bench.longcontext.prose import prose
from fovea.rag.causal_lm import ORGANISATION, CausalLM, load
from fovea.rag.component import fingerprint
from fovea.rag.content import content_of
from fovea.rag.errors import ConfigError, ModelError, require
from fovea.rag.progress import bar
from fovea.rag.sentences import sentences
from fovea.rag.training.train import Result
from fovea.rag.write_whole import write_whole

if TYPE_CHECKING:
    from fovea.attention_retrieval.probes.alphas import Alphas
    from fovea.attention_retrieval.probes.spans import Spans

FILES = {"duo": duo.FILE, "moa": moa.FILE}
HEADING = "Of the heads, by layer:"
"""What the table of a result holds."""


def recipe_class(method: str) -> type[Any]:
    """The recipe of a method; raises ConfigError with those there are."""
    require("torch", extra="local", needed_by="training")
    if method == "duo":
        from fovea.attention_retrieval.probes.alphas import Alphas

        return Alphas
    if method == "moa":
        from fovea.attention_retrieval.probes.spans import Spans

        return Spans
    raise ConfigError(f"no heads called {method!r} can be trained", got=method, allowed=FILES)


def trained(recipe: Any, model: str, texts: Sequence[str], out: Path, *, seed: int = 0, **sitting: Any) -> Result:
    """Learn from `model`, with pass keys in `texts`, or in made-up prose without any, and write the method's file."""
    lm, said = load(model), [s for text in texts for s in _sentences(text)] or list(islice(prose(seed), 500))
    given = {"model": content_of(model, organisation=ORGANISATION), "data": fingerprint(said)}
    out.mkdir(parents=True, exist_ok=True)
    learn = _alphas if recipe.method == "duo" else _plan
    return learn(recipe, lm, said, out, seed, given, **sitting)


def lines(result: Result) -> Iterator[str]:
    """What is printed of a result."""
    yield ", ".join(f"{name} {value:.4f}" for name, value in result.scores.items())


def _alphas(
    recipe: Alphas, lm: CausalLM, said: list[str], out: Path, seed: int, given: Mapping[str, str], **sitting: Any
) -> Result:
    from fovea.attention_retrieval.probes.alphas import AlphaTask
    from fovea.rag.training.loop import fit

    task = AlphaTask(lm, said, recipe, seed)
    run, ended = fit(task, recipe, out, seed, given=given, **sitting)
    alphas = task.arrays()["alphas"]
    text = "\n".join("\t".join(f"{alpha:.6f}" for alpha in row) for row in alphas) + "\n"
    write_whole(out / FILES["duo"], lambda part: part.write_text(text, "utf-8"))
    table = [{"layer": str(n), "alphas": ", ".join(f"{x:.2f}" for x in row)} for n, row in enumerate(alphas)]
    return Result(recipe, seed, "", ended, run.step, run.best_step, dict(run.best), run.seconds, table)


def _plan(
    recipe: Spans, lm: CausalLM, said: list[str], out: Path, seed: int, given: Mapping[str, str], **sitting: Any
) -> Result:
    from fovea.attention_retrieval.probes import spans
    from fovea.attention_retrieval.probes.passkeys import passkeys

    asked = fingerprint([recipe.model_dump(mode="json"), seed, dict(given)])
    kept, began = _Profiles(out / "profiles.npz", asked, sitting.get("restart", False)), time.monotonic()
    most = sitting.get("max_seconds") or float("inf")
    wanted = [(tokens, n) for tokens in recipe.lengths for n in range(recipe.texts)]
    result = Result(cast(Any, recipe), seed, "", "steps", len(wanted), len(wanted), {}, 0.0)
    with bar("profiling heads", len(wanted)) as progress:
        for done, (tokens, n) in enumerate(wanted):
            if (tokens, n) not in kept:
                if done and time.monotonic() - began >= most:
                    return replace(result, ended="seconds", steps=done, seconds=time.monotonic() - began)
                made = {"tokens": tokens, "keys": recipe.keys, "digits": recipe.digits, "seed": [seed, tokens, n]}
                kept.add((tokens, n), spans.profile(lm, passkeys(lm.tokenizer, said, **made), recipe))  # type: ignore[arg-type]
            progress.advance()
    config = lm.model.config.get_text_config()
    kv_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    worth = {t: spans.total([kept[t, n] for n in range(recipe.texts)], t) for t in recipe.lengths}
    plan = spans.plan(worth, kv_heads, recipe)
    write_whole(out / FILES["moa"], lambda part: part.write_text(plan.model_dump_json() + "\n", "utf-8"))
    scores, table = _measured(plan, recipe)
    return replace(result, scores=scores, table=table, seconds=time.monotonic() - began)


def _measured(plan: Any, recipe: Spans) -> tuple[dict[str, float], list[dict[str, str]]]:
    """The mean span at each length, and the rules."""
    rules = [list(zip(*row)) for row in zip(plan.alphas, plan.betas)]
    flat = [rule for row in rules for rule in row]
    means = {n: float(np.mean([recipe.span(*rule, n) for rule in flat]) / n) for n in recipe.lengths}
    table = [{"layer": str(n), "spans": ", ".join(f"{a:g} + {b:g} N" for a, b in row)} for n, row in enumerate(rules)]
    return {f"mean span at {n}, share": mean for n, mean in means.items()}, table


class _Profiles:
    """Profiles by (length, number), each in the file as soon as it is made."""

    def __init__(self, path: Path, asked: str, restart: bool) -> None:
        self.path, self.asked, self.arrays = path, asked, dict[str, np.ndarray]()
        if restart:
            path.unlink(missing_ok=True)
        if path.exists():
            self.arrays = self._read()

    def __contains__(self, which: tuple[int, int]) -> bool:
        return "{}.{}".format(*which) in self.arrays

    def __getitem__(self, which: tuple[int, int]) -> np.ndarray:
        return self.arrays["{}.{}".format(*which)]

    def add(self, which: tuple[int, int], profile: np.ndarray) -> None:
        """Keep one, and write all of them, whole or not at all."""
        self.arrays["{}.{}".format(*which)] = profile

        def write(part: Path) -> None:
            with part.open("wb") as file:
                np.savez(file, asked=np.array(self.asked), **cast(Any, self.arrays))

        write_whole(self.path, write)

    def _read(self) -> dict[str, np.ndarray]:
        fix = "--restart, which throws them away"
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            asked = str(arrays.pop("asked"))
        except Exception as error:  # numpy and zipfile fail in many kinds
            raise ModelError(f"cannot go on from these profiles: {error}", where=str(self.path), fix=fix) from None
        if asked != self.asked:
            what = "these profiles were made with another model, seed, data or other settings"
            raise ConfigError(what, where=str(self.path), fix=fix)
        return arrays


def _sentences(text: str) -> list[str]:
    return [" ".join(text[span.start : span.end].split()) for span in sentences(text)]
