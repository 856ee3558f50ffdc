"""Carried: a trained stage that reads a text piece by piece, numpy in and out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.mixer import Mixer, State
from fovea.segmenters.mixing.attend import linear
from fovea.segmenters.mixing.stage import Stage


class Carried:
    """The stage `name` among the arrays of a network, before any text, and what it keeps of what it has read."""

    def __init__(self, arrays: Mapping[str, np.ndarray], name: str, mixer: Mapping[str, Any], depth: float) -> None:
        found = {
            key.removeprefix(f"{name}."): torch.from_numpy(np.array(value, np.float32))
            for key, value in arrays.items()
            if key.startswith(f"{name}.")
        }
        if "down.weight" not in found:
            raise ModelError(f"the weights hold no stage {name!r} of the mixer {mixer.get('use')!r}")
        try:
            width, inner = found["down.weight"].shape
            with torch.device("meta"):  # shapes alone: nothing is drawn
                self.stage = Stage(Mixer.model_validate(mixer), width, 0, depth)
                self.stage.up, self.stage.down = linear(width, 2 * inner), linear(inner, width)
            self.stage.load_state_dict(found, assign=True)
        except (
            ValueError,
            RuntimeError,
            ConfigError,
        ) as error:  # settings, shapes and names that do not fit each other
            why = " ".join(str(error).split())[:300]
            raise ModelError(f"the weights do not fit the mixer {mixer.get('use')!r} that they name: {why}") from None
        self.stage.eval()
        self.state: State | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The states `(n, width)` of the next n symbols, n > 0."""
        with torch.inference_mode():
            y, self.state = self.stage.chunk(torch.from_numpy(np.ascontiguousarray(x))[None], self.state)
        return y[0].numpy()
