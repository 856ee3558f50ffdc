"""What `fovea bench segmentation` compares: references that know nothing, the registered segmenters, and peers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np
from pydantic import TypeAdapter, ValidationError

from fovea.pipelines.bench.segmentation_peers import PEERS
from fovea.pipelines.spec import yaml_source
from fovea.rag import registry
from fovea.rag.component import Component
from fovea.rag.encoder import Encoder
from fovea.rag.errors import ConfigError
from fovea.rag.segmenter import Segmenter
from fovea.segmenters.units import Units

Rule = Callable[[Units, Encoder, int | None], np.ndarray]
"""Boundaries `(gaps,)` of units; with a number, so many of them."""


@dataclass(frozen=True)
class Method:
    """One row: what it is called, its settings, and how it finds boundaries."""

    name: str
    rule: Rule
    settings: Mapping[str, Any] = field(default_factory=dict)
    unknown: bool = True
    """Whether it can find boundaries without being told their number."""
    given: bool = True
    """Whether it can be told their number."""
    needs_paragraphs: bool = False


def references(seed: int) -> list[Method]:
    """What no method should be worse than."""

    def drawn(units: Units, encoder: Encoder, count: int | None) -> np.ndarray:
        rng = np.random.default_rng([seed, crc32(units.text.encode("utf-8", "surrogatepass"))])
        found = np.zeros(len(units) - 1, bool)
        found[rng.choice(len(found), count, replace=False)] = True
        return found

    return [
        Method("no boundary", lambda units, encoder, count: np.zeros(len(units) - 1, bool), given=False),
        Method("every paragraph", lambda units, encoder, count: units.breaks, given=False, needs_paragraphs=True),
        Method("random", drawn, {"seed": seed}, unknown=False),
    ]


def chosen(text: str | None) -> list[Method]:
    """The methods of `--methods`, or every segmenter that scores gaps, and the peers.

    `text` names them as a YAML flow sequence without its brackets: `sage, {use: sage, candidates: all}`. Raises
    ConfigError for a name or a setting that does not exist.
    """
    if text is None:
        return [*map(_default, _names()), *(Method(*peer) for peer in PEERS)]
    found = [_named(entry) for entry in parsed(f"[{text}]", "--methods")]
    if twice := sorted({m.name for m in found if [o.name for o in found].count(m.name) > 1}):
        raise ConfigError(f"the same method twice: {', '.join(twice)}", where="--methods")
    return found


def chosen_encoder(text: str) -> Encoder:
    """The encoder of `--encoder`: a name, or `{use: NAME, ...}`."""
    found: Encoder = made(Encoder, parsed(text, "--encoder"), "--encoder")
    return found


def parsed(text: str, where: str) -> Any:
    """YAML of the command line; raises ConfigError with its place."""
    return yaml_source.parse(text, file=where).data


def _names() -> list[str]:
    return [n for n, cls in registry.components("segmenter").items() if hasattr(cls, "boundaries")]


def _default(name: str) -> Method:
    """A segmenter as it is by default; what cannot be made by a name alone raises when it is run."""
    try:
        return _ours(name, made(Segmenter, {"use": name}, name))
    except ConfigError as error:
        return Method(name, _raising(error))


def _raising(error: ConfigError) -> Rule:
    def rule(units: Units, encoder: Encoder, count: int | None) -> np.ndarray:
        raise error

    return rule


def _named(entry: Any) -> Method:
    own = entry if isinstance(entry, dict) else {"use": entry}
    name = own.get("use")
    for peer in PEERS:
        if peer[0] == name and len(own) == 1:
            return Method(*peer)
    if name not in (names := _names()):
        known = [*names, *(peer[0] for peer in PEERS)]
        raise ConfigError(f"no method {name!r} to segment with", where="--methods", allowed=known, got=str(name))
    label = " ".join([name, *(f"{key}={value}" for key, value in own.items() if key != "use")])
    return _ours(label, made(Segmenter, own, f"--methods {name}"))


def made(kind: type[Component], data: Any, where: str) -> Any:
    """The component that `data` describes; raises ConfigError for the first thing that is wrong with it."""
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    match first["type"], first.get("ctx", {}), ".".join(map(str, first["loc"])):
        case "unknown_component", context, _:
            allowed, got, what = context["allowed"], context["got"].strip("'"), first["msg"]
        case "extra_forbidden", _, setting:
            allowed, got, what = registry.find(kind.kind, data["use"]).model_fields, setting, f"no setting {setting!r}"
        case _, _, setting:
            allowed, got, what = (), "", f"{setting}: {first['msg'].removeprefix('Value error, ')}".lstrip(": ")
    raise ConfigError(what, where=where, allowed=allowed, got=got)


def _ours(label: str, segmenter: Any) -> Method:
    return Method(label, segmenter.boundaries, segmenter.settings())


def labels(method: Method) -> Iterator[tuple[str, bool]]:
    """The rows of a method: its label, and whether the number of boundaries is given."""
    if method.unknown:
        yield method.name, False
    if method.given:
        yield f"{method.name}, n given", True
