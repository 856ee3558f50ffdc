"""CrossScorer: a transformer that reads two paragraphs together and says whether they are on one topic.

    P(same) = softmax(model(left, right))[1]

The models that D. Aumiller and his co-authors published (`dennlinger/roberta-cls-consec`, trained on terms of service,
and `dennlinger/bert-wiki-paragraphs`, on Wikipedia) are of this form, and so is any classifier of pairs with two labels
of which label 1 says "same topic".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field, PositiveInt

from fovea.rag import trace
from fovea.rag.engines import no_bars
from fovea.rag.errors import ModelError, require
from fovea.rag.models import locate
from fovea.rag.placed import NameOrPath
from fovea.rag.recipe import NO_LIMIT, Recipe
from fovea.rag.requirements import Requirement, model, package
from fovea.rag.wordpieces import readable
from fovea.rag.written import Written

if TYPE_CHECKING:
    import numpy as np

_SAME = re.compile(r"same|consec|positive|true|yes|^1$", re.IGNORECASE)
_UNNAMED = re.compile(r"LABEL_\d+")


class CrossScorer(Written):
    """A classifier of pairs of paragraphs; loads on first use."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: NameOrPath
    """A folder, or a hub name; one without an organisation is of `dennlinger`."""
    batch_size: PositiveInt = 16
    """Pairs in one batch."""
    device: str | None = Field(default=None, pattern=r"^(cpu|mps|cuda(:\d+)?)$")
    """Left out, a GPU if torch sees one."""
    offline: bool = False
    """Never ask the hub."""

    def requirements(self) -> Iterator[Requirement]:
        """The library that runs the model, and the model."""
        yield package("transformers", "models", "the cross-encoder of topical_change")
        yield package("torch", "models", "the cross-encoder of topical_change")
        yield model(self.model, "dennlinger")

    def same_topic(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """P(same) of each pair: float32 `(pairs,)`. Pairs longer than the model reads lose the end of the longer text,
        which is counted as a warning. Raises ModelError for a model that is none of two labels, or gives no numbers.
        """
        import numpy as np
        import torch

        found = [np.zeros(0, np.float32)]
        with torch.inference_mode():
            for at in range(0, len(pairs), self.batch_size):
                logits = self._model(**self._tokens(pairs[at : at + self.batch_size])).logits
                found.append(logits.float().softmax(-1)[:, 1].cpu().numpy())
        same = np.concatenate(found)
        if not np.isfinite(same).all():
            raise ModelError(f"{self.model} gave scores that are not finite")
        return same

    @cached_property
    def recipe(self) -> Recipe:
        """What the model's folder says; raises ModelError where the model cannot be found."""
        return Recipe.read(locate(self.model, offline=self.offline, organisation="dennlinger").path)

    @property
    def identity(self) -> str:
        """A hash of the model's content."""
        return self.recipe.identity

    def _tokens(self, pairs: Sequence[tuple[str, str]]) -> Any:
        left, right = ([readable(text) for text in side] for side in zip(*pairs))
        lengths = self._tokenizer(left, right, verbose=False)["input_ids"]
        long = sum(len(ids) > self._room for ids in lengths)
        trace.warn(f"pairs of paragraphs longer than the {self._room} tokens that {self.model} reads were cut", long)
        found = self._tokenizer(
            left, right, truncation="longest_first", max_length=self._room, padding=True, return_tensors="pt"
        )
        return found.to(self._model.device)

    @cached_property
    def _room(self) -> int:
        """Tokens of a pair, special ones counted."""
        stated = int(min(self._tokenizer.model_max_length, NO_LIMIT))
        # RoBERTa keeps the first positions for padding, and not every tokenizer says how many are left.
        positions = int(getattr(self._model.config, "max_position_embeddings", NO_LIMIT))
        return min(stated, positions if stated < NO_LIMIT else positions - 2)

    @cached_property
    def _tokenizer(self) -> Any:
        return self._load("AutoTokenizer")

    @cached_property
    def _model(self) -> Any:
        import torch

        model = self._load("AutoModelForSequenceClassification").float().eval()
        labels = [str(model.config.id2label[i]) for i in range(model.config.num_labels)]
        if len(labels) != 2:
            raise ModelError(f"{self.model} has {len(labels)} labels; a scorer of pairs has two, 1 for the same topic")
        named = not all(_UNNAMED.fullmatch(label) for label in labels)
        if named and _SAME.search(labels[0]) and not _SAME.search(labels[1]):
            raise ModelError(
                f"{self.model} calls label 0 {labels[0]!r} and label 1 {labels[1]!r}; label 1 must be the same topic"
            )
        return model.to(self.device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def _load(self, kind: str) -> Any:
        library = require("transformers", extra="models", needed_by="the cross-encoder of topical_change")
        path = self.recipe.path
        try:
            with no_bars():
                return getattr(library, kind).from_pretrained(str(path), local_files_only=True)
        except Exception as error:  # a folder can be wrong in as many ways as there are libraries below
            raise ModelError(f"transformers cannot load {path}: {type(error).__name__}: {error}") from error
