"""What `fovea bench attention` compares: the registered engines, one setting of each swept, and peers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fovea.attention_retrieval.corrections.correction import Correction
from fovea.attention_retrieval.index.engine import Engine, Index
from fovea.pipelines.bench.attention_answers import Ready, Searched
from fovea.pipelines.bench.attention_heads import Head
from fovea.pipelines.bench.attention_peers import PEERS
from fovea.pipelines.bench.segmentation_methods import made, parsed
from fovea.rag import registry
from fovea.rag.errors import ConfigError

KNOBS = ("nprobe", "budget", "share", "ef", "beam", "rerank")
"""Settings that trade bytes for recall in a search and leave the index as it is; an engine's first is swept."""
FACTORS = (0.25, 0.5, 1, 2, 4)


@dataclass(frozen=True)
class Method:
    """One row or, when swept or corrected, several."""

    name: str
    engine: Engine | None
    variants: Mapping[str, Engine] = field(default_factory=dict)
    """Other search settings over the same index"""
    corrections: Mapping[str, Correction] = field(default_factory=dict)

    def build(self, head: Head, seed: int) -> dict[str, tuple[Ready, float]]:
        """Everything over one head by its name, each with the seconds that its build took."""
        began = time.perf_counter()
        if self.engine is None:
            made = PEERS[self.name](head)
            return {name: (one, time.perf_counter() - began) for name, one in made.items()}
        index = self.engine.build(head.dynamic(), head.queries(), seed=seed)
        seconds = time.perf_counter() - began
        found: dict[str, tuple[Ready, float]] = {self.name: (Searched(head, index), seconds)}
        for name, engine in self.variants.items():
            found[name] = Searched(head, engine.restore(head.dynamic(), index.state())), seconds
        for name, correction in self.corrections.items():
            found[name] = self._corrected(head, seed, correction, (index, seconds))
        return found

    def _corrected(
        self, head: Head, seed: int, correction: Correction, plain: tuple[Index, float]
    ) -> tuple[Ready, float]:
        """With a correction: over the same index, or over another of keys with a bias."""
        assert self.engine is not None
        bias = correction.bias(head.stop, seed=seed, layer=head.layer, head=head.head)
        (index, seconds), began = plain, time.perf_counter()
        if len(bias):
            keys, seconds = replace(head.dynamic(), bias=bias), 0.0
            index = self.engine.build(keys, head.queries(), seed=seed)
        corrected = correction.over(index.keys, head.values, head.queries(), seed=seed)
        return Searched(head, index, corrected, correction.more), seconds + time.perf_counter() - began

    @property
    def settings(self) -> Mapping[str, dict[str, Any]]:
        """Of the rows that come of it; those of a peer have none."""
        if self.engine is None:
            return {self.name: {}}
        own = self.engine.settings()
        corrected = {name: {**own, "correct": c.settings()} for name, c in self.corrections.items()}
        return {self.name: own, **{name: e.settings() for name, e in self.variants.items()}, **corrected}


def chosen(text: str | None, *, sweep: bool = False, correct: str = "") -> list[Method]:
    """The methods of `--engines`, or every engine and peer; engines also with the corrections of `--correct`.

    `text` is a YAML flow sequence without its brackets: `flat, sdpa, {use: ivf, nprobe: 16}`. Raises ConfigError for a
    name or a setting that does not exist.
    """
    engines, entries = registry.names("engine"), parsed(f"[{text or ''}]", "--engines")
    if text is None:
        entries = [*engines, *PEERS]
    corrections: list[tuple[str, Correction]] = []
    for entry in parsed(f"[{correct}]", "--correct"):
        corrections.append((label_of(_entry(entry)), made(Correction, entry, "--correct")))
    found = [_named(_entry(entry), sweep, corrections) for entry in entries]
    if not found:
        raise ConfigError("no engine is named", where="--engines", allowed=[*engines, *PEERS])
    if twice := sorted({m.name for m in found if [o.name for o in found].count(m.name) > 1}):
        raise ConfigError(f"the same engine twice: {', '.join(twice)}", where="--engines")
    return found


def _entry(entry: Any) -> dict[str, Any]:
    return entry if isinstance(entry, dict) else {"use": entry}


def _named(own: dict[str, Any], sweep: bool, corrections: Sequence[tuple[str, Correction]]) -> Method:
    name, label = str(own.get("use")), label_of(own)
    if name in PEERS and len(own) == 1:
        return Method(name, None)
    known = [*registry.names("engine"), *PEERS]
    if name not in registry.names("engine"):
        raise ConfigError(f"no engine {name!r}", where="--engines", allowed=known, got=name)
    engine: Engine = made(Engine, own, f"--engines {name}")
    corrected = {f"{label} + {called}": correction for called, correction in corrections}
    return Method(label, engine, variants(engine, label) if sweep else {}, corrected)


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


def label_of(own: Mapping[str, Any]) -> str:
    """How a method is called: `ivf nprobe=16`."""
    return " ".join([str(own.get("use")), *(f"{key}={value}" for key, value in own.items() if key != "use")])
