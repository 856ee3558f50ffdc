"""Texts for clients elsewhere: without paths of this machine, and without characters that act."""

from __future__ import annotations

import re

from fovea.rag.printable import printable

PATH = re.compile(r"""(?<![\w.:/\\])(?:~?(?:/[^\s/'"`,;:()\[\]{}<>]+){2,}/?|[A-Za-z]:[\\/][^\s'"`,;()\[\]{}<>]+)""")
"""An absolute path of two names at least, or one with a drive."""
HIDDEN = "[...]"


def clean(text: str) -> str:
    """A text without absolute paths and without characters that act."""
    return PATH.sub(HIDDEN, printable(text, keep="\n"))
