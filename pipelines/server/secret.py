"""Keys: 256 random bits, of which the settings hold the SHA-256 alone."""

from __future__ import annotations

import secrets
from hashlib import sha256

PREFIX = "fovea_"


def new_key() -> tuple[str, str]:
    """A fresh key and its digest."""
    key = PREFIX + secrets.token_urlsafe(32)
    return key, digest(key)


def digest(key: str) -> str:
    """The SHA-256 of a key, in hexadecimal. A random key of 256 bits needs no slower hash."""
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
