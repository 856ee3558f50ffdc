"""Domains: what a parameter may be. `choice` of anything, `range` and `log_range` of numbers.

```yaml
max_tokens: {choice: [100, 200, 400]}
candidates: {range: [20, 100], step: 20}
top_n: {log_range: [5, 80], points: 4}       # 5, 13, 32, 80
```
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from fovea.rag.errors import ConfigError

Scalar = str | int | float | bool | None
WORDS = ("choice", "range", "log_range")
MOST = 100_000
"""Configurations of a grid, and values of a parameter, at most."""


@dataclass(frozen=True)
class Choice:
    """One of `options`; `labels` are their names in tables, and their values where they are plain."""

    options: tuple[Any, ...]
    labels: tuple[Scalar, ...]


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both included; a whole one where both are. `step` 0 for any."""

    low: float
    high: float
    step: float = 0
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole."""
        return isinstance(self.low, int) and isinstance(self.high, int) and float(self.step).is_integer()


Domain = Choice | Range


def is_parameter(node: Any) -> bool:
    """Whether a value of the YAML stands for a choice."""
    return isinstance(node, Mapping) and any(word in node for word in WORDS)


def domain(node: Mapping[str, Any]) -> Domain:
    """The domain that a parameter's mapping describes; raises ConfigError, without a place, for what it cannot be."""
    word = next(word for word in WORDS if word in node)
    allowed = {word, "as"} if word == "choice" else {word, "as", "step", "points"}
    if unknown := sorted(set(node) - allowed):
        raise ConfigError(f"{unknown[0]!r} does not belong to a {word}", allowed=sorted(allowed), got=unknown[0])
    if word == "choice":
        return _choice(node["choice"])
    low, high = _ends(word, node[word])
    step, points = node.get("step", 0), node.get("points")
    if points is not None:
        return _points(low, high, points, log=word == "log_range", step=step)
    if not _number(step) or step < 0:
        raise ConfigError(f"step is a number over 0, got {step!r}")
    if step and word == "log_range":
        raise ConfigError("a log_range has no step", fix=f"{{log_range: [{low}, {high}], points: 4}}")
    return Range(low, high, step, word == "log_range")


def _choice(options: Any) -> Choice:
    if not isinstance(options, Sequence) or isinstance(options, str):
        raise ConfigError(f"choice takes a list, got {options!r}")
    if not options:
        raise ConfigError("an empty choice: there is nothing to try", fix="list at least one value")
    return Choice(tuple(options), labels(options))


def _ends(word: str, ends: Any) -> tuple[float, float]:
    if not isinstance(ends, Sequence) or len(ends) != 2 or not all(map(_number, ends)):
        raise ConfigError(f"{word} takes two numbers [low, high], got {ends!r}")
    low, high = ends
    if not low < high:
        raise ConfigError(f"an empty {word}: {low} is not below {high}", fix=f"{{{word}: [{high}, {low}]}}")
    if word == "log_range" and low <= 0:
        raise ConfigError(f"a log_range begins above 0, got {low}")
    return low, high


def _points(low: float, high: float, points: Any, *, log: bool, step: Any) -> Choice:
    if type(points) is not int or not 2 <= points <= MOST or step:
        raise ConfigError(f"points is a whole number from 2 to {MOST:,}, and stands without step; got {points!r}")
    whole = isinstance(low, int) and isinstance(high, int)
    shares = [i / (points - 1) for i in range(points)]
    found = [low * (high / low) ** s if log else low + (high - low) * s for s in shares]
    values = tuple(dict.fromkeys(round(v) if whole else float(f"{v:.6g}") for v in found))
    return Choice(values, values)


def values(domain: Domain) -> tuple[Scalar, ...]:
    """Every value, for a grid; raises ConfigError for a range that has no end of them."""
    if isinstance(domain, Choice):
        return domain.labels
    step = domain.step or (1 if domain.whole and not domain.log else 0)
    if not step:
        word = "log_range" if domain.log else "range"
        raise ConfigError(
            f"a grid cannot try every value of {{{word}: [{domain.low}, {domain.high}]}}",
            fix=f"{{{word}: [{domain.low}, {domain.high}], points: 4}}, or search: {{use: tpe}}",
        )
    if (count := math.floor((domain.high - domain.low) / step + 1e-9) + 1) > MOST:
        raise ConfigError(
            f"a grid of [{domain.low}, {domain.high}] in steps of {step} has more than {MOST:,} values",
            fix="points: 4 in the place of step, or search: {use: tpe}",
        )
    return tuple(_nth(domain, i, step) for i in range(count))


def drawn(domain: Domain, rng: Random) -> Scalar:
    """A value by chance, each one as likely; of a log_range its logarithm is evenly spread."""
    if isinstance(domain, Choice):
        return rng.choice(domain.labels)
    if domain.step:
        return _nth(domain, rng.randrange(math.floor((domain.high - domain.low) / domain.step + 1e-9) + 1), domain.step)
    if domain.log:
        found = domain.low * (domain.high / domain.low) ** rng.random()
        return round(found) if domain.whole else found
    return rng.randint(int(domain.low), int(domain.high)) if domain.whole else rng.uniform(domain.low, domain.high)


def _nth(domain: Range, i: int, step: float) -> Scalar:
    return round(domain.low + i * step) if domain.whole else domain.low + i * step


def labels(options: Sequence[Any]) -> tuple[Scalar, ...]:
    """A short name for each option, each one once: a plain value is its own."""
    plain = [o if _plain(o) else _label(o) for o in options]
    if len({(type(p), p) for p in plain}) == len(plain) == len({str(p) for p in plain}):
        return tuple(plain)
    full = [o if _plain(o) else _label(o, full=True) for o in options]
    seen: dict[str, int] = {}
    for i, name in enumerate(map(str, full)):
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            raise ConfigError(f"the option {full[i]!r} stands twice in a choice")
    return tuple(full)


def _label(option: Any, *, full: bool = False) -> str:
    if isinstance(option, Mapping):
        rest = [f"{k}={_label(v)}" for k, v in option.items() if k != "use" and (full or "use" not in option)]
        name = str(option.get("use", ""))
        return f"{name}({', '.join(rest)})" if rest else name or "{}"
    if isinstance(option, Sequence) and not isinstance(option, str):
        return "+".join(_label(o, full=full) for o in option) or "none"
    return "none" if option is None else str(option)


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
