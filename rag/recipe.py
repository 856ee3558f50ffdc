"""How a saved sentence-transformers model makes a vector, read from its folder without importing anything heavy.

`Recipe.obstacle` says why the fast path (token ids in, pooled vector out of one graph) could not give the model's exact
vectors; it is empty for a transformer followed by pooling, dense layers and normalisation. What the library reads of
the settings, and what it leaves aside, was taken from sentence-transformers 6.2 and is held to it by the tests.
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
TRANSFORMER = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
"""What the file with a transformer's settings may be named for; the first that says something counts."""
OF_ITS_OWN = ("query_length", "document_length", "query_expansion", "processing_kwargs", "tokenizer_args",
              "processor_kwargs")  # fmt: skip
"""Settings of a transformer by which it reads texts in another way than whole, up to `max_tokens`."""
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
        if told := [key for key in OF_ITS_OWN if self._transformer.get(key)]:
            return f"its transformer has {', '.join(told)}"
        if self._transformer.get("do_lower_case") and not self._lowers:
            return "its transformer writes in small letters what its tokenizer.json does not"
        if (self.path / "adapter_config.json").exists():
            return "it is an adapter of another model"
        return ""

    @cached_property
    def saved(self) -> dict[str, Any]:
        """The settings of the whole model; sentence-transformers reads none where no modules are listed."""
        listed = (self.path / "modules.json").exists()
        found = _json(self.path / "config_sentence_transformers.json", {}) if listed else {}
        told = found.get("prompts") or {} if isinstance(found, dict) else None
        if not isinstance(told, dict) or not all(isinstance(prompt, str | None) for prompt in told.values()):
            raise ModelError(
                f"{self.path / 'config_sentence_transformers.json'} is not what sentence-transformers saves"
            )
        return found

    @property
    def model_type(self) -> str:
        """SentenceTransformer, SparseEncoder, MultiVectorEncoder or CrossEncoder."""
        return str(self.saved.get("model_type", "SentenceTransformer"))

    @cached_property
    def prompts(self) -> dict[str, str]:
        """What the model may be told before a text, by name; `query` and `document` are in every model, if empty."""
        return {"query": "", "document": "", **{k: v or "" for k, v in (self.saved.get("prompts") or {}).items()}}

    def unused(self, role: str) -> str:
        """The name of a prompt that the model keeps and that its makers may have meant for texts of a role, which are
        read without one; empty where there is none. sentence-transformers 6.2 puts neither `passage` and `corpus`
        before a document nor the default prompt before a document or a query, since the prompt of the role's own name
        is always there, if empty.
        """
        names = (*(("passage", "corpus") if role == "document" else ()), self.saved.get("default_prompt_name"))
        return next((name for name in names if self.prompts.get(name)), "") if not self.prompts[role] else ""

    @property
    def truncate_dim(self) -> int | None:
        """How many of a vector's numbers the model keeps by its own settings; None for all."""
        kept = self.saved.get("truncate_dim")
        if kept is not None and (type(kept) is not int or kept < 1):
            raise ModelError(f"{self.path / 'config_sentence_transformers.json'}: truncate_dim is {kept!r}")
        return kept

    @property
    def similarity(self) -> str:
        """How the model's vectors are meant to be compared, where unit length would matter: dot, euclidean or
        manhattan; empty for the cosine, and for vectors that the model itself scales to unit length.
        """
        told = self.saved.get("similarity_fn_name") or "cosine"
        return "" if told == "cosine" or self.modules[-1][0].endswith(".Normalize") else str(told)

    @property
    def includes_prompt(self) -> bool:
        """Whether the tokens of a prompt count where states become a vector."""
        return bool(self._pooling.get("include_prompt", True))

    @cached_property
    def max_tokens(self) -> int | None:
        """How many token ids the model reads, special tokens counted; None without a limit."""
        stated = self._transformer.get("max_seq_length")
        if stated is None:
            limits = (
                _json(self.path / "tokenizer_config.json", {}).get("model_max_length"),
                self.config.get("max_position_embeddings"),
            )
            stated = min((int(n) for n in limits if n is not None and n > 0), default=NO_LIMIT)
        return int(stated) if stated < NO_LIMIT else None

    @cached_property
    def dim(self) -> int | None:
        """Length of a vector before it is cut; None if only the loaded model can tell."""
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
    def _transformer(self) -> dict[str, Any]:
        folder = self.path / self.modules[0][1]
        return next((told for name in TRANSFORMER if (told := _json(folder / f"sentence_{name}_config.json", {}))), {})

    @property
    def _towers(self) -> list[str]:
        """The folders of a `Router`'s own modules."""
        lists = ((f, _json(self.path / f / "router_config.json", {})) for _, f in self.modules)
        return [
            f"{folder}/{name}" if folder else name for folder, listed in lists for name in listed.get("types") or ()
        ]

    @property
    def _lowers(self) -> bool:
        """Whether the tokenizer's own file makes letters small."""
        found = _json(self.path / "tokenizer.json", {}).get("normalizer") or {}
        return any(
            one.get("type") == "Lowercase" or one.get("lowercase") for one in [found, *found.get("normalizers", [])]
        )

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
        folders = dict.fromkeys(["", *(folder for _, folder in self.modules), *self._towers])
        found = ((f, p) for f in folders for p in (self.path / f).glob("**/*" if f else "*") if _decides(p))
        files = {f"{f}/{p.relative_to(self.path / f).as_posix()}": p for f, p in found}
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
