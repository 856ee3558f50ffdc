"""Pointing: a component that looks through the heads of a local language model that point at evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveInt

from fovea.pipelines.answering.probing import HEADS, NEAR, known
from fovea.rag.causal_lm import ORGANISATION, load
from fovea.rag.component import Component
from fovea.rag.content import content_of
from fovea.rag.placed import NameOrPath
from fovea.rag.requirements import Requirement, model

if TYPE_CHECKING:
    from fovea.attention_retrieval.probes.weights import Head
    from fovea.rag.causal_lm import CausalLM


class Pointing(Component):
    """Loads a model on first use: the same object as a generator's of the same settings. Stands before the kind:
    `class AttentionRefiner(Pointing, Refiner)`.
    """

    packages: ClassVar[Mapping[str, str]] = {"torch": "local", "transformers": "local"}

    model: NameOrPath
    """A folder, `smollm2` (`fovea models get smollm2`), or the name of a model on the hub: best the generator's own."""
    most_heads: PositiveInt = HEADS
    """How many of the heads that point at evidence are looked through, at most (`fovea heads MODEL`)."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto` takes that of the files on a GPU, and float32 on a CPU."""
    device: str = "auto"
    """`auto` takes a GPU where there is one; else `cpu`, `cuda`, `cuda:1`, `mps`."""

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """Also the model."""
        yield from super().requirements(encoder)
        yield model(self.model, ORGANISATION)

    @cached_property
    def fingerprint(self) -> str:
        """What decides the hits: settings, and the model by its content."""
        return self.fingerprint_with(model=content_of(self.model, organisation=ORGANISATION))

    @cached_property
    def lm(self) -> CausalLM:
        """The model; raises ModelError for one that cannot be loaded."""
        return load(self.model, dtype=self.dtype, device=self.device)

    @cached_property
    def pointing(self) -> list[Head]:
        """The heads whose question rows point at evidence, best first; their table is made where there is none yet."""
        return known(self.lm, self.model).strongest("question", self.most_heads, near=NEAR)
