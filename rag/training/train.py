"""From a recipe and its task to weights that can be used: what every kind of learned component is trained by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from fovea.rag import trained
from fovea.rag.errors import ConfigError, require
from fovea.rag.training.recipe import Recipe, Task

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder

R = TypeVar("R", bound=Recipe)


@dataclass(frozen=True)
class Result:
    """What a training gave."""

    recipe: Recipe
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
    """Scores of the weights by set and part."""


def recipe_class(method: str, package: ModuleType, base: type[R], what: str) -> type[R]:
    """The recipe of a method: the `base` in the module of `package` named after it.

    Raises ConfigError with those there are; `what` is what the command trains.
    """
    require("torch", extra="models", needed_by="training")
    name = f"{package.__name__}.{method}"
    if method.isidentifier() and find_spec(name) and (found := _recipe_in(name, method, base)):
        return found
    modules = iter_modules(package.__path__)
    names = [m.name for m in modules if _recipe_in(f"{package.__name__}.{m.name}", m.name, base)]
    raise ConfigError(f"no {what} called {method!r} can be trained", got=method, allowed=names)


def complete(
    task: Task, recipe: Recipe, encoder: Encoder, out: Path, *, seed: int, data: str, **sitting: Any
) -> Result:
    """Fit the task, and write `out`/weights.safetensors; `data` tells this data from other data, `sitting` takes what
    `fovea.rag.training.loop.fit` does.
    """
    from fovea.rag.training.loop import fit

    reads = encoder.space if recipe.reads_vectors else ""
    run, ended = fit(task, recipe, out, seed, given={"data": data, "encoder": reads}, **sitting)
    name = name_of(encoder) if recipe.reads_vectors else ""
    about = {"method": recipe.method, "encoder": reads, "encoder_name": name, "dim": encoder.dim, **task.about()}
    about["training"] = {**recipe.model_dump(mode="json"), "seed": seed}
    trained.save(out / "weights.safetensors", task.arrays(), about)
    return Result(recipe, seed, name, ended, run.step, run.best_step, dict(run.best), run.seconds)


def name_of(encoder: Encoder) -> str:
    """The model's name where the encoder has one, else the encoder's own."""
    return str(
        getattr(encoder, "model", None) or (name_of(i) if (i := getattr(encoder, "behind", None)) else encoder.name)
    )


def _recipe_in(module: str, method: str, base: type[R]) -> type[R] | None:
    found = vars(import_module(module)).values()
    recipes = (v for v in found if isinstance(v, type) and issubclass(v, base) and v.__module__ == module)
    return next((r for r in recipes if getattr(r, "method", None) == method), None)
