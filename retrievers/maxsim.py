"""MaxSim: a vector a token; each token of the question is compared with the nearest token of the passage.

    score(q, c) = sum over tokens i of q of max over tokens j of c of q_i' c_j

(Khattab and Zaharia, 2020, "ColBERT: efficient and effective passage search via contextualized late interaction over
BERT", arXiv:2004.12832.) Token vectors are those of `encode_query` and `encode_document` of a `MultiVectorEncoder` of
sentence-transformers, which knows what the model adds to a question and which tokens of a passage it leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from fovea.rag import stage_cache, trace
from fovea.rag.component import Component, SpeedOnly
from fovea.rag.corpus import Corpus
from fovea.rag.encoder import Role
from fovea.rag.encoders.by_texts import Reading, reading
from fovea.rag.engines import load_torch
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.models import locate
from fovea.rag.placed import NameOrPath
from fovea.rag.recipe import Recipe
from fovea.rag.requirements import Requirement, model
from fovea.rag.retrieval import Refiner
from fovea.rag.types import Hit, Query
from fovea.rag.windows import text_windows
from fovea.rag.wordpieces import readable

if TYPE_CHECKING:
    import numpy as np

KINDS = ("MultiVectorEncoder", "ColBERT")
"""What such a model says that it is; the second, where PyLate saved it."""


class MaxSimRefiner(Refiner, name="maxsim"):
    """Scores the first `top_n` hits anew and orders them by that; hits below, whose scores are of another scale, are
    dropped. Each passage costs a run of the model, and no token vectors are kept.

    All tokens of a passage longer than the model reads count: it is read in windows.
    """

    packages: ClassVar[Mapping[str, str]] = {"sentence_transformers": "models"}

    model: NameOrPath
    """A folder or a hub name, such as `lightonai/GTE-ModernColBERT-v1`."""
    top_n: PositiveInt = 50
    """How many hits are read."""
    batch_size: SpeedOnly[PositiveInt] = 32
    """Texts in one batch, at most."""
    device: SpeedOnly[str] = Field(default="cpu", pattern=r"^(cpu|mps|cuda(:\d+)?)$")
    """Where the model runs."""
    offline: SpeedOnly[bool] = False
    """Never ask the hub."""

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """The library and the model."""
        yield from super().requirements(encoder)
        yield model(self.model)

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        """The first `top_n` hits by falling score, equal ones in the order given. O(top_n) runs of the model."""
        read, below = list(hits[: self.top_n]), hits[self.top_n :]
        for hit in below:
            trace.current().drop(hit, f"below the first {self.top_n} hits, which alone are compared token by token")
        if not read:
            return []
        texts, ask = [hit.chunk.text for hit in read], partial(self.scores, query.text)
        cache = stage_cache.current()
        scores = ask(texts) if cache is None else cache.scores(self.fingerprint, query.text, texts, ask)
        scored = [hit.scored(self.name, float(score)) for hit, score in zip(read, scores)]
        return sorted(scored, key=lambda hit: -hit.score)

    def scores(self, question: str, texts: Sequence[str]) -> np.ndarray:
        """The score of each text, float32 `(texts,)`; raises ModelError for a model that fails or gives no numbers."""
        import numpy as np

        asked = text_windows(readable(question), *self._room("query"))
        trace.warn("the question is longer than the model of maxsim reads; its end was not read", len(asked) > 1)
        parts = [text_windows(readable(text), *self._room("document")) for text in texts]
        trace.warn(
            "passages longer than the model of maxsim reads were read in windows", sum(len(p) > 1 for p in parts)
        )
        [query] = self._vectors(asked[:1], "query")
        vectors = iter(self._vectors([part for found in parts for part in found], "document"))
        rows = [np.concatenate([next(vectors) for _ in found]) for found in parts]
        # a passage none of whose tokens counts has what unit vectors have at least
        found = np.array([(query @ row.T).max(axis=1).sum() if len(row) else -len(query) for row in rows], np.float32)
        if not np.isfinite(found).all():
            raise ModelError(f"{self.model} gave numbers that are not finite")
        return found / (len(query) if self._loaded.similarity_fn_name == "meanmaxsim" else 1)

    @cached_property
    def recipe(self) -> Recipe:
        """What the model's folder says; raises ModelError where there is none, or it is of a model of another kind."""
        recipe = Recipe.read(locate(self.model, offline=self.offline).path)
        if (recipe.path / "modules.json").exists() and recipe.model_type not in KINDS:
            raise ModelError(
                f"{self.model} is a {recipe.model_type}, which gives no vector a token",
                where="refine maxsim",
                fix="a MultiVectorEncoder, such as lightonai/GTE-ModernColBERT-v1; or refine: {use: cross_encoder}",
            )
        return recipe

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the settings, with the model's content in its place."""
        return self.fingerprint_with(model=self.recipe.identity)

    def _vectors(self, texts: Sequence[str], role: Role) -> list[np.ndarray]:
        encode: Any = self._loaded.encode_query if role == "query" else self._loaded.encode_document
        try:
            found = encode(list(texts), batch_size=self.batch_size, show_progress_bar=False, convert_to_numpy=True)
        except Exception as error:  # a model's own modules fail in as many ways as there are modules
            raise ModelError(f"{self.model} cannot encode a {role}: {type(error).__name__}: {error}") from error
        return [one.astype("float32") for one in found]

    def _room(self, role: Role) -> Reading:
        """The tokenizer of a role, and how much of a text fits beside its prompt."""
        tokenizer, most = self._readings[role]
        if most is None:
            return self._readings[role]
        room = most - tokenizer.count(self._loaded.prompts.get(role) or "")
        if room < 1:
            raise ConfigError(f"the {role} prompt of {self.model} fills its window of {most} tokens", where="refine")
        return Reading(tokenizer, room)

    @cached_property
    def _readings(self) -> dict[Role, Reading]:
        return {"query": reading(self._loaded, "query"), "document": reading(self._loaded, "document")}

    @cached_property
    def _loaded(self) -> Any:
        return load_torch(self.recipe.path, kind="MultiVectorEncoder", device=self.device)
