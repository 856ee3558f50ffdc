"""How a saved sentence-transformers model makes a vector, read from its folder without importing anything heavy.

`Recipe.obstacle` says why the fast path (token ids in, pooled vector out of one graph) could not give the model's exact
vectors; it is empty for a transformer followed by pooling, dense layers and normalisation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fovea.rag.component import fingerprint
from fovea.rag.errors import ModelError
from fovea.rag.models import digest

FOLLOWED = {"Transformer", "Pooling", "Normalize", "Dense", "LayerNorm", "Dropout"}
MODES = ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
TODAY = {"cls_token": "cls", "max_tokens": "max", "mean_tokens": "mean"}
"""What sentence-transformers calls these modes of pooling today."""
NO_LIMIT = 10**9
"""A tokenizer without a limit says 10**30."""

COSMETIC = {"_name_or_path", "name_or_path", "transformers_version", "architectures", "use_cache", "__version__"}
"""Settings that do not change a vector; they differ between copies of one model."""
NOT_THE_MODEL = {"data_config.json", "README.md", "train_script.py", "model.safetensors.index.json"}
VOCABULARY = {"vocab.txt", "vocab.json", "merges.txt", "special_tokens_map.json"}
"""Files that `tokenizer.json` repeats."""


@dataclass(frozen=True)
class Recipe:
    """What the files of `path` say: the modules in order, and their settings."""

    path: Path
    modules: tuple[tuple[str, str], ...]
    """The class and the folder of each."""

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """Raises ModelError where the files make no sense."""
        listed = _json(path / "modules.json", [])
        try:
            modules = tuple((str(m["type"]), str(m["path"])) for m in sorted(listed, key=lambda m: m["idx"]))
        except (KeyError, TypeError):
            raise ModelError(f"{path / 'modules.json'} is not a list of modules") from None
        plain = (("sentence_transformers.Transformer", ""), ("sentence_transformers.Pooling", ""))
        return cls(path, modules or plain)

    @cached_property
    def obstacle(self) -> str:
        """Why the fast path cannot follow this model; empty where it can."""
        names = [kind.rsplit(".", 1)[-1] for kind, _ in self.modules]
        foreign = [k for k, _ in self.modules if not k.startswith("sentence_transformers.")]
        if foreign or names[0] != "Transformer" or set(names) - FOLLOWED:
            return f"it is made of {', '.join(foreign or names)}"
        if not (self.path / "tokenizer.json").exists():
            return "it has no tokenizer.json"
        if any(self.prompts.values()) and not self._pooling.get("include_prompt", True):
            return "its pooling leaves the prompt out"
        if (self.path / "adapter_config.json").exists():
            return "it is an adapter of another model"
        return ""

    @cached_property
    def prompts(self) -> dict[str, str]:
        """What the model wants before a text, by role."""
        saved = _json(self.path / "config_sentence_transformers.json", {}).get("prompts") or {}
        document = next((saved[k] for k in ("document", "passage", "corpus") if saved.get(k)), "")
        return {"query": saved.get("query") or "", "document": document}

    @cached_property
    def max_tokens(self) -> int | None:
        """How many token ids the model reads, special tokens counted; None without a limit."""
        stated = _json(self.path / self.modules[0][1] / "sentence_bert_config.json", {}).get("max_seq_length")
        if stated is None:
            limits = (
                _json(self.path / "tokenizer_config.json", {}).get("model_max_length"),
                self.config.get("max_position_embeddings"),
            )
            stated = min((int(n) for n in limits if n is not None and n > 0), default=NO_LIMIT)
        return int(stated) if stated < NO_LIMIT else None

    @cached_property
    def dim(self) -> int | None:
        """Length of a vector; None if only the loaded model can tell."""
        for kind, folder in reversed(self.modules):
            if kind.endswith(".Dense"):
                return _json(self.path / folder / "config.json", {}).get("out_features")
            if kind.endswith(".Pooling") and folder:
                settings = self._pooling
                width = settings.get("embedding_dimension") or settings.get("word_embedding_dimension")
                return width * len(self.pooling) if width else None
        return self.config.get("hidden_size") if not self.obstacle else None

    @property
    def config(self) -> dict[str, Any]:
        """The settings of the transformer."""
        return _json(self.path / self.modules[0][1] / "config.json", {})

    @property
    def _pooling(self) -> dict[str, Any]:
        folder = next((f for kind, f in self.modules if kind.endswith(".Pooling") and f), None)
        return _json(self.path / folder / "config.json", {}) if folder else {}

    @property
    def pooling(self) -> tuple[str, ...]:
        """How states become a vector, by today's names: mean, cls, max, ..."""
        mode = self._pooling.get("pooling_mode")
        if mode is not None:
            return (mode,) if isinstance(mode, str) else tuple(mode)
        return tuple(TODAY.get(m, m) for m in MODES if self._pooling.get(f"pooling_mode_{m}")) or ("mean",)

    @cached_property
    def identity(self) -> str:
        """A hash of all that decides the model's vectors: weights, vocabulary and settings, not its name or place."""
        folders = dict.fromkeys(["", *(folder for _, folder in self.modules)])
        files = {f"{f}/{p.name}": p for f in folders for p in (self.path / f).glob("*") if _decides(p)}
        return fingerprint({"modules": [k.rsplit(".", 1)[-1] for k, _ in self.modules], "files": {
            name: digest(path) if path.suffix != ".json" or path.name == "tokenizer.json" else _telling(path)
            for name, path in sorted(files.items())
        }})  # fmt: skip


def _decides(path: Path) -> bool:
    if path.name in NOT_THE_MODEL or path.suffix not in (".json", ".safetensors", ".bin", ".txt", ".model", ".py"):
        return False
    if path.name in VOCABULARY and (path.parent / "tokenizer.json").exists():
        return False
    return path.suffix != ".bin" or not any(path.parent.glob("*.safetensors"))


def _telling(path: Path) -> Any:
    settings = _json(path, {})
    return {k: v for k, v in settings.items() if k not in COSMETIC} if isinstance(settings, dict) else None


def _json(path: Path, otherwise: Any) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return otherwise
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}") from None
