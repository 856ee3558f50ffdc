"""E-mail messages, with what is attached to them."""

from __future__ import annotations

from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

from fovea.pipelines.loaders.mail.letter import contents
from fovea.pipelines.loaders.members import Member, MemberLoader
from fovea.rag.types import Document


class EmlLoader(MemberLoader, name="eml"):
    """One document a message, and the documents of each attachment, named `message.eml#attachment`.

    The text begins with subject, sender, receivers and date, which are title and metadata too (`from`, `to`, `cc`, and
    `date` as ISO 8601). The plain text is read, or HTML where there is none. Attached messages are read like this one.
    """

    suffixes = (".eml", ".emlx")
    format = "e-mail message"

    def contents(self, path: Path) -> Iterator[Document | Member]:
        """The message, then its attachments."""
        data = path.read_bytes()
        if path.suffix.lower() == ".emlx":  # Apple Mail: the number of bytes, the message, and settings behind it.
            size, _, rest = data.partition(b"\n")
            data = rest[: int(size)]
        yield from contents(parse(data), path)


def parse(data: bytes) -> EmailMessage:
    """A message out of its bytes."""
    return BytesParser(policy=policy.default).parsebytes(data)
