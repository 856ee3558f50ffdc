"""The words of a message: which of its parts are its body, in which encoding, and what is attached."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from mimetypes import guess_extension
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fovea.pipelines.loaders.decode import open_text
from fovea.pipelines.loaders.page_within import words_of_page
from fovea.pipelines.loaders.writer import Writer
from fovea.rag.errors import DocumentError
from fovea.rag.trace import warn

TEXT = ("text/plain", "text/html")
"""What the body of a message may be, the better one first."""


@dataclass
class Parts:
    """Of one message: what is read as its body, in order, and what is attached."""

    body: list[EmailMessage] = field(default_factory=list)
    attached: list[EmailMessage] = field(default_factory=list)


def parts(message: EmailMessage) -> Parts:
    """Sort the parts of a message. Of alternatives the plain text is its body, or HTML where that is blank."""
    found = Parts()
    for part in _leaves(message):
        kind = part.get_content_type()
        broken = kind.startswith("multipart/")  # Its parts could not be told apart: all of it is text.
        is_text = (broken or kind in TEXT) and part.get_content_disposition() != "attachment"
        (found.body if is_text and not part.get_filename() else found.attached).append(part)
    return found


def _leaves(part: Any) -> Iterator[EmailMessage]:
    if part.get_content_maintype() != "multipart" or not part.is_multipart():
        yield part
    elif part.get_content_type() == "multipart/alternative":
        yield from _best([list(_leaves(child)) for child in part.iter_parts()])
    else:
        for child in part.iter_parts():
            yield from _leaves(child)


def _best(choices: list[list[EmailMessage]]) -> Iterator[EmailMessage]:
    """The leaves of the plain alternative, or of the HTML one; calendars and what else is no body come too."""
    for kind in TEXT:
        for choice in choices:
            if any(part.get_content_type() == kind and content(part).strip() for part in choice):
                yield from choice
                yield from (p for c in choices if c is not choice for p in c if p.get_content_type() not in TEXT)
                return
    for choice in choices:
        yield from choice


def content(part: EmailMessage) -> str:
    """The text of a part, in the encoding it names where that fits, else in the one its bytes look like."""
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return ""
    try:
        return data.decode(part.get_content_charset() or "utf-8").replace("\r\n", "\n")
    except (LookupError, UnicodeDecodeError):
        with TemporaryDirectory(prefix="fovea-") as folder:
            (path := Path(folder) / "message").write_bytes(data)
            try:
                with open_text(path, None) as file:
                    return file.read().replace("\r\n", "\n")
            except DocumentError:
                warn("parts of messages in no encoding that is known: their letters beyond ASCII became U+FFFD")
                return data.decode("ascii", "replace").replace("\r\n", "\n")


def markdown(part: EmailMessage, name: str) -> str:
    """A part of the body as Markdown: HTML as the loader of web pages makes it, plain text with structure escaped;
    `name` is the file's, for warnings."""
    text = content(part)
    if part.get_content_type() == "text/html":
        return words_of_page(text.encode("utf-8-sig", "replace"), name)
    if part.get_param("format") == "flowed":
        text = unfold(text, drop_space=str(part.get_param("delsp") or "").lower() == "yes")
    writer = Writer()
    writer.paragraph(text.rstrip())
    return writer.text


def unfold(text: str, *, drop_space: bool = False) -> str:
    """Text of `format=flowed` (RFC 3676) with its soft breaks joined: those after a space, save the signature's."""
    out: list[str] = []
    depth = -1  # Of the quotation whose last line goes on.
    for line in text.split("\n"):
        marks = re.match(r">*", line)
        quoted = len(marks[0]) if marks else 0
        bare = line[quoted:].removeprefix(" ")
        flows = bare.endswith(" ") and bare != "-- "
        kept = bare[:-1] if flows and drop_space else bare
        if depth == quoted and bare != "-- ":
            out[-1] += kept
        else:
            out.append(f"{'>' * quoted} {kept}" if quoted else kept)
        depth = quoted if flows else -1
    return "\n".join(out)


def attachment_name(part: EmailMessage, number: int) -> str:
    """The name of an attachment: its own, a message's subject, or a number, with the suffix of its type."""
    if part.get_content_type() == "message/rfc822":
        inner = part.get_payload(0) if part.is_multipart() else part
        subject = " ".join(str(inner.get("subject") or "").split()) if isinstance(inner, EmailMessage) else ""
        return f"{re.sub(r'[/:]', '-', subject)[:100] or f'message {number}'}.eml"
    if name := part.get_filename():
        return " ".join(str(name).split())
    return f"attachment {number}{guess_extension(part.get_content_type()) or '.bin'}"


def attachment_bytes(part: EmailMessage) -> bytes:
    """What is attached, decoded; a message as it was sent."""
    if part.get_content_maintype() == "message" and part.is_multipart():
        return b"".join(inner.as_bytes() for inner in part.get_payload() if isinstance(inner, EmailMessage))
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""
