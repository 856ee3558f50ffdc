"""What joins the wings: the Pipeline, its YAML, ingestion, evaluation, and the command line."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fovea.pipelines.pipeline import Pipeline as Pipeline

__all__ = ["Pipeline"]


def __getattr__(name: str) -> Any:
    """Import `Pipeline` when it is first used, so that the command line starts quickly."""
    if name == "Pipeline":
        from fovea.pipelines.pipeline import Pipeline

        return Pipeline
    raise AttributeError(f"module 'pipelines' has no attribute {name!r}")
