"""A vector for each token, and of a text their mean: an encoder with no network behind it.

    v(text) = s / |s|     s = sum over its tokens t of row(t)

A row's length is its token's weight. Nothing is multiplied, so it is some hundred times as fast as a transformer, and
order and context are lost. `fovea train encoder static` distils such a table from the encoder at hand. Tables of
sentence-transformers (`StaticEmbedding`) and of model2vec load too, by what sentence-transformers makes of them: each
text is read whole, where model2vec cuts it and leaves out tokens that it does not know.
(T. van Dongen and S. Tulkens, model2vec, 2024; T. Aarsen, "Train 400x faster static embedding models", 2025.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fovea.rag import trace
from fovea.rag.component import Component, SpeedOnly, fingerprint
from fovea.rag.encoder import Encoder, Role, TokenStates
from fovea.rag.errors import ModelError, require
from fovea.rag.models import digest, locate
from fovea.rag.placed import NameOrPath
from fovea.rag.recipe import Recipe
from fovea.rag.requirements import Requirement, model, package
from fovea.rag.windows import joined
from fovea.rag.wordpieces import ModelTokenizer

if TYPE_CHECKING:
    import numpy as np

SLICE = 4096
"""Texts whose tokens are looked up together."""
LARGEST = 1e9
"""Of a row's numbers, and of a token's weight: the squares of their sums stay in float32."""


class StaticEncoder(Encoder, name="static"):
    """The mean of a text's token vectors, read from a table.

    The fingerprint names the table by its content, never by its name or place.
    """

    model: NameOrPath
    """The folder of `fovea train encoder static`, of a saved `StaticEmbedding` or of model2vec, or a hub name."""
    offline: SpeedOnly[bool] = False
    """Never ask the hub."""

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """What reads the table, and the table."""
        yield package("tokenizers", "onnx", f"the encoder {self.name!r}")
        yield package("safetensors", "onnx", f"the encoder {self.name!r}")
        yield model(self.model)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the table and of the tokenizer."""
        files = [digest(self._folder / name) for name in ("model.safetensors", "tokenizer.json")]
        told = [self._recipe.prompts["query"], self._recipe.prompts["document"], self._recipe.truncate_dim]
        return fingerprint({"kind": self.kind, "version": self.version, "use": self.name, "files": files, "told": told})

    @property
    def dim(self) -> int:
        """Length of a vector, cut where the model's own settings say so (`truncate_dim`)."""
        return int(self._rows.shape[1])

    @property
    def window(self) -> None:
        """No limit: every token counts."""
        return None

    @cached_property
    def tokenizer(self) -> ModelTokenizer:
        """The table's own."""
        return ModelTokenizer.read(self._folder / "tokenizer.json")

    def encode(self, texts: Sequence[str], role: Role = "document") -> np.ndarray:
        """Float32 `(texts, dim)`, unit rows. A text without a single token becomes the first unit vector.

        Before a text stands the prompt of its role, where the model's own settings have one.
        """
        import numpy as np

        prompt, sums = self._recipe.prompts[role], np.zeros((len(texts), self.dim), np.float32)
        for at in range(0, len(texts), SLICE):
            told = [prompt + text for text in texts[at : at + SLICE]]
            for text, ids in enumerate(self.tokenizer.ids(told), at):
                self._rows.take(ids, axis=0).sum(axis=0, out=sums[text])
        found, empty = joined(sums, range(len(texts)), [1] * len(texts), len(texts))
        trace.warn("texts in which the model knows no token became the first unit vector", empty)
        return found

    def token_states(self, texts: Sequence[str], role: Role = "document") -> list[TokenStates]:
        """The rows of a text's tokens are its states."""
        import numpy as np

        every = (np.array(ids, np.int64) for ids in self.tokenizer.ids(texts))
        return [TokenStates(v, ids, self._rows[ids]) for v, ids in zip(self.encode(texts, role), every)]

    @cached_property
    def _recipe(self) -> Recipe:
        """What the model's folder says; raises ModelError where that is more than a table and its scaling."""
        recipe = Recipe.read(locate(self.model, offline=self.offline).path)
        others = [kind.rsplit(".", 1)[-1] for kind, _ in recipe.modules]
        if (recipe.path / "modules.json").exists() and set(others) - {"StaticEmbedding", "Normalize"}:
            raise ModelError(
                f"{self.model} is made of {', '.join(others)}, not of a table alone", where="encoder",
                fix=f"encoder: {{use: sentence_transformer, model: {self.model}}}",
            )  # fmt: skip
        return recipe

    @cached_property
    def _folder(self) -> Path:
        """Where the table and its tokenizer are: where `modules.json` says, or at the top."""
        recipe = self._recipe
        folder = recipe.path / next((at for kind, at in recipe.modules if kind.endswith("StaticEmbedding")), "")
        for name in ("model.safetensors", "tokenizer.json"):
            if not (folder / name).is_file():
                raise ModelError(
                    f"{self.model} has no table of token vectors: there is no {folder / name}", where="encoder",
                    fix="fovea train encoder static --data TEXTS --out FOLDER",
                )  # fmt: skip
        return folder

    @cached_property
    def _rows(self) -> np.ndarray:
        """A row a token id, float32 `(tokens, dim)`."""
        import numpy as np

        path = self._folder / "model.safetensors"
        reader = require("safetensors.numpy", extra="onnx", needed_by=f"the encoder {self.name!r}")
        try:
            arrays = reader.load_file(path)
        except Exception as error:  # the library raises its own, OSError, and KeyError for types numpy lacks
            raise ModelError(f"{path} cannot be read: {error}", where="encoder") from None
        rows = _table(arrays, path)
        if len(rows) < (wanted := self.tokenizer.size):
            raise ModelError(f"{path} has {len(rows):,} rows for {wanted:,} tokens", where="encoder")
        return np.ascontiguousarray(rows[:, : self._recipe.truncate_dim])


def _table(arrays: Mapping[str, np.ndarray], path: Path) -> np.ndarray:
    """A row a token id, float32; raises ModelError for arrays that give none."""

    name = next((name for name in ("embedding.weight", "embeddings") if name in arrays), "")
    if not name or arrays[name].ndim != 2 or not arrays[name].shape[1] or arrays[name].dtype.kind not in "fiu":
        told = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items()) or "nothing"
        raise ModelError(f"{path} holds no table of token vectors, but {told}", where="encoder")
    rows = _finite(arrays[name], path)
    if name == "embeddings":  # A row may serve many tokens, each with a weight of its own.
        if (places := arrays.get("mapping")) is not None:
            known = (
                places.ndim == 1 and places.dtype.kind in "iu" and (places < len(rows)).all() and (places >= 0).all()
            )
            if not known:
                what = f"{path}: `mapping` does not give each token one of the {len(rows):,} rows"
                raise ModelError(what, where="encoder")
            rows = rows[places]
        if (weights := arrays.get("weights")) is not None:
            if weights.shape != (len(rows),):
                what = f"{path}: `weights` are {weights.shape}, not a number for each of {len(rows):,} tokens"
                raise ModelError(what, where="encoder")
            rows = rows * _finite(weights, path)[:, None]
    return rows


def _finite(array: np.ndarray, path: Path) -> np.ndarray:
    """As float32; raises ModelError for numbers so large that their sums are none, and for what is none."""
    import numpy as np

    if array.dtype.kind not in "fiu" or not float(np.abs(array).max(initial=0)) < LARGEST:
        raise ModelError(f"{path} holds numbers that are not finite, or as large as {LARGEST:g}", where="encoder")
    return array.astype(np.float32)
