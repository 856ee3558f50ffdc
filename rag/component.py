"""A component is one small class: its fields are its settings.

    class FixedSegmenter(Segmenter, name="fixed"):
        size: PositiveInt = 256

The class is the YAML schema, the validation, the `repr`, the sweep's search space and the cache key at once. A *kind*
(Segmenter, Retriever, ...) is declared with `kind=` and holds the one verb its components implement. Wherever a kind is
expected, `{use: fixed, size: 128}` is accepted and becomes the component registered under that name.

Heavy things (models, indexes) load on first use, in a `functools.cached_property`: never on import or construction.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from fovea.rag import registry
from fovea.rag.requirements import Requirement, package

T = TypeVar("T")


class SpeedMark:
    """Marks a setting that changes how fast a result comes, never the result; it stays out of the fingerprint."""


SpeedOnly = Annotated[T, SpeedMark()]


class Component(BaseModel):
    """Base of everything that YAML can name."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    """Raise it when the same settings begin to give other results: cached results of the old code are then unused."""
    packages: ClassVar[Mapping[str, str]] = {}
    """Modules that it imports on use, and the extra of Fovea that brings each."""

    def __init_subclass__(cls, *, name: str = "", kind: str = "", **config: Any) -> None:
        super().__init_subclass__(**config)

    @classmethod
    def __pydantic_init_subclass__(cls, *, name: str = "", kind: str = "", **config: Any) -> None:
        super().__pydantic_init_subclass__(**config)
        if kind:
            cls.kind, cls.name = kind, ""
            registry.add_kind(kind, cls)
        if name:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise TypeError(f"{cls.__qualname__}: a component's name is lower_snake_case, got {name!r}")
            cls.name = name
            registry.add(cls.kind, name, cls)

    @model_validator(mode="wrap")
    @classmethod
    def _by_name(cls, data: Any, handler: Callable[[Any], Any]) -> Any:
        """Turn `{use: name, ...}` into the component of that name, and a foreign object into ours if it can be."""
        if isinstance(data, str) and not cls.name:
            data = {"use": data}
        if isinstance(data, Component):
            if not isinstance(data, cls):
                raise PydanticCustomError(
                    "wrong_kind",
                    "expected a {expected}, got the {got} {name!r}",
                    {"expected": cls.kind, "got": data.kind, "name": data.name},
                )
            return data
        if isinstance(data, Mapping):
            if cls.name:
                if data.get("use", cls.name) != cls.name:
                    raise PydanticCustomError(
                        "wrong_use", "this is {name}, not {got}", {"name": cls.name, "got": data["use"]}
                    )
                return handler({k: v for k, v in data.items() if k != "use"})
            if "use" not in data:
                raise PydanticCustomError("missing_use", "a {kind} needs 'use: NAME'", {"kind": cls.kind})
            found = registry.find(cls.kind, data["use"])
            return found.model_validate({k: v for k, v in data.items() if k != "use"})
        if not cls.name and (adapted := registry.adapt(cls.kind, data)) is not None:
            return adapted
        return handler(data)

    def settings(self, *, speed: bool = True) -> dict[str, Any]:
        """The settings as plain data with `use`, ready for YAML; `speed=False` leaves out what only changes speed."""
        fields = {
            key: _plain(getattr(self, key), speed)
            for key, info in type(self).model_fields.items()
            if not info.exclude and (speed or not any(isinstance(m, SpeedMark) for m in info.metadata))
        }
        return {"use": self.name, **fields}

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """What must be on this machine for it to work, beside the pipeline's `encoder`, which is None where that lacks
        something itself. As a rule its `packages`, and what the components among its settings require.
        """
        for module, extra in self.packages.items():
            yield package(module, extra, f"the {self.kind} {self.name!r}")
        for key in type(self).model_fields:
            for part in _parts(getattr(self, key)):
                yield from part.requirements(encoder)

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides this component's results: its kind, name, version and settings."""
        return self.fingerprint_with()

    def fingerprint_with(self, **content: Any) -> str:
        """The same, with the content of what some settings only name (weights, a model) in their place."""
        return fingerprint({"kind": self.kind, "version": self.version, **self.settings(speed=False), **content})


def _parts(value: Any) -> Iterator[Component]:
    """The components in a setting."""
    if isinstance(value, Component):
        yield value
    for item in value if isinstance(value, (list, tuple)) else ():
        yield from _parts(item)


def _plain(value: Any, speed: bool) -> Any:
    if isinstance(value, Component):
        return value.settings(speed=speed)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(k): _plain(v, speed) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v, speed) for v in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def fingerprint(plain: Any) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of canonical JSON."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return sha256(text.encode()).hexdigest()[:16]
