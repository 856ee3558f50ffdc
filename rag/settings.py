"""Settings: the fields of a component as plain data, and a hash of those that decide its results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic_core import PydanticCustomError

from fovea.rag.written import Written

T = TypeVar("T")


class SpeedMark:
    """Marks a setting that changes how fast a result comes, never the result; it stays out of the fingerprint."""


SpeedOnly = Annotated[T, SpeedMark()]


class Settings(Written):
    """A kind, a name, and fields that are settings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, protected_namespaces=(), allow_inf_nan=False
    )

    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    """Raise it when the same settings begin to give other results: cached results of the old code are then unused."""

    @field_validator("*")
    @classmethod
    def _of_64_bits(cls, value: Any) -> Any:
        if _too_long(value):
            raise PydanticCustomError("int_size", "Input should be a whole number of at most 64 bits")
        return value

    def settings(self, *, speed: bool = True) -> dict[str, Any]:
        """The settings as plain data with `use`, ready for YAML; `speed=False` leaves out what only changes speed."""
        fields = {
            key: _plain(getattr(self, key), speed)
            for key, info in type(self).model_fields.items()
            if not info.exclude and (speed or not any(isinstance(m, SpeedMark) for m in info.metadata))
        }
        return {"use": self.name, **fields}

    def __getstate__(self) -> dict[Any, Any]:
        """The settings alone: a copy for another process loads there what it needs."""
        state = super().__getstate__()
        return {**state, "__dict__": {key: state["__dict__"][key] for key in type(self).model_fields}}

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides this component's results: its kind, name, version and settings."""
        return self.fingerprint_with()

    def fingerprint_with(self, **content: Any) -> str:
        """The same, with the content of what some settings only name (weights, a model) in their place. A component
        among the settings counts by its own fingerprint, and so by its content too.
        """
        told = self.settings(speed=False)
        within = {key: value.fingerprint for key in told if isinstance(value := getattr(self, key, None), Settings)}
        return fingerprint({"kind": self.kind, "version": self.version, **told, **within, **content})


def _too_long(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_too_long, value))
    return isinstance(value, int) and not -(1 << 63) <= value < 1 << 63


def _plain(value: Any, speed: bool) -> Any:
    if isinstance(value, Settings):
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
