"""PipelineSpec: the settings of a whole pipeline, read from YAML or given in Python, and checked before anything runs.

```yaml
name: handbook
encoder: {use: sentence_transformer}
segment: [{use: recursive, max_tokens: 200}]
store: {use: embedded, path: .fovea/handbook}
retrieve: [{use: dense}, {use: bm25}]
generate: {use: extractive}
```
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, model_validator

from fovea.pipelines.conversation.settings import Conversation
from fovea.pipelines.server.settings import ServeSettings
from fovea.pipelines.spec.presets import KEPT, PRESETS
from fovea.rag import registry
from fovea.rag.component import Component, fingerprint
from fovea.rag.corpus import VectorStore
from fovea.rag.encoder import Encoder
from fovea.rag.errors import ConfigError, ConfigErrors
from fovea.rag.feedback import Feedback
from fovea.rag.generation import Generator
from fovea.rag.loader import Loader
from fovea.rag.pooler import Pooler
from fovea.rag.retrieval import Fuser, Refiner, Retriever
from fovea.rag.segmenter import Segmenter
from fovea.rag.situator import Situator
from fovea.rag.written import Written


def _as_list(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


class PipelineSpec(Written):
    """Every stage from documents to a cited answer. The defaults need no key and no server."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, arbitrary_types_allowed=True)

    name: str = Field(default="fovea", min_length=1)
    """What the pipeline is called."""
    description: str = ""
    """What its documents are about, in a sentence: told to whoever finds it by its tools."""
    preset: Literal["plain", "passages", "topics"] | None = None
    """Named choices of `segment`, `pool` and `situate` (`fovea.pipelines.spec.presets`); those given in their own words
    count instead."""
    load: Annotated[list[Loader], BeforeValidator(_as_list)] = Field(default_factory=list)
    """Loaders whose settings differ from the default; every other format is read with its default loader."""
    encoder: Encoder = Field(default={"use": "sentence_transformer"})  # type: ignore[assignment]
    """Turns text into vectors."""
    segment: Annotated[list[Segmenter], BeforeValidator(_as_list), Field(min_length=1)] = Field(
        default=[{"use": "recursive", "max_tokens": 200}]  # type: ignore[list-item]
    )
    """Segmenters, coarse to fine: each refines the spans of the one before."""
    pool: Pooler = Field(default={"use": "separate"})  # type: ignore[assignment]
    """Makes the vectors of chunks: each chunk encoded by itself, or pooled from one reading of the document."""
    situate: Situator | None = None
    """Says where in its document a chunk stands, for its vector and for the words it is found by; left out, nothing."""
    store: VectorStore = Field(default={"use": "embedded"})  # type: ignore[assignment]
    """Where documents and vectors are kept; a relative path is relative to the YAML file."""
    retrieve: Annotated[list[Retriever], BeforeValidator(_as_list), Field(min_length=1)] = Field(
        default=[{"use": "dense"}, {"use": "bm25"}]  # type: ignore[list-item]
    )
    """Retrievers, each of which fetches `candidates` chunks."""
    fuse: Fuser | None = None
    """Joins the lists of several retrievers; left out, the default fuser does."""
    refine: Annotated[list[Refiner], BeforeValidator(_as_list)] = Field(default_factory=list)
    """Re-rankers, filters and budgets, in the order in which they run."""
    generate: Generator = Field(default={"use": "extractive"})  # type: ignore[assignment]
    """Writes the answer."""
    feedback: Feedback | None = None
    """Looks at the passages, or at the answer, and lets a part of the pipeline run again."""
    candidates: PositiveInt = 50
    """How many chunks each retriever fetches."""
    conversation: Conversation = Conversation()
    """What is made of what was said before a question."""
    k: PositiveInt | None = None
    """How many chunks are kept in the end, at most. Left out, as many as a selection rule of `refine` says, or 5; more
    by a preset of small chunks."""
    serve: ServeSettings | None = None
    """Who may ask over HTTP, for which documents, and how much (`fovea serve`)."""
    telemetry: Literal["otel", "otel_with_content"] | None = None
    """Writes what the trace holds as OpenTelemetry spans, without questions or with them; left out, nothing."""

    DEFAULT_FUSER: ClassVar[str] = "adaptive"
    DEFAULT_K: ClassVar[int] = 5

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """What a preset says and nobody else does."""
        return {**PRESETS.get(str(data.get("preset")), {}), **data} if isinstance(data, dict) else data

    def model_post_init(self, context: Any, /) -> None:
        """Check what no single field can: that the stages fit each other."""
        if errors := list(self._misfits()):
            raise ConfigErrors(errors)

    def _misfits(self) -> Iterator[ConfigError]:
        yield from _segment_misfits(self.segment)
        yield from _refine_misfits(self.refine, self.feedback)
        if self.situate and self.situate.reads_states and type(self.encoder).token_states is Encoder.token_states:
            yield ConfigError(
                f"situate: {self.situate.name} reads the states of tokens, and the encoder {self.encoder.name} shows "
                "none",
                fix="encoder: {use: sentence_transformer}, or situate: {use: headings}",
            )
        if self.conversation.rewrite == "model" and not self.generate.replies:
            yield ConfigError(
                f"conversation: rewrite: model asks the generator's model, and {self.generate.name} has none",
                fix="conversation: {rewrite: rule}, or a generator with a model: "
                + ", ".join(n for n, c in registry.components("generator").items() if getattr(c, "replies", False)),
            )
        for retriever in self.retrieve:
            if retriever.situated_by and _sides(self.situate) != _sides(retriever, retriever.situated_by):
                yield ConfigError(
                    f"retrieve: {retriever.name} searches what the situator {retriever.situated_by} has made with the "
                    f"same weights, and situate is {self.situate!r}",
                    fix=f"situate: {_sides(retriever, retriever.situated_by)}",
                )
        if self.kept > self.candidates:
            yield ConfigError(
                f"k: {self.kept} chunks cannot be kept of {self.candidates} candidates", fix=f"candidates: {self.kept}"
            )

    @property
    def kept(self) -> int:
        """How many chunks are kept at most: `k`; without it all that a selection rule lets through, or as the preset
        says.
        """
        if self.k is None and any("selection" in stage.gives for stage in self.refine):
            return self.candidates
        return self.k or KEPT.get(self.preset or "", self.DEFAULT_K)

    @property
    def fuser(self) -> Fuser:
        """The fuser that runs when there are several lists."""
        return self.fuse or registry.find("fuser", self.DEFAULT_FUSER)()  # type: ignore[return-value]

    @property
    def recipe(self) -> str:
        """A hash of everything that decides which chunks and vectors a document gives."""
        parts = [*self.load, *self.segment, self.pool, self.encoder, *([self.situate] if self.situate else [])]
        return fingerprint([p.fingerprint for p in parts])

    def settings(self) -> dict[str, Any]:
        """The whole as plain data, ready for YAML."""
        plain: dict[str, Any] = {}
        for key in type(self).model_fields:
            value = getattr(self, key)
            if isinstance(value, ServeSettings):
                plain[key] = value.model_dump(mode="json", exclude_defaults=True)
            elif isinstance(value, list):
                plain[key] = [c.settings() for c in value]
            elif isinstance(value, Component):
                plain[key] = value.settings()
            else:
                plain[key] = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        return plain if self.serve else {key: value for key, value in plain.items() if key != "serve"}


