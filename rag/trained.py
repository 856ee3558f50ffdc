"""Trained: weights of a learned component, with what they were trained for.

A file holds named arrays and, in the header, the method, the encoder whose vectors it reads, and the settings of its
training. It is safetensors, so that reading it runs nothing. Shipped weights are found by name, one's own by path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.rag import registry
from fovea.rag.component import fingerprint
from fovea.rag.content import state_of
from fovea.rag.errors import ConfigError, ModelError, require
from fovea.rag.remember import RememberingEncoder
from fovea.rag.write_whole import write_whole

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder

READER = ("safetensors", "onnx")
"""The package that reads weights, and the extra that brings it."""


@dataclass(frozen=True)
class Trained:
    """Arrays by name, and `about`: `method`, `encoder` (its `space`), `dim`, and what the method needs to use them."""

    name: str
    arrays: Mapping[str, np.ndarray]
    about: Mapping[str, Any]
    digest: str
    """A hash of all of it: what decides results."""
    kind: str = "segmenter"
    """Of the component they belong to."""

    @property
    def trained_by(self) -> str:
        """The word after `fovea train`."""
        return _trained_by(self.kind)

    def check(self, encoder: Encoder, *, where: str = "segment") -> None:
        """Raise ConfigError unless `encoder` is the one whose vectors these weights read."""
        if self.about["encoder"] != encoder.space:
            named = encoder.behind.name if isinstance(encoder, RememberingEncoder) else encoder.name
            raise ConfigError(
                f"the weights {self.name!r} of {self.about['method']} read vectors of {self.about['encoder_name']} "
                f"({self.about['dim']} numbers), the encoder here is {named} ({encoder.dim})",
                where=where,
                fix=f"encoder: {{use: sentence_transformer, model: {self.about['encoder_name']}}}, or "
                f"fovea train {self.trained_by} {self.about['method']} with this encoder",
            )


def shipped(kind: str) -> Path:
    """The folder of the weights that ship for components of a kind."""
    spec = find_spec(".".join(registry.HOMES[kind][0].split(".")[:2]))
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "weights"


def load(weights: str, method: str, kind: str = "segmenter") -> Trained:
    """Weights by the name of shipped ones, or by the path of a file or of a training's output folder.

    Raises ModelError for what is not there, is damaged, or belongs to another method.
    """
    path = Path(weights).expanduser()
    if path.is_dir():
        path = path / "weights.safetensors"
    elif "/" not in weights and not path.suffix:
        path = shipped(kind) / f"{weights}.safetensors"
        if not path.exists():
            names = sorted(p.stem for p in shipped(kind).glob("*.safetensors"))
            raise ModelError(
                f"no weights called {weights!r} ship with Fovea",
                got=weights,
                allowed=names,
                fix=f"a path, or: {_command(kind, method)} FOLDER",
            )
    if not path.exists():
        raise ModelError(
            f"there are no weights at {path}",
            fix=f"{_command(kind, method)} {path.parent}",
        )
    found = _read(weights, kind, str(path.resolve()), state_of(path))
    if found.about["method"] != method:
        raise ModelError(f"the weights {weights!r} belong to {found.about['method']}, not to {method}")
    return found


def _trained_by(kind: str) -> str:
    """Segmenters have their own data, gates a language model, all others learn to retrieve."""
    return {"segmenter": "segmenter", "selection": "gates"}.get(kind, "retriever")


def _command(kind: str, method: str) -> str:
    of = "--model MODEL" if _trained_by(kind) == "gates" else "--data FOLDER"
    return f"fovea train {_trained_by(kind)} {method} {of} --out"


def save(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write a file of weights, whole or not at all; `about` is plain data."""
    library = require("safetensors.numpy", extra=READER[1], needed_by="writing weights")
    import numpy as np

    plain = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
    write_whole(path, lambda part: library.save_file(plain, part, {"fovea": json.dumps(about, sort_keys=True)}))


@lru_cache(maxsize=8)
def _read(name: str, kind: str, path: str, state: object) -> Trained:
    """Cached by what tells a file from its next version."""
    from hashlib import sha256

    require("safetensors.numpy", extra=READER[1], needed_by="reading weights")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})["fovea"])
            arrays = {key: _wide(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118 (it is no dict)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ModelError(f"{path} holds no weights of a {kind}: {error}", fix="train again, or reinstall") from None
    if "method" not in about:
        raise ModelError(f"{path} does not say which method its weights belong to")
    return Trained(name, arrays, about, fingerprint([sha256(Path(path).read_bytes()).hexdigest()]), kind)


def _wide(array: np.ndarray) -> np.ndarray:
    """Half precision is for the disk: arithmetic on it is slow, and loses."""
    return array.astype("float32") if array.dtype == "float16" else array
