"""Served: what all routes share: the pipelines by name, the settings, who may ask, gates, counts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from fastapi import Request

from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.server.access import Caller, Keys, Origins
from fovea.pipelines.server.gate import Gate
from fovea.pipelines.server.metrics import Metrics
from fovea.pipelines.server.problems import Problem
from fovea.pipelines.server.settings import ServeSettings
from fovea.rag.errors import ConfigError, nearest


class Served:
    """Pipelines, loaded once, and how they are served. The first pipeline is the default."""

    def __init__(
        self, pipelines: dict[str, Pipeline], settings: ServeSettings | None = None, *, loopback: bool = True
    ) -> None:
        self.pipelines, self.settings = pipelines, settings or ServeSettings()
        self.keys = Keys(self.settings)
        self.origins = Origins(self.settings, loopback=loopback and not self.settings.keys)
        self.answering = Gate(self.settings.concurrent, self.settings.waiting)
        self.uploading = Gate(1, self.settings.waiting)
        self.metrics = Metrics()
        self.open_paths = {"/", "/docs", "/openapi.json", "/healthz", "/healthz/live", "/healthz/ready"}
        """What anybody may ask for; nothing of documents or pipelines is there."""
        self.open_below: list[str] = []
        """What such paths begin with: files of pages that hold no data."""
        self.ready = False

    @property
    def default(self) -> str:
        """The name of the pipeline that is asked where a request names none."""
        return next(iter(self.pipelines))

    def pipeline(self, name: str | None, request: Request) -> Pipeline:
        """The pipeline of this name within the caller's scope; raises Problem for an unknown one."""
        whole = self.pipelines.get(name or self.default)
        if whole is None:
            near = nearest(str(name), self.pipelines)
            meant = f"did you mean {near!r}? " if near else ""
            known = ", ".join(self.pipelines)
            raise Problem(404, f"there is no pipeline {str(name)[:100]!r}", fix=f"{meant}there are: {known}")
        return whole.within(caller_of(request).scope)

    def uploads(self, name: str | None) -> Path:
        """The folder in which the files are kept that were uploaded to a pipeline."""
        name = name or self.default
        folder = re.sub(r"[^\w-]", "_", name)
        if folder != name:  # Another pipeline's name may give the same.
            folder = f"{folder}-{blake2b(name.encode(), digest_size=4).hexdigest()}"
        return self.pipelines[name].base / self.settings.uploads / folder

    def close(self) -> None:
        """Let go of every store."""
        for pipeline in self.pipelines.values():
            pipeline.close()


def caller_of(request: Request) -> Caller:
    """Who asks, as the guard found out."""
    caller: Caller = request.scope["caller"]
    return caller


def opened(paths: Iterable[str | Path]) -> tuple[dict[str, Pipeline], ServeSettings]:
    """The pipelines of YAML files by their names, and the settings of the one that has `serve`. Raises ConfigError for
    two of one name, and for different settings in two files.
    """
    pipelines: dict[str, Pipeline] = {}
    settings: dict[str, ServeSettings] = {}
    for path in map(Path, paths):
        pipeline = Pipeline.from_yaml(path)
        name = pipeline.spec.name if "name" in pipeline.spec.model_fields_set else path.stem
        if name in pipelines:
            raise ConfigError(f"two pipelines have the name {name!r}", where=str(path), fix="name: ANOTHER")
        pipelines[name] = pipeline
        if pipeline.spec.serve is not None:
            settings[str(path)] = pipeline.spec.serve
    if len(set(map(repr, settings.values()))) > 1:
        raise ConfigError(
            f"{' and '.join(settings)} have different blocks 'serve'",
            fix="leave one of them: it counts for all that are served together",
        )
    return pipelines, next(iter(settings.values()), ServeSettings())
