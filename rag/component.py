"""A component is one small class: its fields are its settings.

    class FixedSegmenter(Segmenter, name="fixed"):
        size: PositiveInt = 256

The class is the YAML schema, the validation, the `repr`, the sweep's search space and the cache key at once. A *kind*
(Segmenter, Retriever, ...) is declared with `kind=` and holds the one verb its components implement. Wherever a kind is
expected, `{use: fixed, size: 128}` is accepted and becomes the component registered under that name.

Heavy things (models, indexes) load on first use, in a `functools.cached_property`: never on import or construction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from pydantic import ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from fovea.rag import registry
from fovea.rag.requirements import Requirement, package
from fovea.rag.settings import Settings
from fovea.rag.settings import SpeedOnly as SpeedOnly
from fovea.rag.settings import fingerprint as fingerprint


class Component(Settings):
    """Base of everything that YAML can name."""

    packages: ClassVar[Mapping[str, str]] = {}
    """Modules that it imports on use, and the extra of Fovea that brings each."""
    default: ClassVar[str] = ""
    """Of a kind: the component that settings without `use` mean; none, where it must be named."""

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
    def _by_name(cls, data: Any, handler: Callable[[Any], Any], info: ValidationInfo) -> Any:
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
            if "use" not in data and cls.default:
                data = {"use": cls.default, **data}
            if "use" not in data:
                raise PydanticCustomError("missing_use", "a {kind} needs 'use: NAME'", {"kind": cls.kind})
            found = registry.find(cls.kind, data["use"])
            return found.model_validate({k: v for k, v in data.items() if k != "use"}, context=info.context)
        if not cls.name and (adapted := registry.adapt(cls.kind, data)) is not None:
            return adapted
        return handler(data)

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """What must be on this machine for it to work, beside the pipeline's `encoder`, which is None where that lacks
        something itself. As a rule its `packages`, and what the components among its settings require.
        """
        for module, extra in self.packages.items():
            yield package(module, extra, f"the {self.kind} {self.name!r}")
        for key in type(self).model_fields:
            for part in _parts(getattr(self, key)):
                yield from part.requirements(encoder)


def _parts(value: Any) -> Iterator[Component]:
    """The components in a setting."""
    if isinstance(value, Component):
        yield value
    for item in value if isinstance(value, (list, tuple)) else ():
        yield from _parts(item)
