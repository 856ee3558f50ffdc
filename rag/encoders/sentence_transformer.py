"""Any sentence-transformers model, by the fastest back-end that gives its exact vectors.

A BERT with pooling runs through `tokenizers` and ONNX Runtime, without torch; other transformers do after a first use
that exports them through torch. A model whose vectors that path cannot give runs through sentence-transformers itself,
and says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt, model_validator

from fovea.rag import trace
from fovea.rag.backend import EXTRAS, PACKAGES, RUNS, Backend, Choice, Precision, choose
from fovea.rag.component import Component, SpeedOnly, fingerprint
from fovea.rag.encoder import Encoder, Role, TokenStates
from fovea.rag.engines import Engine, cores, load_torch, openvino_engine, torch_engine
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.models import locate
from fovea.rag.onnx_export import AGREEMENT, agreement, exported, forget, onnx_session
from fovea.rag.recipe import NO_LIMIT, Recipe
from fovea.rag.requirements import Requirement, model, package
from fovea.rag.windows import batches, joined, text_windows, windows
from fovea.rag.wordpieces import ModelTokenizer, readable

if TYPE_CHECKING:
    import numpy as np

CPU_TOKENS, GPU_TOKENS = 512, 32_768
"""Padded tokens in a batch: on a CPU what stays in its caches, on a GPU what keeps it busy."""


@dataclass(frozen=True)
class Loaded:
    """A model ready to run: by token ids where `engine` is there, else by texts through `model`."""

    choice: Choice
    engine: Engine | None = None
    model: Any = None


class SentenceTransformerEncoder(Encoder, name="sentence_transformer"):
    """Vectors of a sentence-transformers model, from a folder or by its hub name.

    The fingerprint names the model by its content (weights, vocabulary, settings), never by its name or place.
    """

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    """A folder, a name of `fovea models` (`minilm` is the default), or a hub name."""
    precision: Precision = "float32"
    """int8 rounds weights and activations (other vectors: measure what it costs in recall); bfloat16 needs a CPU that
    has it, or a GPU."""
    query_prompt: str | None = None
    """Put before every query; left out, what the model's own settings say."""
    document_prompt: str | None = None
    """Put before every document; left out, what the model's own settings say."""
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

    @cached_property
    def recipe(self) -> Recipe:
        """What the model's folder says; raises ModelError where the model cannot be found."""
        return Recipe.read(locate(self.model, offline=self.offline).path)

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
        })  # fmt: skip

    @property
    def space(self) -> str:
        """The model by its content. Precision and prompts stay out: they move its vectors a little, not elsewhere."""
        return self.recipe.identity

    @cached_property
    def dim(self) -> int:
        """Length of a vector."""
        return self.recipe.dim or self._windowed(["dimension"], "query")[0].shape[1]

    @cached_property
    def tokenizer(self) -> ModelTokenizer:
        """The model's own."""
        if not self.recipe.obstacle:
            return ModelTokenizer.read(self.recipe.path / "tokenizer.json")
        return ModelTokenizer.of(self._loaded.model.tokenizer, self.model)

    @cached_property
    def window(self) -> int | None:
        """The tokens of a document that fit into the model beside its special tokens and the document prompt."""
        return self._room("document")

    def prompt(self, role: Role) -> str:
        """What is put before a text of this role."""
        own = self.query_prompt if role == "query" else self.document_prompt
        return self.recipe.prompts[role] if own is None else own

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
        if not np.isfinite(vectors).all():
            raise ModelError(f"{self.model} gave numbers that are not finite, running on {self.chosen_backend}")
        long = sum(times > 1 for times in Counter(owners).values())
        trace.warn(f"texts longer than the model's window of {self._room(role)} tokens were encoded in windows", long)
        found, empty = joined(vectors, owners, weights, len(texts))
        trace.warn("texts in which the model knows no token became the first unit vector", empty)
        return found

    def token_states(self, texts: Sequence[str], role: Role = "document") -> list[TokenStates]:
        """Vectors, tokens and their last states. A text longer than the window has the states of all its windows.

        Raises ConfigError for a model that is not a transformer followed by pooling.
        """
        import numpy as np

        if self._loaded.engine is None:
            raise ConfigError(
                f"no states of tokens can be had from {self.model}: {self.recipe.obstacle or 'it has no token ids'}",
                where="encoder",
            )
        if not texts:
            return []
        rows, owners, weights = self._windows(texts, role)
        start, prompt = len(self.tokenizer.specials[0]), self.tokenizer.count(self.prompt(role))
        vectors, parts = np.zeros((len(rows), self.dim), np.float32), [np.zeros((0, 0), np.float32)] * len(rows)
        for batch in batches([len(row) for row in rows], texts=self.batch_size, tokens=CPU_TOKENS):
            vectors[batch], states = self._loaded.engine.states(*self.tokenizer.padded([rows[i] for i in batch]))
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
        rows, owners, weights = self._windows(texts, role)
        extra = sum(map(len, self.tokenizer.specials))
        return self._run(rows, [len(row) + extra for row in rows]), owners, weights

    def _windows(self, texts: Sequence[str], role: Role) -> tuple[list[list[int]], list[int], list[int]]:
        prompt, room = self.prompt(role), self._room(role)
        before = self.tokenizer.ids([prompt])[0]
        rows, owners, weights = [], [], []
        for i, ids in enumerate(self.tokenizer.ids([prompt + text for text in texts])):
            if room is None or len(ids) <= room + len(before):
                parts = [ids]
            else:  # every window is read with the prompt, as the whole text would be
                ids = self.tokenizer.ids([texts[i]])[0] if prompt else ids
                parts = [before + ids[a:b] for a, b in windows(len(ids), room)]
            rows += parts
            owners += [i] * len(parts)
            weights += [max(1, len(part) - len(before)) for part in parts]
        return rows, owners, weights

    def _run(self, rows: list[list[int]], lengths: list[int]) -> np.ndarray:
        import numpy as np

        loaded, out = self._loaded, None
        budget = self.batch_tokens or (CPU_TOKENS if loaded.choice.device == "cpu" else GPU_TOKENS)
        # int8 scales the activations of a whole batch together: alone, a text's vector does not depend on its company
        most = 1 if self.precision == "int8" else self.batch_size
        order = list(batches(lengths, texts=most, tokens=budget))

        def vectors(batch: list[int]) -> np.ndarray:
            return loaded.engine(*self.tokenizer.padded([rows[i] for i in batch]))  # type: ignore[misc]

        workers = min(len(order), (self.threads or cores()) if loaded.choice.backend == "onnx" else 1)
        with ThreadPoolExecutor(max(1, workers)) as pool:
            for batch, part in zip(order, (pool.map if workers > 1 else map)(vectors, order)):
                out = np.empty((len(rows), part.shape[1]), dtype=np.float32) if out is None else out
                out[batch] = part
        assert out is not None
        return out

    def _by_texts(self, texts: Sequence[str], role: Role) -> tuple[np.ndarray, list[int], list[int]]:
        room = self._room(role)
        parts = [text_windows(readable(text), self.tokenizer, room) for text in texts]
        flat = [part for found in parts for part in found]
        vectors = self._loaded.model.encode(
            flat, prompt=self.prompt(role) or None, batch_size=self.batch_size, show_progress_bar=False
        )
        owners = [i for i, found in enumerate(parts) for _ in found]
        return vectors.astype("float32"), owners, [max(1, n) for n in self.tokenizer.count_many(flat)]

    def _room(self, role: Role) -> int | None:
        most = self._loaded.model.max_seq_length if self.recipe.obstacle else self.recipe.max_tokens
        if most is None or most >= NO_LIMIT:
            return None
        room = int(most) - sum(map(len, self.tokenizer.specials)) - self.tokenizer.count(self.prompt(role))
        if room < 1:
            raise ConfigError(
                f"the {role} prompt of {self.model} fills its window of {most} tokens", fix="a shorter prompt"
            )
        return room

    @cached_property
    def _loaded(self) -> Loaded:
        choice = choose(self.backend, self.device, self.precision)
        if choice.backend == "torch":
            return self._torch(choice)
        why = self.recipe.obstacle
        if not why:
            try:
                return Loaded(choice, self._graph(choice))
            except ModelError as error:
                why = error.what
        if self.backend != "auto" or self.precision == "int8":
            raise ModelError(
                f"{self.model} cannot run on {choice.backend}: {why}", fix="backend: torch, precision: float32"
            )
        trace.warn(f"{self.model} runs through sentence-transformers, not on {choice.backend}: {why}")
        return self._torch(Choice("torch", choice.device, why))

    def _graph(self, choice: Choice) -> Engine:
        """The exported graph on ONNX Runtime or OpenVINO; one that cannot be read any more is exported again."""
        try:
            return self._open(choice)
        except ModelError as error:
            if forget(self.recipe) == 0:
                raise
            trace.warn(f"the ONNX export could not be read and is made again: {error.what}")
            return self._open(choice)

    def _open(self, choice: Choice) -> Engine:
        if choice.backend == "openvino":
            return openvino_engine(exported(self.recipe), self.threads, bfloat16=self.precision == "bfloat16")
        return onnx_session(self.recipe, int8=self.precision == "int8")

    def _torch(self, choice: Choice) -> Loaded:
        """Token ids straight into the modules where that gives what `SentenceTransformer.encode` does, else texts."""
        model = load_torch(self.recipe.path, device=choice.device, settings={"dtype": self.precision})
        if not self.recipe.obstacle:
            engine = torch_engine(model)
            if agreement(self.recipe, model, engine) >= (AGREEMENT if self.precision == "float32" else 0.999):
                return Loaded(choice, engine, model)
        return Loaded(choice, None, model)
