"""Secrets: which settings and variables hold one, and texts without them. Providers repeat keys in what they refuse."""

from __future__ import annotations

import os

SHORTEST = 8
"""Characters of a secret; what is shorter stands in texts by chance."""
HIDDEN = "[secret]"


def is_secret(name: str) -> bool:
    """Whether a setting or variable of this name holds something that must not be written down."""
    return any(word in name.lower() for word in ("key", "secret", "token", "password", "credential")) and (
        not name.lower().endswith("tokens")
    )


def without_secrets(text: str, *secrets: str) -> str:
    """`text` without `secrets` and without the values of the environment's variables whose names say that they are."""
    known = {*secrets, *(value.strip() for name, value in os.environ.items() if is_secret(name))}
    for secret in sorted(known, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, HIDDEN)
    return text


def words_of(error: BaseException, *secrets: str, most: int = 500) -> str:
    """The first `most` characters of an error of others as one line, without secrets."""
    return without_secrets(" ".join(str(error).split()), *secrets)[:most]
