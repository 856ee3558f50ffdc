"""Whether a filter can mean anything for what was ingested: its fields are there, and its values are of their kinds."""

from __future__ import annotations

from collections.abc import Mapping, Set
from difflib import SequenceMatcher

from fovea.rag.errors import QueryError
from fovea.rag.fields import kind
from fovea.rag.filters import Compare, Filter, compares, quoted

MOST_SHOWN = 40
_NAMES = {"text": "texts", "number": "numbers", "bool": "true or false"}


def check(where: Filter, known: Mapping[str, Set[str]]) -> None:
    """Raise QueryError for a field that no document has, or a value of a kind that its field never has.

    `known` gives the kinds ("text", "number", "bool") of each field. A field that the filter itself asks after with
    `exists` may be missing everywhere.
    """
    parts = list(compares(where))
    guarded = {part.field for part in parts if part.op == "exists"}
    for part in parts:
        if part.field in known and part.op != "exists":
            _check_kinds(part, known[part.field])
        elif part.field not in known and part.field not in guarded:
            raise _unknown(part.field, known)


def _check_kinds(part: Compare, kinds: Set[str]) -> None:
    for value in part.value if isinstance(part.value, tuple) else (part.value,):
        if kind(value) not in kinds:
            fix = "texts stand in quotes, numbers and true or false do not"
            if part.op in ("contains", "starts_with"):
                fix = f"{part.op!r} looks into texts only"
            raise QueryError(
                f"the field {part.field!r} holds {' and '.join(_NAMES[k] for k in sorted(kinds))}, "
                f"and is compared with {value!r}",
                where=f"filter: {quoted(part.field)} {part.op}",
                fix=fix,
            )


def _unknown(field: str, known: Mapping[str, Set[str]]) -> QueryError:
    def distance(name: str) -> tuple[float, str]:
        return -SequenceMatcher(None, field.casefold(), name.casefold()).ratio(), name

    names = sorted(known, key=distance)
    shown = [quoted(name) for name in names[:MOST_SHOWN]]
    more = [f"and {len(names) - MOST_SHOWN} more"] if len(names) > MOST_SHOWN else []
    return QueryError(
        f"no document has the field {field!r}",
        where="filter",
        got=quoted(field),
        allowed=[*shown, *more],
        fix=f"exists({quoted(field)}) beside it allows for documents without the field",
    )
