"""One e-mail message as a document, and its attachments as members."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from functools import partial
from io import BytesIO
from pathlib import Path

from fovea.pipelines.loaders.mail.body import attachment_bytes, attachment_name, markdown, parts
from fovea.pipelines.loaders.members import Member
from fovea.pipelines.loaders.writer import Writer
from fovea.rag.errors import DocumentError
from fovea.rag.trace import warn
from fovea.rag.types import Document, Scalar

HEADERS = ("From", "To", "Cc", "Date", "Subject", "Message-ID", "Received", "MIME-Version", "Content-Type")
"""A file without any of these is no message."""
ENCRYPTED = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")


def contents(message: EmailMessage, path: Path) -> Iterator[Document | Member]:
    """The message as one document, headed by its subject, sender, receivers and date; then what is attached."""
    if not any(name in message for name in HEADERS):
        raise DocumentError(
            "this is no e-mail message: it has no headers such as From, Date or Subject",
            where=path.as_posix(),
            fix="rename it to the suffix of what it is, or export the message again",
        )
    kind = message.get_content_type()
    if kind in ENCRYPTED and message.get_param("smime-type") != "signed-data":
        raise DocumentError(
            "encrypted: this message opens only with the key of its receiver",
            where=path.as_posix(),
            fix="save a decrypted copy from the mail program and ingest that",
        )
    found = parts(message)
    body = [text for part in found.body if (text := markdown(part, path.name)).strip()]
    if body or header(message, "Subject"):
        yield _document(message, body, path)
    for number, part in enumerate(found.attached, 1):
        if part.get_content_type() == "application/ms-tnef":
            warn(f"{path.name}: attachments in Outlook's own format (winmail.dat), left out")
            continue
        yield Member(attachment_name(part, number), partial(BytesIO, attachment_bytes(part)))


def header(message: EmailMessage, name: str) -> str:
    """A header's words on one line, decoded; what cannot be parsed is as it stands in the file."""
    try:
        value = message.get(name)
    except Exception:  # The parser of headers raises anything on broken ones.
        value = next((v for k, v in message.raw_items() if k.lower() == name.lower()), None)
    return " ".join(str(value or "").split())


def _document(message: EmailMessage, body: list[str], path: Path) -> Document:
    subject, writer = header(message, "Subject"), Writer()
    writer.heading(1, subject)
    said = {name: words for name in ("From", "To", "Cc", "Date") if (words := header(message, name))}
    writer.paragraph("\n".join(f"{name}: {words}" for name, words in said.items()))
    text = "\n\n".join(piece.strip("\n") for piece in (writer.text, *body)).strip("\n") + "\n"
    metadata: dict[str, Scalar] = {name.lower(): words for name, words in said.items()}
    if date := iso_date(said.get("Date", "")):
        metadata["date"] = date
    name = path.as_posix()
    return Document(name, text, name, subject, "text/markdown", metadata)


def iso_date(words: str) -> str:
    """The date of a header as ISO 8601 with its offset, or nothing for what is no date."""
    try:
        return parsedate_to_datetime(words).isoformat() if words else ""
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""
