"""With which settings sources were taken in: a changed YAML may not have been ingested yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag.component import fingerprint
from fovea.rag.loader import Loader
from fovea.retrievers.library.library import Library


def of_file(loader: Loader, spec: PipelineSpec) -> str:
    """A hash of what decides which chunks and vectors a file gives."""
    return fingerprint([loader.fingerprint, spec.recipe])


def of_document(spec: PipelineSpec) -> str:
    """The same for a document that is no file."""
    return fingerprint(["document", spec.recipe])


def settings(spec: PipelineSpec) -> dict[str, str]:
    """What stands behind a recipe, by its name in YAML, each as a hash."""
    parts = {
        "load": spec.load, "segment": spec.segment, "pool": [spec.pool], "encoder": [spec.encoder],
        "situate": [spec.situate] if spec.situate else [],
    }  # fmt: skip
    return {name: fingerprint([part.fingerprint for part in stages]) for name, stages in parts.items()}


@dataclass(frozen=True)
class Outdated:
    """Sources that were taken in with other settings: by their recipes, how many, and which settings, where known."""

    recipes: frozenset[str]
    sources: int
    settings: tuple[str, ...]

    def __str__(self) -> str:
        others = f"other settings ({', '.join(self.settings)})" if self.settings else "other settings"
        return f"taken in with {others} than the pipeline has now: fovea ingest takes their files again"


def outdated(library: Library, spec: PipelineSpec, loaders: Iterable[Loader]) -> Outdated | None:
    """What the next ingestion would take again though no file has changed, if anything. Reads one row a recipe."""
    now = settings(spec)
    possible = {of_document(spec), *(of_file(loader, spec) for loader in loaders)}
    recipes, count, names = set[str](), 0, dict[str, None]()
    for recipe, sources, then in library.made_with():
        differ = [name for name in now if then and then.get(name) != now[name]]
        if differ or (not then and recipe not in possible):
            recipes.add(recipe)
            count += sources
            names.update(dict.fromkeys(differ))
    return Outdated(frozenset(recipes), count, tuple(names)) if count else None
