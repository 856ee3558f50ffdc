"""What `fovea bench attention` compares: the registered engines, one setting of each swept, and peers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from attention_retrieval.engine import Engine, Found, Index
from attention_retrieval.partial import Partial, merge
from pipelines.bench.attention_heads import Head, Step
from pipelines.bench.attention_peers import PEERS
from pipelines.bench.segmentation_methods import parsed
from rag import registry
from rag.errors import ConfigError

KNOBS = ("nprobe", "budget", "share", "ef", "beam", "rerank")
"""Settings that trade bytes for recall in a search and leave the index as it is; an engine's first is swept."""
FACTORS = (0.25, 0.5, 1, 2, 4)


class Answer(NamedTuple):
    """What a method made of one step, and in what time."""

    whole: Partial
    ids: np.ndarray | None
    """(group, k); None where every row is attended to"""
    scanned: int
    bytes: int
    select: float
    attend: float


class Ready(Protocol):
    """A method over one head."""

    @property
    def nbytes(self) -> int:
        """Of the index, without the keys."""

    def answer(self, step: Step, k: int) -> Answer:
        """Attention of the step's queries, by this method."""


@dataclass
class Searched:
    """An index; what it finds is attended to, with the static set."""

    head: Head
    index: Index

    @property
    def nbytes(self) -> int:
        """Of the index, without the keys."""
        return self.index.nbytes

    def answer(self, step: Step, k: int) -> Answer:
        """Search, attend, merge."""
        began = time.perf_counter()
        found = self.index.search(step.q, k)
        between = time.perf_counter()
        whole = attended(self.head, step, found)
        return answered(found, whole, began, between, time.perf_counter())


def attended(head: Head, step: Step, found: Found) -> Partial:
    """Attention over what was found and the static set."""
    from attention_retrieval.kernels.attend import attend_ids

    return merge(Partial(*attend_ids(head.values.stored, found.ids, found.logits)), head.static(step))


def answered(found: Found, whole: Partial, began: float, between: float, ended: float) -> Answer:
    """The answer of a search that took from `began` to `between`."""
    return Answer(whole, found.ids, found.scanned, found.bytes, between - began, ended - between)


@dataclass(frozen=True)
class Method:
    """One row or, when swept, several: variants share the build."""

    name: str
    engine: Engine | None
    variants: Mapping[str, Engine] = field(default_factory=dict)

    def build(self, head: Head, seed: int) -> tuple[dict[str, Ready], float]:
        """Everything over one head by its name, and the seconds that the build took."""
        began = time.perf_counter()
        if self.engine is None:
            made = PEERS[self.name](head)
            return made, time.perf_counter() - began
        index = self.engine.build(head.dynamic(), head.queries(), seed=seed)
        seconds = time.perf_counter() - began
        found: dict[str, Ready] = {self.name: Searched(head, index)}
        for name, engine in self.variants.items():
            found[name] = Searched(head, engine.restore(head.dynamic(), index.state()))
        return found, seconds

    @property
    def names(self) -> Mapping[str, dict[str, Any]]:
        """The rows that come of it, with their settings; of a peer only the first is known before it is built."""
        if self.engine is None:
            return {self.name: {}}
        return {self.name: self.engine.settings(), **{n: e.settings() for n, e in self.variants.items()}}


def chosen(text: str | None, *, sweep: bool) -> list[Method]:
    """The methods of `--engines`, or every engine and peer.

    `text` is a YAML flow sequence without its brackets: `flat, sdpa, {use: ivf, nprobe: 16}`. Raises ConfigError for a
    name or a setting that does not exist.
    """
    engines = registry.names("engine")
    if text is None:
        return [*(_engine({"use": name}, sweep) for name in engines), *(Method(name, None) for name in PEERS)]
    found = [_named(entry, sweep) for entry in parsed(f"[{text}]", "--engines")]
    if not found:
        raise ConfigError("no engine is named", where="--engines", allowed=[*engines, *PEERS])
    if twice := sorted({m.name for m in found if [o.name for o in found].count(m.name) > 1}):
        raise ConfigError(f"the same engine twice: {', '.join(twice)}", where="--engines")
    return found


def _named(entry: Any, sweep: bool) -> Method:
    own = entry if isinstance(entry, dict) else {"use": entry}
    name = str(own.get("use"))
    if name in PEERS and len(own) == 1:
        return Method(name, None)
    known = [*registry.names("engine"), *PEERS]
    if name not in registry.names("engine"):
        raise ConfigError(f"no engine {name!r}", where="--engines", allowed=known, got=name)
    return _engine(own, sweep)


def _engine(own: Mapping[str, Any], sweep: bool) -> Method:
    from pydantic import ValidationError

    try:
        engine: Engine = Engine.model_validate(dict(own))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "settings"
        raise ConfigError(f"{where}: {first['msg']}", where=f"--engines {own['use']}") from None
    return Method(_label(own), engine, variants(engine, _label(own)) if sweep else {})


def variants(engine: Engine, label: str) -> dict[str, Engine]:
    """The engine at a quarter to four times its search setting."""
    knob = knob_of(engine)
    if knob is None:
        return {}
    here = getattr(engine, knob)
    if isinstance(here, int):
        values: Sequence[float] = sorted({max(1, round(here * factor)) for factor in FACTORS} - {here})
    else:
        values = sorted({min(float(f"{here * factor:.3g}"), 1) for factor in FACTORS} - {here})
    return {f"{label} {knob}={value:g}": engine.model_copy(update={knob: value}) for value in values}


def knob_of(engine: Engine) -> str | None:
    """Which setting is swept."""
    return next((k for k in KNOBS if isinstance(getattr(engine, k, None), (int, float))), None)


def _label(own: Mapping[str, Any]) -> str:
    return " ".join([str(own["use"]), *(f"{key}={value}" for key, value in own.items() if key != "use")])
