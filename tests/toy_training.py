"""A training of a second, with dropout, to interrupt: `python -m tests.toy_training SECONDS OUT...`.

One process for each folder OUT, all forked by one that has imported everything; it prints their numbers, and waits. In
step `MIDDLE` each makes the file `OUT.waits` and stays there for SECONDS.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

from fovea.rag import progress
from fovea.rag.training.loop import fit, seed_of
from fovea.rag.training.recipe import Recipe, Task

MIDDLE = 13


class Toy(Task):
    """Learns the sign of a sum; `middle` is called in its step `MIDDLE`."""

    def __init__(self, seed: int, middle=lambda: None) -> None:
        torch.manual_seed(seed)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.Dropout(0.3), torch.nn.Linear(16, 1)
        )
        self.seed, self.middle = seed, middle
        rng = np.random.default_rng(0)
        self.x = torch.from_numpy(rng.standard_normal((256, 8)).astype(np.float32))
        self.y = (self.x.sum(1, keepdim=True) > 0).float()

    def loss(self, step):
        if step == MIDDLE:
            self.middle()
        rows = torch.from_numpy(np.random.default_rng(seed_of(self.seed, step)).integers(0, 256, 32))
        return torch.nn.functional.binary_cross_entropy_with_logits(self.model(self.x[rows]), self.y[rows])

    def scores(self):
        with torch.no_grad():
            logits = self.model(self.x)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, self.y)
        return {"loss": float(loss), "wrong": float(((logits > 0) != (self.y > 0)).float().mean())}

    def arrays(self):
        return {name: value.numpy() for name, value in self.model.state_dict().items()}

    def about(self):
        return {}


class ToyRecipe(Recipe):
    """Settings of the toy."""

    method = "toy"
    steps: int = 60
    every: int = 10

    def prepare(self, train, dev, encoder, seed):
        return Toy(seed)


def started(out: Path, seconds: float) -> int:
    """The number of a process that trains into `out`."""
    if number := os.fork():
        return number

    def middle() -> None:
        out.with_suffix(".waits").touch()
        time.sleep(seconds)

    with progress.shown():
        fit(Toy(0, middle), ToyRecipe(), out, 0)
    os._exit(0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    numbers = [started(Path(out), float(sys.argv[1])) for out in sys.argv[2:]]
    print(*numbers, flush=True)
    for number in numbers:
        print(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), flush=True)
