"""A cross-encoder reads question and passage together and says how likely the passage answers: slow, and better.

    p(q, c) = max over windows w of c of sigmoid(model(q, w))

(Nogueira and Cho, 2019, "Passage re-ranking with BERT"; the best window stands for a passage longer than the model's
window, as MaxP does in Dai and Callan, 2019, "Deeper text understanding for IR".)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from fovea.rag import stage_cache, trace
from fovea.rag.component import Component, SpeedOnly, fingerprint
from fovea.rag.corpus import Corpus
from fovea.rag.engines import has_gpu, load_torch
from fovea.rag.errors import ModelError
from fovea.rag.models import locate
from fovea.rag.placed import NameOrPath
from fovea.rag.recipe import NO_LIMIT, Recipe
from fovea.rag.requirements import Requirement, model
from fovea.rag.retrieval import Refiner
from fovea.rag.types import Hit, Query
from fovea.rag.windows import text_windows
from fovea.rag.wordpieces import ModelTokenizer, readable

if TYPE_CHECKING:
    import numpy as np


class CrossEncoderRefiner(Refiner, name="cross_encoder"):
    """Scores the first `top_n` hits anew and orders them by that; hits below are dropped.

    They are dropped, not put below, because their scores are of another scale: what comes after (a budget, a rule that
    reads ratios) is given probabilities only.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"probabilities"})
    packages: ClassVar[Mapping[str, str]] = {"sentence_transformers": "models"}

    model: NameOrPath = "cross-encoder/ms-marco-MiniLM-L-6-v2"
    """A folder, or a hub name, of a sequence classifier with one label."""
    top_n: PositiveInt = 50
    """How many hits are read; each costs a run of the model."""
    batch_size: SpeedOnly[PositiveInt] = 32
    """Pairs in one batch, at most."""
    device: SpeedOnly[str | None] = Field(default=None, pattern=r"^(cpu|mps|cuda(:\d+)?)$")
    """Left out, a GPU if torch sees one."""
    offline: SpeedOnly[bool] = False
    """Never ask the hub."""

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """Also the model."""
        yield from super().requirements(encoder)
        yield model(self.model, "cross-encoder")

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        """The first `top_n` hits by falling probability, equal ones in the order given. O(top_n) runs of the model."""
        read, below = list(hits[: self.top_n]), hits[self.top_n :]
        for hit in below:
            trace.current().drop(hit, f"below the first {self.top_n} hits, which alone the cross-encoder reads")
        if not read:
            return []
        texts, ask = [hit.chunk.text for hit in read], partial(self.probabilities, query.text)
        cache = stage_cache.current()
        scores = ask(texts) if cache is None else cache.scores(self._reads, query.text, texts, ask)
        scored = [hit.scored(self.name, float(score)) for hit, score in zip(read, scores)]
        return sorted(scored, key=lambda hit: -hit.score)

    def probabilities(self, question: str, texts: Sequence[str]) -> np.ndarray:
        """How likely each text answers the question, float32 `(texts,)` in `[0, 1]`; raises ModelError for NaN."""
        import numpy as np

        question, room = self._fit(readable(question))
        parts = [text_windows(readable(text), self.tokenizer, room) for text in texts]
        trace.warn(
            f"passages longer than the {room} tokens that the cross-encoder reads were scored by their best window",
            sum(len(found) > 1 for found in parts),
        )
        pairs = [(question, part) for found in parts for part in found]
        scores = self._predict(pairs)
        if not np.isfinite(scores).all():
            raise ModelError(f"{self.model} gave scores that are not finite")
        starts = np.cumsum([0, *(len(found) for found in parts[:-1])])
        return np.maximum.reduceat(scores, starts)

    @cached_property
    def recipe(self) -> Recipe:
        """What the model's folder says; raises ModelError where the model cannot be found."""
        return Recipe.read(locate(self.model, offline=self.offline, organisation="cross-encoder").path)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what decides the scores: the model's content and `top_n`."""
        return fingerprint({**self.settings(speed=False), "version": self.version, "model": self.recipe.identity})

    @cached_property
    def _reads(self) -> str:
        """A hash of what decides the score of one passage."""
        return fingerprint({"use": self.name, "version": self.version, "model": self.recipe.identity})

    @cached_property
    def tokenizer(self) -> ModelTokenizer:
        """The model's own."""
        return ModelTokenizer.of(self._loaded.tokenizer, self.model)

    def _predict(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        import torch

        return self._loaded.predict(
            list(pairs), batch_size=self.batch_size, show_progress_bar=False, activation_fn=torch.nn.Sigmoid()
        )

    def _fit(self, question: str) -> tuple[str, int | None]:
        """The question, and how many tokens of a passage fit beside it; a question may fill half of the window."""
        most = self._loaded.max_seq_length
        if most is None or most >= NO_LIMIT:
            return question, None
        whole = int(most) - self._specials
        kept = text_windows(question, self.tokenizer, max(1, whole // 2))
        trace.warn(f"the question is longer than the {whole // 2} tokens that fit; its end was not read", len(kept) > 1)
        return kept[0], whole - self.tokenizer.count(kept[0])

    @cached_property
    def _specials(self) -> int:
        return int(self._loaded.tokenizer.num_special_tokens_to_add(pair=True))

    @cached_property
    def _loaded(self) -> Any:
        device = self.device or ("cuda" if has_gpu() and _sees_gpu() else "cpu")
        model = load_torch(self.recipe.path, kind="CrossEncoder", device=device)
        if (labels := model.num_labels) != 1:
            raise ModelError(f"{self.model} has {labels} labels; a re-ranker has one", fix="model: a re-ranking model")
        trace.current().note(cross_encoder=f"torch on {device}")
        return model


def _sees_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
