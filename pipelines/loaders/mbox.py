"""Mailboxes: many messages in one file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

from fovea.pipelines.loaders.members import Member, MemberLoader
from fovea.rag.errors import DocumentError
from fovea.rag.types import Document

_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)


class MboxLoader(MemberLoader, name="mbox"):
    """The documents of every message in a mailbox, named by the message's number: `mail.mbox#12.eml`.

    A message begins at a line `From ` after an empty one; lines of text that were quoted for that (`>From`) are as they
    were written.
    """

    suffixes = (".mbox",)
    format = "mailbox"

    def contents(self, path: Path) -> Iterator[Document | Member]:
        """The messages in order."""
        for number, data in enumerate(_messages(path), 1):
            yield Member(f"{number}.eml", partial(BytesIO, data))


def _messages(path: Path) -> Iterator[bytes]:
    lines: list[bytes] = []
    with path.open("rb") as file:
        if not file.readline().startswith(b"From "):
            raise DocumentError(
                "this is no mailbox: it does not begin with a line `From `",
                where=path.as_posix(),
                fix="rename it to the suffix of what it is, or export the mailbox again",
            )
        for line in file:
            if line.startswith(b"From ") and (not lines or not lines[-1].strip()):
                yield _QUOTED.sub(rb"\1", b"".join(lines))
                lines = []
            else:
                lines.append(line)
    yield _QUOTED.sub(rb"\1", b"".join(lines))
