"""Outlook's messages, with what is attached to them."""

from __future__ import annotations

from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from fovea.pipelines.loaders.mail.letter import contents
from fovea.pipelines.loaders.members import Member, MemberLoader
from fovea.pipelines.loaders.packed import OLE
from fovea.rag.errors import DocumentError, require
from fovea.rag.trace import warn
from fovea.rag.types import Document

RTF_BODY = 0x1009
"""The property of a body in compressed RTF."""
EMBEDDED = 5
"""The way of attaching a message of Outlook's own."""


class MsgLoader(MemberLoader, name="msg"):
    """One document a message, and the documents of each attachment, as the loader `eml` makes them.

    Messages attached in Outlook's own form, and a body that is there as RTF alone, are left out, counted.
    """

    suffixes = (".msg",)
    packages = {"oxmsg": "office"}
    format = "Outlook message"

    def contents(self, path: Path) -> Iterator[Document | Member]:
        """The message, then its attachments."""
        oxmsg = require("oxmsg", extra="office", needed_by="the loader 'msg'")
        with path.open("rb") as file:
            if file.read(len(OLE)) != OLE:
                raise DocumentError(
                    "this is no Outlook message",
                    where=path.as_posix(),
                    fix="rename it to the suffix of what it is (.eml for messages of other programs)",
                )
        yield from contents(_message(oxmsg.Message.load(str(path)), path.name), path)


def _message(found: Any, name: str) -> EmailMessage:
    """The same message as other programs write it."""
    message = EmailMessage(policy=policy.default)
    sent = found.sent_date
    receivers = [f"{r.name} <{r.email_address}>" if r.name != r.email_address else r.name for r in found.recipients]
    fields = {
        "Subject": found.subject,
        "From": found.sender,
        "To": found.message_headers.get("To") or ", ".join(receivers),
        "Cc": found.message_headers.get("Cc"),
        "Date": format_datetime(sent) if sent else found.message_headers.get("Date"),
        "MIME-Version": "1.0",
    }
    for key, value in fields.items():
        if value:
            message.set_raw(key, " ".join(str(value).split()))
    _body(message, found, name)
    for attachment in found.attachments:
        _attach(message, attachment, name)
    return message


def _body(message: EmailMessage, found: Any, name: str) -> None:
    plain, html = found.body or "", found.html_body or ""
    if plain.strip() or html.strip():
        message.set_content(plain.replace("\0", ""), charset="utf-8", cte="base64")
        message.add_alternative(html.replace("\0", ""), subtype="html", charset="utf-8", cte="base64")
    elif found.properties.binary_prop_value(RTF_BODY):
        warn(f"{name}: a body that is there as RTF alone, left out; save the message as .eml")


def _attach(message: EmailMessage, attachment: Any, name: str) -> None:
    if attachment.properties.int_prop_value(0x3705) == EMBEDDED:
        warn(f"{name}: attached messages in Outlook's own form, left out; save them as files")
        return
    data = attachment.file_bytes
    if data is None:
        warn(f"{name}: attachments that are links or embedded objects, left out")
        return
    main, _, sub = (attachment.mime_type or "").partition("/")
    kind = (main, sub) if main and sub else ("application", "octet-stream")
    safe = kind if kind[0] not in ("message", "multipart", "text") else ("application", "octet-stream")
    message.add_attachment(data, maintype=safe[0], subtype=safe[1], filename=attachment.file_name or "attachment")
