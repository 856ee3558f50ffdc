"""What pydantic found wrong, in our words, with its place in the file.

pydantic names the ways through a union (`function-wrap[_by_name()]`, `literal['auto']`) among the steps to a value, and
reports one error for each: here a place is what the file has, and a place has one error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel

from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.pipelines.spec.yaml_source import Place, Source
from fovea.rag import registry
from fovea.rag.component import Component
from fovea.rag.errors import ConfigError, nearest


@dataclass(frozen=True)
class _Fault:
    """One of pydantic's errors: the place in the data, the same for people, and the union it is one way through."""

    error: Any
    place: Place
    path: str
    union: Place | None


def explained(errors: Iterable[Any], source: Source) -> list[ConfigError]:
    """One error for each place; of the ways through a union, the one that leads furthest into the data."""
    faults = [_fault(error, source.data) for error in errors]
    by_union: dict[Any, list[_Fault]] = {}
    for number, fault in enumerate(faults):
        by_union.setdefault(number if fault.union is None else fault.union, []).append(fault)
    return [error for ways in by_union.values() for error in _furthest(ways, source)]


def _furthest(ways: list[_Fault], source: Source) -> Iterator[ConfigError]:
    deepest = max(len(way.place) for way in ways)
    if len(ways) == 1 or deepest > len(ways[0].union or ()):
        yield from (_explain(way, source) for way in ways if len(way.place) == deepest)
        return
    unknown = [way for way in ways if way.error["type"] == "unknown_component"]
    found = _explain((unknown or ways)[0], source)
    literals = [_literals(way.error) for way in ways if way.error["type"] == "literal_error"]
    if unknown:
        found.allowed = (*found.allowed, *(word for words in literals for word in words))
    else:
        said = dict.fromkeys(way.error["msg"].removeprefix("Input should be ") for way in ways)
        found.what = f"{ways[0].path}: input should be {', or '.join(said)}, got {shown(ways[0].error.get('input'))}"
    yield found


def _literals(error: Any) -> list[str]:
    return [word for word in error["ctx"]["expected"].split("'") if word.strip(" ,") not in ("", "or")]


def _explain(fault: _Fault, source: Source) -> ConfigError:
    error, place, path, context = fault.error, fault.place, fault.path, fault.error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            allowed = _settings_at(place[:-1], source.data)
            return ConfigError(
                f"{path}: unknown setting {place[-1]!r}",
                where=source.where(place, key=True),
                allowed=allowed,
                got=str(place[-1]),
            )
        case "unknown_component":
            got = context["got"].strip("'")
            return ConfigError(
                f"{path}: {error['msg']}", where=source.where((*place, "use")), allowed=context["allowed"], got=got
            )
        case "missing":
            return ConfigError(f"{path}: this setting is needed", where=source.where(place[:-1]))
        case "value_error":
            what = error["msg"].removeprefix("Value error, ")
            return ConfigError(f"{path}: {what}", where=source.where(place))
    words = error["msg"][0].lower() + error["msg"][1:]
    near = nearest(str(error.get("input")), _literals(error)) if error["type"] == "literal_error" else None
    meant = f"; did you mean {near!r}?" if near else ""
    return ConfigError(f"{path}: {words}, got {shown(error.get('input'))}{meant}", where=source.where(place))


def _fault(error: Any, data: Any) -> _Fault:
    """Where the data has what the error is about. A single stage stands there without the list that pydantic sees
    around it, and a step that the data lacks is a way through a union, unless it is a setting that is missing.
    """
    place: list[Any] = []
    path, union = "", None
    steps = tuple(error["loc"])
    for number, step in enumerate(steps):
        there = (isinstance(data, dict) and step in data) or (isinstance(data, list) and step in range(len(data)))
        last = number == len(steps) - 1
        if isinstance(step, int):
            path += f"[{step}]"
        elif there or (last and error["type"] == "missing"):
            path += f".{step}"
        else:
            union = tuple(place)
            continue
        if there or isinstance(step, str):
            place.append(step)
            data = data[step] if there else None
    return _Fault(error, tuple(place), path.lstrip("."), union)


def shown(value: Any) -> str:
    """A value for a message, not longer than 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _settings_at(place: Place, data: Any) -> list[str]:
    """The settings that the model at `place` of the data has."""
    model: type[BaseModel] | None = PipelineSpec
    for step in place:
        data = data[step]
        if isinstance(step, str) and model is not None:
            field = model.model_fields.get(step)
            model = next(models_in(field.annotation), None) if field else None
        if model is not None and issubclass(model, Component) and not model.name and isinstance(data, dict):
            model = registry.find(model.kind, data.get("use", model.default or None))
    fields = list(model.model_fields) if model else []
    return ["use", *fields] if model and issubclass(model, Component) else fields


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that the type of a setting names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)
