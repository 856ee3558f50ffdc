"""The place of a server in the settings of a store: never with a password, which a file of settings would show."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator


def no_password(url: str) -> str:
    """`url`, if no password stands in it; else raises ValueError, which does not repeat it."""
    try:
        parts = urlsplit(url)
        secret = parts.password is not None or "password" in parse_qs(parts.query)
    except ValueError:
        return url  # Whoever connects says what is wrong with it.
    if secret:
        raise ValueError("a password does not stand in `url`: servers of stores take theirs from the environment")
    return url


Url = Annotated[str, AfterValidator(no_password)]
