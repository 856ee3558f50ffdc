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
    cache: Path | None = None
    """Where what is read of texts is kept, for other methods too; None for `out`."""

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

    def texts(self) -> list[str]:
        """Those of the files, and of the .txt files of the folders, that are given.

        Raises ConfigError for what is none.
        """
        try:
            files = [file for path in self.paths for file in _files(Path(path))]
            return [file.read_text("utf-8") for file in files]
        except (OSError, UnicodeDecodeError) as error:
            what = f"a text cannot be read: {error}"
            raise ConfigError(what, where="--data", fix="--data FILE.txt, in UTF-8") from None

    def sentences(self) -> list[str]:
        """Those of the texts, or made-up prose where there are none; raises ConfigError for a text that is none."""
        said = [" ".join(text[span.start : span.end].split()) for text in self.texts() for span in sentences(text)]
        return said or list(islice(prose(self.seed), 500))


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.txt")) if path.is_dir() else [path]
