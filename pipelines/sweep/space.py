"""Space: a pipeline whose YAML has choices in the place of values.

    segment:
      choice:
        - {use: fixed, size: {choice: [100, 200]}}
        - {use: hnet_rule, max_tokens: {range: [100, 400], step: 100}}
    refine: {choice: [none, {use: reranker, top_n: {choice: [10, 20]}}]}

What stands inside an option is a parameter only where the option is chosen. A parameter is named by its path
(`segment.max_tokens`) or by `as`. Parameters of one name and one domain are one parameter; where domains differ, each
is named with the option it stands in (`segment[fixed].size`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fovea.pipelines.spec.yaml_source import Place, Source
from fovea.pipelines.sweep.domain import MOST, Choice, Domain, Scalar, domain, is_parameter, values
from fovea.rag.errors import ConfigError, ConfigErrors

Suggest = Callable[[str, Domain], Scalar]


@dataclass(frozen=True)
class Resolved:
    """One pipeline of the space."""

    params: dict[str, Scalar]
    settings: Any
    places: dict[Place, Place]
    """Where each part of the settings stands in the study file."""


@dataclass
class Space:
    """The space of one file; `at` is the place of the pipeline in it. Raises ConfigErrors with places."""

    source: Source
    at: Place = ()
    domains: dict[Place, Domain] = field(init=False, default_factory=dict)
    names: dict[Place, str] = field(init=False, default_factory=dict)
    options: dict[Place, str] = field(init=False, default_factory=dict)
    """The label of each option of a choice, by its place."""

    def __post_init__(self) -> None:
        self.tree = self.source.data
        for step in self.at:
            self.tree = self.tree[step]
        errors: list[ConfigError] = []
        found: dict[Place, tuple[str, str]] = {}
        self._read(self.tree, self.at, "", "", found, errors)
        if errors:
            raise ConfigErrors(errors)
        self._name(found)

    def _read(
        self, node: Any, place: Place, path: str, inside: str, found: dict[Place, tuple[str, str]], errors: list[Any]
    ) -> None:
        """Find the parameters: by place, the plain name and the one that tells options apart."""
        if is_parameter(node):
            try:
                self.domains[place] = here = domain(node)
            except ConfigError as error:
                errors.append(error.at(self.source.where(place)))
                return
            name = node.get("as")
            found[place] = (str(name), str(name)) if name is not None else (path, inside)
            if not isinstance(here, Choice) or "choice" not in node:
                return
            for i, option in enumerate(here.options):
                self.options[(*place, "choice", i)] = str(here.labels[i])
                self._read(option, (*place, "choice", i), path, f"{inside}[{here.labels[i]}]", found, errors)
            return
        for key, child in _children(node):
            step = f"[{key}]" if isinstance(key, int) else f".{key}"
            self._read(child, (*place, key), (path + step).lstrip("."), (inside + step).lstrip("."), found, errors)

    def _name(self, found: Mapping[Place, tuple[str, str]]) -> None:
        by_name: dict[str, list[Place]] = {}
        for place, (plain, _) in found.items():
            by_name.setdefault(plain, []).append(place)
        for plain, places in by_name.items():
            one = all(self.domains[p] == self.domains[places[0]] for p in places)
            for place in places:
                self.names[place] = plain if one else found[place][1]
        for name in dict.fromkeys(self.names.values()):
            places = [p for p, n in self.names.items() if n == name]
            if any(self.domains[p] != self.domains[places[0]] for p in places):
                raise ConfigError(
                    f"two parameters are called {name!r} and have different values",
                    where=self.source.where(places[1]), fix="give one of them another name with 'as:'",
                )  # fmt: skip

    @property
    def parameters(self) -> dict[str, Domain]:
        """Every parameter, in the order of the file."""
        return {name: self.domains[place] for place, name in self.names.items()}

    def resolve(self, suggest: Suggest) -> Resolved:
        """The pipeline for which `suggest` chooses; a parameter that stands in several places is asked for once."""
        params: dict[str, Scalar] = {}
        places: dict[Place, Place] = {}

        def walk(node: Any, place: Place, to: Place) -> Any:
            places[to] = place
            if place in self.domains:
                name, here = self.names[place], self.domains[place]
                if name not in params:
                    params[name] = suggest(name, here)
                if not isinstance(here, Choice):
                    return params[name]
                i = _index(here.labels, params[name], name)
                return walk(here.options[i], (*place, "choice", i), to)
            if isinstance(node, Mapping):
                return {key: walk(child, (*place, key), (*to, key)) for key, child in node.items()}
            if isinstance(node, list):
                return [walk(child, (*place, i), (*to, i)) for i, child in enumerate(node)]
            return node

        return Resolved(params, walk(self.tree, self.at, ()), places)

    def first(self, **given: Scalar) -> Resolved:
        """The pipeline of the first value of every parameter, but for those `given`."""
        return self.resolve(lambda name, here: given.get(name, _first(here)))

    @property
    def most(self) -> int:
        """How many configurations a grid has at most: fewer, where parameters of one name stand in several places."""

        def size(node: Any, place: Place) -> int:
            if place in self.domains:
                here = self.domains[place]
                if not isinstance(here, Choice):
                    return len(values(here))
                return sum(size(option, (*place, "choice", i)) for i, option in enumerate(here.options))
            return math.prod(size(child, (*place, key)) for key, child in _children(node))

        return size(self.tree, self.at)

    def grid(self) -> Iterator[Resolved]:
        """Every pipeline, in the order of the file, the last parameter moving fastest; those that are the same once.

        Raises ConfigError for a range without end, and for more than `MOST` configurations.
        """
        turn: list[list[int]] = []
        """By parameter in the order of asking, the number of the present value and how many there are."""
        seen: set[str] = set()
        known: dict[str, tuple[Scalar, ...]] = {}
        for _ in range(MOST):
            asked = 0

            def suggest(name: str, here: Domain) -> Scalar:
                nonlocal asked
                every = known[name] if name in known else known.setdefault(name, values(here))
                if asked == len(turn):
                    turn.append([0, len(every)])
                asked += 1
                return every[turn[asked - 1][0]]

            resolved = self.resolve(suggest)
            if (key := repr(resolved.settings)) not in seen:
                seen.add(key)
                yield resolved
            while turn and turn[-1][0] + 1 == turn[-1][1]:
                turn.pop()
            if not turn:
                return
            turn[-1][0] += 1
        raise ConfigError(
            f"the grid has more than {MOST:,} configurations", where=self.source.where(self.at),
            fix="search: {use: tpe, trials: 100}",
        )  # fmt: skip

    def translated(self, resolved: Resolved) -> Source:
        """The settings as if they had been read from a file, each part with its place in the study's."""
        found = Source(self.source.file, resolved.settings, base=self.source.base)
        for to, place in resolved.places.items():
            for marks, there in ((found.values, self.source.values), (found.keys, self.source.keys)):
                if place in there:
                    marks[to] = there[place]
        return found


def _children(node: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, Mapping):
        yield from node.items()
    elif isinstance(node, list):
        yield from enumerate(node)


def _first(here: Domain) -> Scalar:
    return here.labels[0] if isinstance(here, Choice) else here.low


def _index(labels: Sequence[Scalar], value: Scalar, name: str) -> int:
    for i, label in enumerate(labels):
        if type(label) is type(value) and label == value:
            return i
    raise ConfigError(f"{name} cannot be {value!r}", allowed=[str(label) for label in labels], got=str(value))
