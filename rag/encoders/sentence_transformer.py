"""Any sentence-transformers model, by the fastest back-end that gives its exact vectors.

A BERT with pooling runs through `tokenizers` and ONNX Runtime, without torch; other transformers do after a first use
that exports them through torch. A model whose vectors that path cannot give runs through sentence-transformers itself,
and says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt, model_validator

from fovea.rag import trace
from fovea.rag.backend import EXTRAS, PACKAGES, RUNS, Backend, Precision, choose
from fovea.rag.component import Component, SpeedOnly, fingerprint
from fovea.rag.encoder import Encoder, Role, Tokenizer, TokenStates
from fovea.rag.encoders import by_ids, by_texts
from fovea.rag.encoders.by_ids import CPU_TOKENS, GPU_TOKENS
from fovea.rag.encoders.loading import Loaded, Loading
from fovea.rag.engines import cores
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.models import find, locate
from fovea.rag.placed import NameOrPath
from fovea.rag.recipe import Recipe
from fovea.rag.requirements import Requirement, model, package
from fovea.rag.windows import batches, joined, text_windows
from fovea.rag.wordpieces import ModelTokenizer, readable

if TYPE_CHECKING:
    import numpy as np

ROLES: tuple[Role, ...] = ("query", "document")


BELONGS = {
    "SparseEncoder": "retrieve: [{use: dense}, {use: learned_sparse, model: ...}], with an encoder beside it",
    "MultiVectorEncoder": "refine: {use: maxsim, model: ...}, with an encoder beside it",
    "ColBERT": "refine: {use: maxsim, model: ...}, with an encoder beside it",
    "CrossEncoder": "refine: {use: cross_encoder, model: ...}, with an encoder beside it",
}
"""Where a model of another kind belongs."""


class SentenceTransformerEncoder(Encoder, name="sentence_transformer"):
    """Vectors of a sentence-transformers model, from a folder or by its hub name.

    The fingerprint names the model by its content (weights, vocabulary, settings), never by its name or place.
    """

    model: NameOrPath = "sentence-transformers/all-MiniLM-L6-v2"
    """A folder, a name of `fovea models` (`minilm` is the default), or a hub name."""
    precision: Precision = "float32"
    """int8 rounds weights and activations (other vectors: measure what it costs in recall); bfloat16 needs a CPU that
    has it, or a GPU."""
    query_prompt: str | None = None
    """Put before every query, as it stands; left out, the model's own prompt `query`."""
    document_prompt: str | None = None
    """Put before every document, as it stands; left out, the model's own prompt `document`."""
    query_prompt_name: str | None = None
    """Another of the model's own prompts for queries, by its name."""
    document_prompt_name: str | None = None
    """Another of the model's own prompts for documents, by its name."""
    truncate_dim: PositiveInt | None = None
    """Keep the first so many numbers of a vector, scaled to unit length again: for models trained so that these do by
    themselves (Matryoshka: Kusupati et al., 2022, arXiv:2205.13147). Left out, what the model's own settings say."""
    backend: SpeedOnly[Backend] = "auto"
    """What runs the model; all give the same float32 vectors."""
    device: SpeedOnly[str | None] = Field(default=None, pattern=r"^(cpu|mps|cuda(:\d+)?)$")
    """Left out, a GPU if torch sees one."""
    batch_size: SpeedOnly[PositiveInt] = 64
    """Texts in one batch, at most."""
    batch_tokens: SpeedOnly[PositiveInt | None] = None
    """Tokens in one batch with its padding, at most; a longer text is a batch of its own."""
    threads: SpeedOnly[PositiveInt | None] = None
    """Threads of ONNX Runtime (a batch each) or OpenVINO; left out, one a core."""
    offline: SpeedOnly[bool] = False
    """Never ask the hub."""

    @model_validator(mode="after")
    def _fits(self) -> SentenceTransformerEncoder:
        if self.backend != "auto" and self.backend not in RUNS[self.precision]:
            raise ValueError(
                f"precision {self.precision} runs on {' or '.join(RUNS[self.precision])}, not {self.backend}"
            )
        if (self.device or "cpu") != "cpu" and (self.backend in ("onnx", "openvino") or self.precision == "int8"):
            raise ValueError(f"device {self.device} needs backend torch (or auto), and a precision other than int8")
        for role in ROLES:
            if None not in self._told(role):
                raise ValueError(
                    f"{role}_prompt and {role}_prompt_name are two ways to say one thing: give one of them"
                )
        return self

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """A back-end, what it needs, and the model."""
        needed_by = f"the encoder {self.name!r}"
        if self.backend == "auto":
            here = (self.device or "cpu") == "cpu"  # else torch is asked which devices there are
            yield Requirement("a back-end", lambda: choose(self.backend, self.device, self.precision), offline=here)
        else:
            yield package(PACKAGES[self.backend], EXTRAS[self.backend], needed_by)
        yield package("tokenizers", "onnx", needed_by)
        yield model(self.model)
        yield Requirement(f"what the encoder is told of {self.model!r}", self._fits_its_model)

    @cached_property
    def recipe(self) -> Recipe:
        """What the model's folder says; raises ModelError where there is none, or it is of a model of another kind."""
        recipe = Recipe.read(locate(self.model, offline=self.offline).path)
        if (kind := recipe.model_type) != "SentenceTransformer":
            raise ModelError(
                f"{self.model} is a {kind}, which gives no dense vector of a text", where="encoder",
                fix=BELONGS.get(kind, "encoder: {use: sentence_transformer, model: ...}, of one vector a text"),
            )  # fmt: skip
        return recipe

    @cached_property
    def obstacle(self) -> str:
        """Why the model cannot run by token ids; empty where it can."""
        if self.recipe.obstacle or self.recipe.includes_prompt:
            return self.recipe.obstacle
        return "its pooling leaves the prompt out" if self.prompt("query") or self.prompt("document") else ""

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what decides the vectors: the model's content, its prompts, the precision.

        In bfloat16 the back-ends round differently, so the one that runs here belongs to it.
        """
        rounds = self.precision == "bfloat16"
        return fingerprint({
            "kind": self.kind, "version": self.version, "use": self.name, "model": self.recipe.identity,
            "precision": self.precision, "rounds": rounds and choose(self.backend, self.device, self.precision).backend,
            "prompts": [self.prompt("query"), self.prompt("document")],
            **({"truncate_dim": self.truncate_dim} if self.truncate_dim else {}),
            **({"read": "by role"} if self.obstacle else {}),
        })  # fmt: skip

    @property
    def space(self) -> str:
        """The model by its content, and the cut. Precision and prompts stay out: they move its vectors a little, not
        elsewhere.
        """
        return fingerprint([self.recipe.identity, self.dim]) if self.truncate_dim else self.recipe.identity

    @cached_property
    def dim(self) -> int:
        """Length of a vector; raises ConfigError for a `truncate_dim` above what the model gives."""
        whole = self.recipe.dim or self._windowed(["dimension"], "query")[0].shape[1]
        if (self.truncate_dim or 0) > whole:
            raise ConfigError(
                f"truncate_dim is {self.truncate_dim}, and the vectors of {self.model} have {whole} numbers",
                where="encoder", allowed=[f"1 to {whole}"],
            )  # fmt: skip
        return min(whole, self.truncate_dim or self.recipe.truncate_dim or whole)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The model's own; of one with two, that of documents. Words and marks, where it does not say what it reads."""
        if not self.obstacle:
            return ModelTokenizer.read(self.recipe.path / "tokenizer.json")
        return self._readings["document"].tokenizer

    @cached_property
    def window(self) -> int | None:
        """The tokens of a document that fit into the model beside its special tokens and the document prompt."""
        return self._room("document")

    def prompt(self, role: Role) -> str:
        """What is put before a text of this role; raises ConfigError for the name of a prompt that the model lacks."""
        own, name = self._told(role)
        name = name or role
        if own is not None:
            return own
        if name not in self.recipe.prompts:
            raise ConfigError(
                f"{role}_prompt_name is {name!r}, and {self.model} has no such prompt", where="encoder", got=name,
                allowed=self.recipe.prompts, fix=f"{role}_prompt: with the words themselves",
            )  # fmt: skip
        return self.recipe.prompts[name]

    def _told(self, role: Role) -> tuple[str | None, str | None]:
        return getattr(self, f"{role}_prompt"), getattr(self, f"{role}_prompt_name")

    @property
    def chosen_backend(self) -> str:
        """The back-end that runs the model here, the device, and why."""
        choice = self._loaded.choice
        return f"{choice.backend} on {choice.device}, {self.precision} ({choice.why})"

    def encode(self, texts: Sequence[str], role: Role = "document") -> np.ndarray:
        """Float32 `(texts, dim)`, unit rows. A text without a single known token becomes the first unit vector."""
        import numpy as np

        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        trace.current().note(backend=self.chosen_backend)
        vectors, owners, weights = self._windowed(texts, role)
        vectors = vectors[:, : self.dim]
        if not np.isfinite(vectors).all():
            raise ModelError(f"{self.model} gave numbers that are not finite, running on {self.chosen_backend}")
        long = sum(times > 1 for times in Counter(owners).values())
        trace.warn(f"texts longer than the model's window of {self._room(role)} tokens were encoded in windows", long)
        found, empty = joined(vectors, owners, weights, len(texts))
        trace.warn("texts in which the model knows no token became the first unit vector", empty)
        return found

    def token_states(self, texts: Sequence[str], role: Role = "document") -> list[TokenStates]:
        """Vectors, tokens and their last states. A text longer than the window has the states of all its windows. Where
        vectors are cut, states as wide as a whole vector are cut with them.

        Raises ConfigError for a model that is not a transformer followed by pooling.
        """
        import numpy as np

        if self._loaded.engine is None:
            raise ConfigError(
                f"no states of tokens can be had from {self.model}: {self.obstacle or 'it has no token ids'}",
                where="encoder",
            )
        if not texts:
            return []
        rows, owners, weights = by_ids.windows_of(texts, self._ids, self.prompt(role), self._room(role))
        start, prompt = len(self._ids.specials[0]), self._ids.count(self.prompt(role))
        vectors, parts = np.zeros((len(rows), self.dim), np.float32), [np.zeros((0, 0), np.float32)] * len(rows)
        for batch in batches([len(row) for row in rows], texts=self.batch_size, tokens=CPU_TOKENS):
            whole, states = self._loaded.engine.states(*self._ids.padded([rows[i] for i in batch]))
            vectors[batch] = whole[:, : self.dim]
            states = states[..., : self.dim] if states.shape[-1] == whole.shape[1] else states
            for i, found in zip(batch, states):
                parts[i] = found[start + prompt : start + len(rows[i])].copy()
        joint, _ = joined(vectors, owners, weights, len(texts))
        of: list[list[int]] = [[] for _ in texts]
        for i, owner in enumerate(owners):
            of[owner].append(i)
        ids = [np.array([n for i in own for n in rows[i][prompt:]], np.int64) for own in of]
        return [TokenStates(v, n, np.concatenate([parts[i] for i in own])) for v, n, own in zip(joint, ids, of)]

    def _windowed(self, texts: Sequence[str], role: Role) -> tuple[np.ndarray, list[int], list[int]]:
        """Vectors of all windows `(windows, dim)`, whose text each is, and how many tokens it holds."""
        return (self._by_ids if self._loaded.engine else self._by_texts)(texts, role)

    def _by_ids(self, texts: Sequence[str], role: Role) -> tuple[np.ndarray, list[int], list[int]]:
        rows, owners, weights = by_ids.windows_of(texts, self._ids, self.prompt(role), self._room(role))
        loaded = self._loaded
        assert loaded.engine is not None
        vectors = by_ids.vectors_of(
            rows, loaded.engine, self._ids,
            # int8 scales the activations of a whole batch together: alone, a text's vector does not depend on others
            texts=1 if self.precision == "int8" else self.batch_size,
            tokens=self.batch_tokens or (CPU_TOKENS if loaded.choice.device == "cpu" else GPU_TOKENS),
            workers=(self.threads or cores()) if loaded.choice.backend == "onnx" else 1,
        )  # fmt: skip
        return vectors, owners, weights

    def _by_texts(self, texts: Sequence[str], role: Role) -> tuple[np.ndarray, list[int], list[int]]:
        room, tokenizer = self._room(role), self._readings[role].tokenizer
        parts = [text_windows(readable(text), tokenizer, room) for text in texts]
        flat = [part for found in parts for part in found]
        vectors = by_texts.vectors_of(self._loaded.model, flat, role, self.prompt(role), self.batch_size)
        owners = [i for i, found in enumerate(parts) for _ in found]
        return vectors, owners, [max(1, tokenizer.count(part)) for part in flat]

    @cached_property
    def _readings(self) -> dict[Role, by_texts.Reading]:
        return {role: by_texts.reading(self._loaded.model, role) for role in ROLES}

    @property
    def _ids(self) -> ModelTokenizer:
        """The tokenizer of a model that runs by token ids."""
        assert isinstance(self.tokenizer, ModelTokenizer)
        return self.tokenizer

    def _room(self, role: Role) -> int | None:
        tokenizer, most = self._readings[role] if self.obstacle else (self.tokenizer, self.recipe.max_tokens)
        if most is not None and not self.obstacle:
            most -= self._ids.extra
        if most is None:
            return None
        room = most - tokenizer.count(self.prompt(role))
        if room < 1:
            raise ConfigError(
                f"the {role} prompt of {self.model} fills its window of {most} tokens", fix="a shorter prompt"
            )
        return room

    def _fits_its_model(self) -> None:
        """Raises ConfigError for settings that are not of this model, as far as its files say; nothing is loaded."""
        if find(self.model):
            for role in ROLES:
                self.prompt(role)
            if self.recipe.dim:
                self.dim  # noqa: B018

    @cached_property
    def _loaded(self) -> Loaded:
        how = Loading(self.model, self.recipe, self.obstacle, self.backend, self.device, self.precision, self.threads)
        how.warn_of([role for role in ROLES if self._told(role) == (None, None)])
        return how.run()
