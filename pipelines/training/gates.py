"""`fovea train gates`: what a decoding step reads of a long text, learned from a local language model's own attention.

seer         `select: {use: seer, gates: FOLDER}`           blocks
landmark     `select: {use: landmark, gates: FOLDER}`       blocks, by a learned key of each
value_gate   `select: {use: value_gate, gates: FOLDER}`     rows, by their values
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from fovea.attention_retrieval.heads.table import identity
from fovea.pipelines.bench.longcontext.prose import prose
from fovea.pipelines.training.heads.learning import Learning
from fovea.rag import trained as weights
from fovea.rag.errors import ConfigError, require
from fovea.rag.training.train import Result

__all__ = ["FILES", "HEADING", "Learning", "lines", "recipe_class", "trained"]

FILES = dict.fromkeys(("seer", "landmark", "value_gate"), "weights.safetensors")
HEADING = "Of the gates:"


def recipe_class(method: str) -> type[Any]:
    """The recipe of a method; raises ConfigError with those there are."""
    require("torch", extra="local", needed_by="training")
    from fovea.attention_retrieval.probes.gates import RECIPES

    if method not in RECIPES:
        raise ConfigError(f"no gates called {method!r} can be trained", got=method, allowed=FILES)
    return RECIPES[method]


def trained(learning: Learning) -> Result:
    """Learn, and write the gates; what stands in the folder is the best so far."""
    from fovea.attention_retrieval.probes.gates import GateTask, Texts
    from fovea.rag.training.loop import fit

    recipe, said = learning.recipe, learning.sentences()
    texts = Texts(learning.texts() or [" ".join(islice(prose(learning.seed), 3000))], said)
    given, folder = learning.given(texts.whole), learning.cache or learning.out / "reads"
    task = GateTask(learning.lm, texts, recipe, learning.seed, folder, given)
    run, ended = fit(task, recipe, learning.out, learning.seed, given=given, **learning.sitting)
    about = {"method": recipe.method, "model": identity(learning.model), **task.about()}
    about["training"] = {**recipe.model_dump(mode="json"), "seed": learning.seed}
    arrays = task.arrays()
    weights.save(learning.out / FILES[recipe.method], arrays, about)
    table = [{"gates": name, "numbers": f"{array.size:,} {array.shape}"} for name, array in arrays.items()]
    return Result(recipe, learning.seed, "", ended, run.step, run.best_step, dict(run.best), run.seconds, table)


def lines(result: Result) -> Iterator[str]:
    """What is printed of a result."""
    yield ", ".join(f"{name} {value:.4f}" for name, value in result.scores.items())
