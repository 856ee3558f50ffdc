"""Constraints: which configurations of a space are tried at all.

    constraints: ["segment.overlap < segment.size", "refine == none or candidates >= 50"]

Comparisons of parameters with each other and with plain values, joined by `or`. A comparison with a parameter that the
configuration does not have holds. Nothing is evaluated as code.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fovea.pipelines.sweep.domain import Scalar
from fovea.rag.errors import ConfigError

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_COMPARISON = re.compile(r"^\s*(?P<left>\S.*?)\s*(?P<op><=|>=|==|!=|<|>)\s*(?P<right>\S.*?)\s*$")


@dataclass(frozen=True)
class _Side:
    """A parameter by its name, or a plain value."""

    text: str
    value: Scalar
    is_name: bool

    def of(self, params: Mapping[str, Scalar]) -> Scalar:
        return params[self.text] if self.is_name else self.value


@dataclass(frozen=True)
class Constraint:
    """One line."""

    text: str
    parts: tuple[tuple[_Side, str, _Side], ...]

    @classmethod
    def parse(cls, text: str, names: Mapping[str, Any]) -> Constraint:
        """Read a line; raises ConfigError, without a place, for one that compares no parameter."""
        return cls(text, tuple(_comparison(part, names) for part in re.split(r"\s+or\s+", text)))

    def holds(self, params: Mapping[str, Scalar]) -> bool:
        """Whether one of its comparisons holds, or speaks of a parameter that is not there."""
        return any(_holds(params, *part) for part in self.parts)


def _comparison(text: str, names: Mapping[str, Any]) -> tuple[_Side, str, _Side]:
    if (match := _COMPARISON.match(text)) is None:
        raise ConfigError(f"{text!r} compares nothing", fix='write "segment.overlap < segment.size"')
    left, right = _side(match["left"], names), _side(match["right"], names)
    if not left.is_name and not right.is_name:
        raise ConfigError(f"{text!r} names no parameter of the space", allowed=names, got=match["left"])
    return left, match["op"], right


def _side(text: str, names: Mapping[str, Any]) -> _Side:
    if text in names:
        return _Side(text, None, True)
    plain: Scalar = text.strip("'\"")
    for read in (int, float):
        try:
            plain = read(text)
            break
        except ValueError:
            continue
    return _Side(text, {"true": True, "false": False}.get(text, plain), False)


def _holds(params: Mapping[str, Scalar], left: _Side, op: str, right: _Side) -> bool:
    if any(side.is_name and side.text not in params for side in (left, right)):
        return True
    a, b = left.of(params), right.of(params)
    if op in ("==", "!="):
        a, b = ("none" if side is None else side for side in (a, b))
        return _OPERATORS[op](str(a), str(b)) if isinstance(a, str) or isinstance(b, str) else _OPERATORS[op](a, b)
    try:
        return _OPERATORS[op](a, b)
    except TypeError:
        raise ConfigError(f"{left.text} {op} {right.text}: {a!r} and {b!r} have no order") from None
