"""Which component has which name.

A built-in lives in the file named after it (`segmenters/fixed.py` holds the segmenter `fixed`), so naming one imports
one small file. Third parties register through the entry-point group `fovea.components`: each entry point names a module
whose import defines the components. Names are never import paths: a YAML file cannot make Fovea import anything that is
not installed as a component.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fovea.rag.settings import Settings

HOMES: dict[str, tuple[str, ...]] = {
    "encoder": ("fovea.rag.encoders",),
    "segmenter": ("fovea.segmenters",),
    "pooler": ("fovea.segmenters.poolers",),
    "mixer": ("fovea.segmenters.mixers",),
    "situator": ("fovea.retrievers.situators",),
    "store": ("fovea.retrievers.stores",),
    "retriever": ("fovea.retrievers", "fovea.pipelines.retrievers"),
    "fuser": ("fovea.retrievers",),
    "refiner": ("fovea.retrievers", "fovea.pipelines.refiners"),
    "attention": ("fovea.attention_retrieval.methods",),
    "prefill": ("fovea.attention_retrieval.prefill",),
    "eviction": ("fovea.attention_retrieval.eviction",),
    "heads": ("fovea.attention_retrieval.heads",),
    "selection": ("fovea.attention_retrieval.selection",),
    "engine": ("fovea.attention_retrieval.index",),
    "correction": ("fovea.attention_retrieval.corrections",),
    "loader": ("fovea.pipelines.loaders",),
    "generator": ("fovea.pipelines.generators",),
    "feedback": ("fovea.pipelines.feedback",),
    "judge": ("fovea.pipelines.judges",),
}
"""The packages in which the built-ins of each kind live; the second is for those that need more than one wing."""

_components: dict[tuple[str, str], type[Settings]] = {}
_kinds: dict[str, type[Settings]] = {}


def add_kind(kind: str, cls: type[Settings]) -> None:
    """Declare a kind. Component base classes call this through `kind=`."""
    _kinds[kind] = cls


def add(kind: str, name: str, cls: type[Settings]) -> None:
    """Register a component under its name. Redefining a class (in a notebook) is fine, taking another's name is not."""
    if not kind:
        raise TypeError(f"{cls.__qualname__} has a name but no kind: derive it from Segmenter, Retriever, ...")
    old = _components.get((kind, name))
    if old is not None and (old.__module__, old.__qualname__) != (cls.__module__, cls.__qualname__):
        raise TypeError(
            f"two {kind}s are called {name!r}: {old.__module__}.{old.__qualname__} "
            f"and {cls.__module__}.{cls.__qualname__}"
        )
    _components[kind, name] = cls


def find(kind: str, name: object) -> type[Settings]:
    """The component of `kind` called `name`; a `ValueError` for pydantic lists the names there are, and the nearest."""
    from pydantic_core import PydanticCustomError

    from fovea.rag.errors import nearest

    if not isinstance(name, str):
        raise PydanticCustomError(
            "unknown_component",
            "'use' must be the name of a {kind}, got {got}",
            {"kind": kind, "got": repr(name), "allowed": names(kind)},
        )
    if (kind, name) not in _components:
        _import_home(kind, name)
    if (kind, name) not in _components:
        load_all(kind)
    if (kind, name) in _components:
        return _components[kind, name]
    raise PydanticCustomError(
        "unknown_component",
        "unknown {kind} {got}",
        {"kind": kind, "got": repr(name), "allowed": names(kind), "near": nearest(name, names(kind)) or ""},
    )


def names(kind: str) -> list[str]:
    """Every registered name of `kind`, plug-ins included, sorted."""
    load_all(kind)
    return sorted(name for k, name in _components if k == kind)


def kinds() -> dict[str, type[Settings]]:
    """Every kind and its base class."""
    for kind in HOMES:
        load_all(kind)
    return dict(_kinds)


def components(kind: str) -> dict[str, type[Settings]]:
    """Every component of `kind`, by name."""
    return {name: _components[kind, name] for name in names(kind)}


@cache
def load_all(kind: str) -> None:
    """Import every built-in module of `kind` and every plug-in; the modules are light by the rule of the house."""
    for home in HOMES.get(kind, ()):
        if find_spec(home):
            package = import_module(home)
            for module in iter_modules(package.__path__):
                if not module.ispkg:
                    import_module(f"{home}.{module.name}")
    _load_plugins()


@cache
def _load_plugins() -> None:
    for entry in entry_points(group="fovea.components"):
        entry.load()


def _import_home(kind: str, name: str) -> None:
    if re.fullmatch(r"[a-z][a-z0-9_]*", name):
        for home in HOMES.get(kind, ()):
            if find_spec(home) and find_spec(f"{home}.{name}"):
                import_module(f"{home}.{name}")


Adapter = Callable[[Any], "Settings | None"]
_adapters: dict[str, list[Adapter]] = {}


def adapter(kind: str) -> Callable[[Adapter], Adapter]:
    """Decorate a function that turns a foreign object (a LangChain retriever, say) into a component, or None."""

    def register(function: Adapter) -> Adapter:
        _adapters.setdefault(kind, []).append(function)
        return function

    return register


def adapt(kind: str, thing: object) -> Settings | None:
    """The first adapter's answer for `thing`, or None if nobody knows it."""
    load_all(kind)
    return next((found for a in _adapters.get(kind, ()) if (found := a(thing)) is not None), None)
