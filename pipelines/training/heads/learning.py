"""Learning: what a method that is learned on heads is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from fovea.pipelines.bench.longcontext.prose import prose
from fovea.rag.causal_lm import ORGANISATION, CausalLM, load
from fovea.rag.component import fingerprint
from fovea.rag.content import content_of
from fovea.rag.errors import ConfigError
from fovea.rag.sentences import sentences


@dataclass(frozen=True)
class Learning:
    """A recipe, a model by its name, files to learn from, and the folder of what comes of it."""

    recipe: Any
    model: str
    paths: Sequence[str]
    out: Path
    seed: int = 0
    sitting: Mapping[str, Any] = field(default_factory=dict)
    """`restart` and `max_seconds`."""

    @property
    def lm(self) -> CausalLM:
        """The model, loaded."""
        return load(self.model)

    def given(self, data: Any) -> dict[str, str]:
        """What tells this training from others, beside recipe and seed."""
        return {"model": content_of(self.model, organisation=ORGANISATION), "data": fingerprint(data)}

    def asked(self, data: Any) -> str:
        """All of it as one fingerprint."""
        return fingerprint([self.recipe.model_dump(mode="json"), self.seed, self.given(data)])

    def sentences(self) -> list[str]:
        """Those of the texts, or made-up prose where there are none; raises ConfigError for a text that is none."""
        try:
            texts = [Path(path).read_text("utf-8") for path in self.paths]
        except (OSError, UnicodeDecodeError) as error:
            what = f"a text cannot be read: {error}"
            raise ConfigError(what, where="--data", fix="--data FILE.txt, in UTF-8") from None
        said = [" ".join(text[span.start : span.end].split()) for text in texts for span in sentences(text)]
        return said or list(islice(prose(self.seed), 500))
