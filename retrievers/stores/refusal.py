"""What an engine cannot compare is refused, with what to use instead: never answered differently."""

from __future__ import annotations

from collections.abc import Container

from fovea.rag.errors import QueryError
from fovea.rag.filters import Filter, compares, quoted
from fovea.rag.types import Scalar
from fovea.retrievers.stores.follower import comparable, nameable

ORDER = ("<", "<=", ">", ">=")


def refuse(where: Filter, label: str, unfit: Container[str], *, texts: bool = False) -> None:
    """Raise QueryError for the first comparison that the engine would not answer as `fovea.rag.filters.matches`
    does. `texts` says that it compares texts by their order and by a part of them."""
    for compare in compares(where):
        if compare.field in unfit:
            why = f"{label} could not take every value of {compare.field!r}"
        elif compare.op in ("contains", "starts_with") and not texts:
            why = f"{label} cannot look for a part of a text"
        elif compare.op in ORDER and not (_number(compare.value) or (texts and isinstance(compare.value, str))):
            why = f"{label} has {compare.op!r} for numbers only"
        elif not (nameable(compare.field) and all(map(comparable, _listed(compare.value)))):
            why = f"{label} cannot compare exactly with {compare.value!r}"
        else:
            continue
        raise QueryError(
            f"{why}: {quoted(compare.field)} {compare.op} {compare.value!r}",
            fix="the store `embedded` compares everything",
        )


def _number(value: Scalar | tuple[Scalar, ...]) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _listed(value: Scalar | tuple[Scalar, ...]) -> tuple[Scalar, ...]:
    return value if isinstance(value, tuple) else (value,)
