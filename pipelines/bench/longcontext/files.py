"""Task files: those that ship, and one's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fovea.pipelines.bench.longcontext import records
from fovea.pipelines.bench.longcontext.kinds import Kind, Records
from fovea.pipelines.bench.longcontext.task import Task
from fovea.pipelines.spec import yaml_source
from fovea.rag.errors import ConfigError

SHIPPED = Path(__file__).parent / "tasks"


def names() -> list[str]:
    """Of the tasks that ship."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def chosen(text: str | None, data: Path | None, depths: list[float] | None) -> list[Task]:
    """The tasks of `--tasks`: names and task files, with commas between; `none` for none.

    All that ship where it is None, `qa` only with `--data`. Raises ConfigError for what is not there or is not a task.
    """
    wanted = [part.strip() for part in text.split(",")] if text is not None else names()
    if wanted == ["none"]:
        return []
    if text is None and data is None:
        wanted.remove("qa")
    return [_with(load(name), data, depths) for name in wanted]


def load(name: str) -> Task:
    """The task that ships as `name`, or that a file at the path `name` declares."""
    shipped = SHIPPED / f"{name}.yaml"
    path = shipped if name in names() else Path(name)
    if path is not shipped and path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"no task {name!r}", where="--tasks", allowed=[*names(), "none", "FILE.yaml"], got=name)
    if not path.is_file():
        raise ConfigError(f"there is no task file {path}", where="--tasks", allowed=[*names(), "none", "FILE.yaml"])
    found: Any = yaml_source.read(path).data
    try:
        return TypeAdapter(Kind).validate_python(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{place}: {first['msg']}".lstrip(": "), where=str(path)) from error


def _with(task: Task, data: Path | None, depths: list[float] | None) -> Task:
    change: Mapping[str, Any] = {}
    if isinstance(task, Records):
        if data is None:
            raise ConfigError(f"the task {task.name} asks what is in data", where="--tasks", fix="--data PATH")
        change = {"records": records.read(data)}
    elif depths and "depths" in type(task).model_fields:
        change = {"depths": depths}
    return task.model_copy(update=change)
