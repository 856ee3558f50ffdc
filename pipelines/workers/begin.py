"""Which workers an ingestion has: none, so many processes of this machine, or those of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.pipelines.workers.local import LocalWorkers, Workers
from fovea.pipelines.workers.work import Work
from fovea.rag.errors import ConfigError
from fovea.rag.loader import Loader


@contextmanager
def working(asked: int | str, spec: PipelineSpec, loaders: list[Loader]) -> Iterator[Workers | None]:
    """Workers for one ingestion, by a number, `ray` or `ray:N`; None for one, which is the process at hand.

    Raises ConfigError for anything else, and for a pipeline that cannot be sent to another process.
    """
    where, size = _read(asked)
    if where == "here" and size == 1:
        yield None
        return
    pooled = (spec.situate is not None and spec.situate.form != "none") or not spec.pool.by_text
    work = Work(spec, loaders, cuts=not pooled)
    workers: Workers
    if where == "ray":
        from fovea.pipelines.workers.on_ray import RayWorkers

        workers = RayWorkers(work, size)
    else:
        workers = LocalWorkers(work, size)
    try:
        yield workers
    finally:
        workers.close()


def _read(asked: int | str) -> tuple[str, int]:
    """Where, and how many; 0 for as many as Ray has processors."""
    where, _, count = str(asked).partition(":")
    if where.isdecimal() and not count:
        where, count = "here", where
    if where not in ("here", "ray") or (count and not count.isdecimal()) or (count and int(count) < 1):
        raise ConfigError(
            f"workers are a number, ray, or ray:N, got {asked!r}",
            fix="--workers 4, say: as many as there are processors",
        )
    return where, int(count or 0)
