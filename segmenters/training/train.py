"""Train one method: from sectioned texts to weights that can be used, and a card that says how they came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, cast

from rag import registry, trained
from rag.errors import ConfigError, require
from segmenters import training
from segmenters.training.recipe import SegmenterRecipe

if TYPE_CHECKING:
    from rag.encoder import Encoder
    from segmenters.gaps import GapSegmenter
    from segmenters.sectioned import Sectioned


@dataclass(frozen=True)
class Result:
    """What a training gave."""

    recipe: SegmenterRecipe
    seed: int
    encoder_name: str
    ended: str
    """Why it ended: `steps`, `patience` or `seconds`."""
    steps: int
    best_step: int
    scores: Mapping[str, float]
    """The task's own, of the best model, on the development part."""
    seconds: float
    table: Sequence[Mapping[str, str | float]] = field(default_factory=list)
    """Pk by corpus and split, on the development and test parts."""


def recipe_class(method: str) -> type[SegmenterRecipe]:
    """The recipe of a method; raises ConfigError with those there are."""
    require("torch", extra="models", needed_by="training")
    name = f"{training.__name__}.{method}"
    if method.isidentifier() and find_spec(name) and (found := _recipe_in(name, method)):
        return found
    names = [m.name for m in iter_modules(training.__path__) if _recipe_in(f"{training.__name__}.{m.name}", m.name)]
    raise ConfigError(f"no segmenter called {method!r} can be trained", got=method, allowed=names)


def train(
    recipe: SegmenterRecipe,
    texts: Sequence[Sectioned],
    encoder: Encoder,
    out: Path,
    *,
    seed: int = 0,
    data: str = "",
    **sitting: Any,
) -> Result:
    """Train on the texts of split `train`, choose on `dev`, write `out`/weights.safetensors and measure on all but
    `train`. `data` tells this data from other data; `sitting` takes what `rag.training.loop.fit` does.

    Raises ConfigError where a split is missing.
    """
    import torch

    from rag.training.loop import fit
    from segmenters.training.measure import table

    parts = {split: [t for t in texts if t.split == split] for split in ("train", "dev", "test")}
    for split in ("train", "dev"):
        if not parts[split] or (recipe.reads_sections and not any(t.boundaries.any() for t in parts[split])):
            raise ConfigError(
                f"no text of the split {split!r} has a boundary, of {len(texts)} texts",
                where="--data",
                fix="more texts, or texts whose sections are marked",
            )
    torch.manual_seed(seed)
    task = recipe.prepare(parts["train"], parts["dev"], encoder, seed)
    reads = encoder.space if recipe.reads_vectors else ""
    run, ended = fit(task, recipe, out, seed, given={"data": data, "encoder": reads}, **sitting)
    name = name_of(encoder) if recipe.reads_vectors else ""
    about = {"method": recipe.method, "encoder": reads, "encoder_name": name, "dim": encoder.dim, **task.about()}
    about["training"] = {**recipe.model_dump(mode="json"), "seed": seed}
    trained.save(out / "weights.safetensors", task.arrays(), about)
    segmenter = cast("GapSegmenter", registry.find("segmenter", recipe.method).model_validate({"weights": str(out)}))
    rows = table(segmenter, [*parts["dev"], *parts["test"]], encoder)
    return Result(recipe, seed, name, ended, run.step, run.best_step, dict(run.best), run.seconds, rows)


def name_of(encoder: Encoder) -> str:
    """The model's name where the encoder has one, else the encoder's own."""
    return str(
        getattr(encoder, "model", None) or (name_of(i) if (i := getattr(encoder, "behind", None)) else encoder.name)
    )


def _recipe_in(module: str, method: str) -> type[SegmenterRecipe] | None:
    found = vars(import_module(module)).values()
    recipes = (v for v in found if isinstance(v, type) and issubclass(v, SegmenterRecipe) and v.__module__ == module)
    return next((r for r in recipes if getattr(r, "method", None) == method), None)