def _sides(component: Component | None, name: str = "") -> dict[str, str]:
    """What a situator and its retriever must have in common: name, weights, model."""
    known = {key: str(getattr(component, key, "") or "") for key in ("model", "weights")}
    of = next(({key: value} for key, value in known.items() if value), {})
    return {"use": name or (component.name if component else ""), **of}


def _segment_misfits(chain: list[Segmenter]) -> Iterator[ConfigError]:
    for i, (coarse, fine) in enumerate(pairwise(chain)):
        if coarse.overlap:
            yield ConfigError(
                f"segment[{i}].overlap: only the last segmenter of a chain can overlap",
                fix=f"move 'overlap: {coarse.overlap}' to segment[{len(chain) - 1}]",
            )
        if coarse.max_tokens and fine.max_tokens and fine.max_tokens >= coarse.max_tokens:
            yield ConfigError(
                f"segment[{i + 1}].max_tokens: {fine.name} cannot make chunks of {fine.max_tokens} tokens out of "
                f"spans that {coarse.name} has cut to {coarse.max_tokens}",
                fix=f"put {fine.name} first, or give it less than {coarse.max_tokens}",
            )


def _refine_misfits(chain: list[Refiner], feedback: Feedback | None) -> Iterator[ConfigError]:
    given: dict[str, int] = {}
    for i, stage in enumerate(chain):
        for need in sorted(stage.needs - given.keys()):
            yield ConfigError(
                f"refine[{i}]: {stage.name} needs {need} from a stage before it",
                fix=f"put one of these before it: {_makers(need)}",
            )
        for hidden in stage.hides & given.keys():
            del given[hidden]
        for lost in sorted(stage.spoils & given.keys()):
            before = given.pop(lost)
            yield ConfigError(
                f"refine[{i}]: {stage.name} undoes the {lost} that refine[{before}] ({chain[before].name}) gives",
                fix=f"put {stage.name} before {chain[before].name}",
            )
        given.update(dict.fromkeys(stage.gives, i))
    for need in sorted(feedback.needs - given.keys() if feedback else ()):
        yield ConfigError(
            f"feedback: {feedback.name} needs {need} from refine",  # type: ignore[union-attr]
            fix=f"put one of these into refine, with nothing behind it that scores otherwise: {_makers(need)}",
        )


def _makers(need: str) -> str:
    return ", ".join(sorted(n for n, c in registry.components("refiner").items() if need in c.gives))  # type: ignore[attr-defined]
