"""The training loop of every learned part: AdamW, a warm-up and a cosine, measurements, and checkpoints.

    rate(t) = highest * (t + 1) / w                               for t < w, a tenth of the steps
              highest * (1 + cos(pi * (t - w) / (steps - w))) / 2 after

(I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", 2019; "SGDR", 2017.) Gradients are clipped to
norm 1. Every `every` steps the task measures itself; the best model is kept, and training stops after `patience`
measurements without a better one.

All that happens at a step follows from the seed and the step's number, so a training that was interrupted, in whatever
way, goes on from its checkpoint and ends with the very weights it would have had (on one thread; with several, a
matrix product may be summed in another order).
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fovea.rag import progress
from fovea.rag.component import fingerprint
from fovea.rag.errors import ModelError
from fovea.rag.training import checkpoint
from fovea.rag.training.recipe import Recipe, Task

if TYPE_CHECKING:
    import torch

Ended = Literal["steps", "patience", "seconds"]


@dataclass(frozen=True)
class Run:
    """How far a training is."""

    step: int = 0
    best: Mapping[str, float] = field(default_factory=dict)
    """Scores of the best model so far, none before the first measurement."""
    best_step: int = 0
    waited: int = 0
    """Measurements since then."""
    seconds: float = 0.0
    """Over all sittings."""

    @property
    def note(self) -> str:
        """The best score, for the progress bar."""
        return "".join(f"; best {k} {v:.4f} at step {self.best_step}" for k, v in list(self.best.items())[:1])

    def measured(self, scores: Mapping[str, float]) -> Run:
        """This run after a measurement; the first of the scores decides, the lower the better."""
        first = next(iter(scores))
        if not self.best or scores[first] < self.best[first]:
            return replace(self, best=dict(scores), best_step=self.step, waited=0)
        return replace(self, waited=self.waited + 1)


def fit(
    task: Task,
    recipe: Recipe,
    out: Path,
    seed: int,
    *,
    given: Mapping[str, str] | None = None,
    restart: bool = False,
    max_seconds: float | None = None,
) -> tuple[Run, Ended]:
    """Train `task.model`, which is the best model found when this returns, and say how the training ended.

    `given` names what else decides the result (data, encoder); a checkpoint in `out` made with another seed, other
    settings or other `given` is refused with ConfigError, unless `restart` throws it away. At most `max_seconds` of
    this sitting are spent; the same call goes on after them, as it does after Ctrl-C or a crash. Raises ModelError for
    a damaged checkpoint, and for a loss or score that is no number.
    """
    asked = {"method": recipe.method, "seed": seed, **recipe.model_dump(mode="json"), **(given or {})}
    path, began = out / "checkpoint.safetensors", time.monotonic()
    with _deterministic(), _gentle() as interrupted, progress.bar(f"train {recipe.method}", recipe.steps) as bar:
        state = checkpoint.State(task.model, _optimizer(task, recipe))
        run = Run()
        if restart:
            path.unlink(missing_ok=True)
        elif path.exists():
            run = Run(**checkpoint.read(path, state, asked))
            bar.advance(run.step, "goes on from the checkpoint")
        before = run.seconds
        while not (ended := _over(run, recipe)):
            loss = _step(task, recipe, state.optimizer, run.step, seed)
            run = replace(run, step=run.step + 1, seconds=before + time.monotonic() - began)
            if run.step % recipe.every == 0 or run.step == recipe.steps:
                run = run.measured(_scores(task, run.step))
                if run.best_step == run.step:
                    state.keep()
                checkpoint.write(path, state, asked, vars(run))
            bar.advance(1, f"loss {loss:.4f}{run.note}")
            late = max_seconds is not None and time.monotonic() - began >= max_seconds
            if interrupted.is_set() or (late and not _over(run, recipe)):
                checkpoint.write(path, state, asked, vars(run))
                if interrupted.is_set():
                    raise KeyboardInterrupt
                ended = "seconds"
                break
        if not run.best:  # No time for a measurement: what there is is the best.
            run = run.measured(_scores(task, run.step))
            state.keep()
        state.restore()
        _scores(task, run.best_step)  # So that what a task keeps of its last measurement is the best model's.
    return run, ended or "steps"


def rate(step: int, steps: int) -> float:
    """The share of the highest learning rate that step `step` of `steps`, counted from 0, is taken with."""
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2


def seed_of(seed: int, step: int) -> int:
    """A seed for what is drawn at one step, far from those of its neighbours."""
    return int(fingerprint([seed, step]), 16) >> 1


def _over(run: Run, recipe: Recipe) -> Ended | None:
    if run.step >= recipe.steps:
        return "steps"
    return "patience" if run.waited >= recipe.patience else None


def _optimizer(task: Task, recipe: Recipe) -> torch.optim.AdamW:
    import torch

    return torch.optim.AdamW(task.model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)


def _step(task: Task, recipe: Recipe, optimizer: torch.optim.Optimizer, step: int, seed: int) -> float:
    import torch

    torch.manual_seed(seed_of(seed, step))  # for dropout; so that no state of a generator need be kept
    task.model.train()
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate * rate(step, recipe.steps)
    optimizer.zero_grad()
    loss = task.loss(step)
    if not torch.isfinite(loss):
        raise ModelError(
            f"the loss of step {step} is {float(loss.detach())}",
            where=f"train {recipe.method}",
            fix=f"--set learning_rate={recipe.learning_rate / 3:g}",
        )
    loss.backward()
    torch.nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _scores(task: Task, step: int) -> dict[str, float]:
    import torch

    task.model.eval()
    with torch.no_grad():
        scores = task.scores()
    if not scores or not all(math.isfinite(value) for value in scores.values()):
        raise ModelError(f"the scores after step {step} are {scores}", fix="a larger development part")
    return scores


@contextmanager
def _deterministic() -> Iterator[None]:
    import torch

    was, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was, warn_only=warned)


@contextmanager
def _gentle() -> Iterator[threading.Event]:
    """Ctrl-C sets the event, so that the step is finished and kept; a second one interrupts at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def once(number: int, frame: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, once)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
