"""Checkpoints: all that a training needs to go on, in one safetensors file that is written whole or not at all.

Arrays `model/NAME`, `best/NAME` and `optimizer/NAME/KEY` (AdamW's step and moments of each parameter); the header says
what the training was asked (`asked`), how far it is (`run`), and the SHA-256 of the arrays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.rag.errors import ConfigError, ModelError, require
from fovea.rag.write_whole import write_whole

if TYPE_CHECKING:
    import torch


class State:
    """A model in training, its optimizer, and the best model so far."""

    def __init__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model, self.optimizer = model, optimizer
        self.best: dict[str, torch.Tensor] = {}

    def keep(self) -> None:
        """Take the model as it is for the best."""
        self.best = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def restore(self) -> None:
        """Give the model the weights of the best."""
        self.model.load_state_dict(self.best)

    def arrays(self) -> dict[str, torch.Tensor]:
        """All of it by name."""
        found = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        found |= {f"best/{name}": value for name, value in self.best.items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"optimizer/{name}/{key}"] = value
        return {name: value.detach().cpu().contiguous().clone() for name, value in found.items()}

    def load(self, arrays: Mapping[str, torch.Tensor]) -> None:
        """Take up `arrays`; raises KeyError or RuntimeError where they are another model's."""
        part = {kind: _under(arrays, kind) for kind in ("model", "best")}
        self.model.load_state_dict(part["model"])
        self.best = part["best"]
        for name, parameter in self.model.named_parameters():
            if found := _under(arrays, f"optimizer/{name}"):
                # The count of steps stays where AdamW keeps it, in memory; moments go where the parameter is.
                self.optimizer.state[parameter] = {
                    key: value if key == "step" else value.to(parameter.device) for key, value in found.items()
                }


def write(path: Path, state: State, asked: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Write a checkpoint."""
    library = require("safetensors.torch", extra="models", needed_by="training")
    arrays = state.arrays()
    header = {"asked": json.dumps(asked), "run": json.dumps(run), "sha256": _digest(arrays)}
    write_whole(path, lambda part: library.save_file(arrays, part, header))


def read(path: Path, state: State, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Load a checkpoint into `state` and return how far it is.

    Raises ConfigError where the training it belongs to was asked something else, ModelError where it is damaged.
    """
    require("safetensors.torch", extra="models", needed_by="training")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            before, run = json.loads(header["asked"]), json.loads(header["run"])
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
        if _digest(arrays) != header["sha256"]:
            raise ValueError("its arrays are not those that were written")
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise _damaged(path, error) from None
    if before != json.loads(json.dumps(asked)):
        raise ConfigError(
            f"this training was begun with other settings: {_differences(before, asked)}",
            where=str(path),
            fix="--restart to begin anew, --out for another folder, or the settings of before to go on",
        )
    try:
        state.load(arrays)
    except (KeyError, RuntimeError) as error:
        raise _damaged(path, error) from None
    return run


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(f"cannot go on from this checkpoint: {error}", where=str(path), fix="--restart to begin anew")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return "; ".join(f"{key} was {before.get(key)}, is {now.get(key)}" for key in keys)


def _under(arrays: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key[len(prefix) + 1 :]: value for key, value in arrays.items() if key.startswith(f"{prefix}/")}


def _digest(arrays: Mapping[str, torch.Tensor]) -> str:
    found = sha256()
    for name in sorted(arrays):
        found.update(name.encode() + b"\0" + arrays[name].numpy().tobytes())
    return found.hexdigest()
