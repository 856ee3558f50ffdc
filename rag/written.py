"""Written: what people write down, as YAML or JSON, and where `true` is no number.

tau: true        refused, where pydantic would read 1
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, field_validator
from pydantic_core import PydanticCustomError


class Written(BaseModel):
    """A model whose numbers are not said as true or false, at any depth of a field."""

    @field_validator("*", mode="wrap")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, handler: Callable[[Any], Any]) -> Any:
        got = handler(value)
        if _counted(value, got):
            raise PydanticCustomError("number_type", "Input should be a number, not true or false")
        return got


def _counted(said: Any, got: Any) -> bool:
    """Whether a true or false in `said` became a number in `got`."""
    if isinstance(said, bool):
        return isinstance(got, (int, float)) and not isinstance(got, bool)
    if isinstance(said, Mapping) and isinstance(got, Mapping):
        return any(_counted(each, got.get(key)) for key, each in said.items())
    if isinstance(said, (list, tuple)) and isinstance(got, (list, tuple)):
        return any(map(_counted, said, got))
    return False
