"""Gated: selections that score rows by what was learned on the model while it stayed as it is.

    fovea train gates METHOD --model MODEL --out FOLDER          select: {use: METHOD, gates: FOLDER}

A file of gates is of one model: of its layers, its heads and its rotary frequencies, by which cached keys are turned
back to what they were before RoPE. Gates want every head's rows, each at its place in the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from pydantic import PositiveInt, PrivateAttr

from fovea.attention_retrieval.rotation import Rotation
from fovea.attention_retrieval.selection.reading import ReadingSelection
from fovea.attention_retrieval.vectors import Vectors
from fovea.rag.component import Component
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.placed import NameOrPath
from fovea.rag.requirements import Requirement, package
from fovea.rag.trained import READER, Trained, load

G = TypeVar("G", bound="GatedSelection")
ABOUT = ("model", "model_name", "layers", "heads", "kv_heads", "d", "size", "turns", "interleaved")
"""What a file of gates says of its model."""
PIECE = 1 << 14
"""Rows that are looked at together."""


class GatedSelection(ReadingSelection):
    """What these have in common."""

    gates: NameOrPath
    """The folder that `fovea train gates` wrote, or a file of it, or the name of gates that ship."""

    size: PositiveInt = 64
    """Rows of a block, as the gates were learned."""

    _layer: int = PrivateAttr(0)

    @cached_property
    def trained(self) -> Trained:
        """The gates. Raises ModelError where they cannot be had."""
        found = load(self.gates, self.name, self.kind)
        if lacking := [name for name in ABOUT if name not in found.about]:
            what = f"the gates {self.gates!r} do not say of which model they are: no {', '.join(lacking)}"
            raise ModelError(what, where="select.gates", fix=self._fix("MODEL"))
        return found

    @property
    def excludes(self) -> Mapping[str, str]:
        """Whatever drops rows, of all heads or of some."""
        why = "gates were learned on whole texts, all heads at the text's positions"
        return {"evict": why, "heads": why}

    def in_layer(self: G, layer: int) -> G:
        """The same, with the gates of that layer."""
        made = self.model_copy()
        made._layer = layer
        return made

    def check(self, layers: int, query_heads: int, kv_heads: int) -> None:
        """Gates must be those of a model of this shape."""
        shape = {"layers": layers, "heads": query_heads, "kv_heads": kv_heads}
        if odd := [f"{self._about(name)} {name}, not {n}" for name, n in shape.items() if self._about(name) != n]:
            what = f"the gates {self.gates!r} are of a model with {'; '.join(odd)}".replace("kv_heads", "kv heads")
            raise ConfigError(what, where="select.gates", fix=self._fix("MODEL"))

    def check_model(self, model: str, identity: Callable[[str], str]) -> None:
        """Gates must be those of this very model."""
        if self._about("model") != identity(model):
            what = f"the gates {self.gates!r} were learned on {self._about('model_name')}, and this is {model}"
            raise ConfigError(what, where="select.gates", fix=self._fix(model))

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """Also what reads the gates, and the gates."""
        yield from super().requirements(encoder)
        reader = package(*READER, f"the selection {self.name!r}")
        yield reader
        if not reader.lacking:
            yield Requirement(f"the gates {self.gates!r}", lambda: self.trained)

    @cached_property
    def fingerprint(self) -> str:
        """Settings, and what the gates are, wherever they lie."""
        return self.fingerprint_with(gates=self.trained.digest)

    @property
    def rotation(self) -> Rotation:
        """The model's own."""
        return Rotation(np.array(self._about("turns"), np.float64), bool(self._about("interleaved")))

    def array(self, name: str, keys: Vectors) -> np.ndarray:
        """What was learned of this layer's kv heads, by name; raises ConfigError where it is not of such keys."""
        array = self.trained.arrays[name]
        mine, there = (len(array), *array.shape[1:2]), (self._about("layers"), keys.heads)
        if self._layer >= len(array) or mine != there or self._about("d") != keys.d:
            what = (
                f"the gates {self.gates!r} are of {mine[0]} layers, {mine[-1]} kv heads of {self._about('d')} numbers"
            )
            what += f", and this is layer {self._layer}, with {keys.heads} of {keys.d}"
            raise ConfigError(what, where="select.gates", fix=self._fix("MODEL"))
        if self._about("size") != self.size:
            what = f"the gates {self.gates!r} are of blocks of {self._about('size')} rows, not {self.size}"
            raise ConfigError(what, where="select.size", fix=f"size: {self._about('size')}")
        return np.asarray(array[self._layer])

    def before_rope(self, keys: Vectors, low: int, stop: int) -> np.ndarray:
        """Keys of rows [low, stop) as they were before the model turned them, (heads, rows, d)."""
        return self.rotation.moved(keys.block(low, stop), -np.arange(low, stop))

    def _about(self, name: str) -> Any:
        return self.trained.about[name]

    def _fix(self, model: str) -> str:
        return f"fovea train gates {self.name} --model {model} --out FOLDER"
