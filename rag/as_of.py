"""The moment at which a question is asked, from whatever people write for it."""

from __future__ import annotations

from datetime import date, datetime

from fovea.rag.errors import QueryError


def as_of(given: object) -> datetime | None:
    """A datetime as it is, a date as its first moment, an ISO 8601 text as what it says ("2024-05-01",
    "2024-05-01T12:00", "2024-05-01T12:00:00Z"); None stays None. Raises QueryError for anything else.
    """
    if given is None or isinstance(given, datetime):
        return given
    if isinstance(given, date):
        return datetime(given.year, given.month, given.day)
    try:
        if isinstance(given, str):
            return datetime.fromisoformat(given.strip())
    except ValueError:
        pass
    raise QueryError(
        f"'as_of' is no time such as 2024-05-01T12:00:00: {given!r}", fix="give a date, a datetime or an ISO 8601 text"
    )
