"""Loading a sentence-transformers model: to run by token ids where that gives its exact vectors, else by texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fovea.rag import trace
from fovea.rag.backend import Choice, choose
from fovea.rag.encoder import Role
from fovea.rag.engines import Engine, load_torch, openvino_engine, torch_engine
from fovea.rag.errors import ModelError
from fovea.rag.onnx_export import AGREEMENT, agreement, exported, forget, onnx_session
from fovea.rag.recipe import Recipe


@dataclass(frozen=True)
class Loaded:
    """A model ready to run: by token ids where `engine` is there, else by texts through `model`."""

    choice: Choice
    engine: Engine | None = None
    model: Any = None


@dataclass(frozen=True)
class Loading:
    """What is to be loaded, and how it is to run."""

    name: str
    recipe: Recipe
    obstacle: str
    """Why the model cannot run by token ids; empty where it can."""
    backend: str
    device: str | None
    precision: str
    threads: int | None

    def run(self) -> Loaded:
        """Raises ModelError where the model cannot run as it is told to."""
        choice = choose(self.backend, self.device, self.precision)
        if choice.backend == "torch":
            return self._torch(choice)
        why = self.obstacle
        if not why:
            try:
                return Loaded(choice, self._graph(choice))
            except ModelError as error:
                why = error.what
        if self.backend != "auto" or self.precision == "int8":
            raise ModelError(
                f"{self.name} cannot run on {choice.backend}: {why}", fix="backend: torch, precision: float32"
            )
        trace.warn(f"{self.name} runs through sentence-transformers, not on {choice.backend}: {why}")
        return self._torch(Choice("torch", choice.device, why))

    def warn_of(self, own_prompts: Sequence[Role]) -> None:
        """Say what the model was made for and does not get; `own_prompts` are of roles for which nothing was told."""
        for role in own_prompts:
            if name := self.recipe.unused(role):
                trace.warn(
                    f"{self.name} keeps a prompt {name!r} that neither sentence-transformers nor Fovea puts before a "
                    f"{role} by itself: {role}_prompt_name: {name} puts it there, {role}_prompt: '' ends this warning"
                )
        if told := self.recipe.similarity:
            trace.warn(
                f"the vectors of {self.name} are meant for {told} at their own length; here they are scaled to unit "
                "length and compared by the cosine"
            )

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
        """Token ids straight into the modules where that gives what `SentenceTransformer.encode` does, else texts.

        The model gives whole vectors, whatever it is told to cut: the encoder cuts them, on every back-end.
        """
        model = load_torch(self.recipe.path, device=choice.device, settings={"dtype": self.precision})
        model.truncate_dim = None
        if not self.obstacle:
            engine = torch_engine(model)
            if agreement(self.recipe, model, engine) >= (AGREEMENT if self.precision == "float32" else 0.999):
                return Loaded(choice, engine, model)
        return Loaded(choice, None, model)
