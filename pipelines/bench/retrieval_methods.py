"""What `fovea bench retrieval` compares: the base encoder, BM25, both joined, and what was learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fovea.pipelines.bench.segmentation_methods import parsed
from fovea.pipelines.spec.check import check
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.pipelines.spec.yaml_source import Source
from fovea.rag import registry
from fovea.rag.errors import ConfigError, FoveaError
from fovea.retrievers.query_side import QuerySideRetriever

STAGES = ("situate", "retrieve", "fuse", "refine", "candidates")
_BOTH = ["dense", "bm25"]
DEFAULTS: tuple[Any, ...] = (
    "dense",
    "bm25",
    {"name": "dense + bm25", "retrieve": _BOTH},
    {
        "name": "dense + bm25, convex .6 .4",
        "retrieve": _BOTH,
        "fuse": {"use": "convex", "weights": {"dense": 0.6, "bm25": 0.4}},
    },
    {"name": "dense + bm25, rrf", "retrieve": _BOTH, "fuse": "rrf"},
    {"name": "dense + bm25, reranker", "retrieve": _BOTH, "refine": "reranker"},
)
"""The base encoder first: differences are taken to the first."""


@dataclass(frozen=True)
class Method:
    """One row: what it is called, and the stages from chunks and a question to passages; or why it cannot run."""

    name: str
    made: PipelineSpec | FoveaError

    @property
    def spec(self) -> PipelineSpec:
        """The stages; raises what kept them from being made."""
        if isinstance(self.made, FoveaError):
            raise self.made
        return self.made

    @property
    def settings(self) -> dict[str, Any]:
        """Of those stages."""
        if isinstance(self.made, FoveaError):
            return {}
        return {key: value for key, value in self.made.settings().items() if key in STAGES}


def chosen(text: str | None) -> list[Method]:
    """The methods of `--methods`, or the default ones and every retriever that was learned or changes the question.

    `text` is a YAML flow sequence without its brackets. A method is a retriever, several of them in brackets, joined
    as a pipeline does by default, or a mapping of a pipeline's stages, which may have a `name`:

        dense, [dense, bm25], {use: query_map, weights: out}, {retrieve: [dense, bm25], fuse: rrf, refine: [mmr]},
        {situate: headings, retrieve: [dense, bm25]}

    Raises ConfigError for what does not exist or does not fit together.
    """
    if text is None:
        return [*map(_method, DEFAULTS), *_learned()]
    entries = parsed(f"[{text}]", "--methods")
    found = [_method(entry) for entry in entries]
    if not found:
        raise ConfigError("no method is named", where="--methods", allowed=registry.components("retriever"))
    if twice := sorted({m.name for m in found if [o.name for o in found].count(m.name) > 1}):
        raise ConfigError(f"the same method twice: {', '.join(twice)}", where="--methods", fix="give one a 'name'")
    return found


def _learned() -> Iterator[Method]:
    """Those with weights, as they ship, and those that change the question's vector, with the chunks situated as they
    need it; what cannot be made by its name alone says so when it is run.
    """
    for name, cls in registry.components("retriever").items():
        if "weights" in cls.model_fields or issubclass(cls, QuerySideRetriever):
            try:
                situator = getattr(cls, "situated_by", "")
                yield _method({"name": name, "situate": situator, "retrieve": name} if situator else name)
            except ConfigError as error:
                yield Method(name, error)


def _method(entry: Any) -> Method:
    stages: dict[str, Any] = {"retrieve": entry}
    if isinstance(entry, dict) and "use" not in entry:
        stages = {key: value for key, value in entry.items() if key != "name"}
        if odd := next((key for key in stages if key not in STAGES), None):
            what = f"a method has no {odd!r}"
            raise ConfigError(what, where="--methods", got=odd, allowed=["use", "name", *STAGES])
        if "retrieve" not in stages:
            raise ConfigError("a method needs 'retrieve'", where="--methods", fix="{retrieve: [dense], ...}")
    name = str(entry["name"]) if isinstance(entry, dict) and "name" in entry else ", ".join(_names(stages))
    return Method(name, check(Source(f"--methods {name}", {**stages, "name": name})))


def _names(stages: Mapping[str, Any]) -> Iterator[str]:
    for key, value in stages.items():
        if key == "candidates":
            yield f"candidates={value}"
        else:
            parts = value if isinstance(value, list) else [value]
            yield (" + " if key == "retrieve" else " ").join(map(_label, parts))


def _label(part: Any) -> str:
    if not isinstance(part, dict):
        return str(part)
    return " ".join([str(part.get("use")), *(f"{key}={value}" for key, value in part.items() if key != "use")])
