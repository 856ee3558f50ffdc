"""What is compared: full attention, the ceiling of selection, the shipped settings, and any `attention:` setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fovea.attention_retrieval.attention import Attention
from fovea.pipelines.bench.attention_methods import label_of
from fovea.pipelines.bench.longcontext.memory import COMPOSITIONS
from fovea.pipelines.bench.segmentation_methods import made, parsed
from fovea.rag import registry
from fovea.rag.errors import ConfigError

if TYPE_CHECKING:
    from fovea.pipelines.bench.longcontext.twins import Twins

FULL, NEAR, DEFAULT = "full", "near", "default"
MEMORY = "memory"
"""Stands for all that `memory.py` composes."""
SHIPPED = {"use": "retrieval"}
SINKS, WINDOW = 4, 996
"""What `near` holds: no method that selects can be faster than a cache that has nothing else."""


@dataclass(frozen=True)
class Method:
    """A row's name, and the setting; none for `full` and `near`, which are transformers' own cache and sdpa."""

    name: str
    spec: Attention | None = None

    @property
    def implementation(self) -> str:
        """By which its model attends."""
        return self.spec.implementation() if self.spec else "sdpa"

    def model(self, twins: Twins) -> Any:
        """The model that decodes with its cache."""
        return twins.by(self.implementation)

    def cache(self, twins: Twins) -> Any:
        """An empty cache."""
        from transformers import DynamicCache

        config = self.model(twins).config
        return self.spec.cache(config) if self.spec else DynamicCache(config=config)

    @property
    def settings(self) -> dict[str, Any]:
        """For the rows."""
        if self.spec is not None:
            return dict(self.spec.settings())
        return {"sinks": SINKS, "window": WINDOW} if self.name == NEAR else {}


def chosen(text: str | None, threads: int) -> list[Method]:
    """`full` and `near`, then the methods of `--methods`: a YAML flow sequence without its brackets.

    An entry is `default`, the name of an attention, its settings, `{use: retrieval, engine: ivf}`, a composition by its
    name, or `memory` for all compositions. Each searches on `threads` threads. Raises ConfigError for a name or setting
    that does not exist, and for the same method twice.
    """
    found = [Method(FULL), Method(NEAR)]
    for entry in parsed(f"[{DEFAULT if text is None else text}]", "--methods"):
        if entry in (FULL, NEAR):
            continue
        found += [_named(one, threads) for one in (COMPOSITIONS if entry == MEMORY else (entry,))]
    names = [method.name for method in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"the same method twice: {', '.join(twice)}", where="--methods")
    return found


def _named(entry: Any, threads: int) -> Method:
    composed = COMPOSITIONS.get(entry) if isinstance(entry, str) else None
    own: Mapping[str, Any] = composed or ({**SHIPPED, **entry} if isinstance(entry, dict) else {"use": entry})
    known = [FULL, NEAR, DEFAULT, MEMORY, *registry.names("attention"), *COMPOSITIONS]
    if not isinstance(own.get("use"), str) or own["use"] not in known:
        raise ConfigError(f"no method {own.get('use')!r}", where="--methods", allowed=known, got=str(own.get("use")))
    spec: Attention = made(Attention, SHIPPED if entry == DEFAULT else own, f"--methods {own['use']}")
    if "threads" in type(spec).model_fields:
        spec = spec.model_copy(update={"threads": threads})
    return Method(entry if composed else label_of(_flat(own)), spec)


def _flat(own: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in a label: a nested component by its name and settings."""
    nested = {k: label_of(_flat(v)).replace(" ", ",") for k, v in own.items() if isinstance(v, dict) and "use" in v}
    return {**own, **nested}
