"""Which encoding a text file is in: decided strictly, in constant memory, and never in silence.

A byte-order mark decides; else strict UTF-8; else UTF-8 with some damaged bytes, which become U+FFFD; else a guess from
a sample (`guess.py`), which must decode every byte. The last two leave a warning, and what none of these explains is
refused, because a wrong guess would fill the store with garbled words. Without `charset-normalizer` the only guess is
Windows-1252, if the share of letters beyond ASCII is that of a Western language.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple, TextIO

from pydantic import AfterValidator

from fovea.pipelines.loaders import guess
from fovea.rag.errors import DocumentError, MissingExtra
from fovea.rag.trace import warn

BLOCK = 1 << 20
SAMPLE = 1 << 16
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
CONTROLS = bytes({*range(32), 127} - set(b"\t\n\v\f\r\x1b"))
"""Bytes that text does not hold. Escape is none of them: logs are coloured with it."""
CONTROL_SHARE = 0.01
"""A file with more control characters than this is not text."""
FOREIGN_SHARE = 0.3
"""With more of its letters beyond ASCII than this, single-byte text is not Western European."""


class Decoding(NamedTuple):
    """How to open a file: codec name, and what to do with bytes it cannot decode."""

    codec: str
    errors: str = "strict"


def known(encoding: str | None) -> str | None:
    """Check that Python can decode `encoding` to text; a ValueError otherwise."""
    if encoding is not None:
        try:
            b"x".decode(encoding)  # Python looks no codec up to decode nothing.
        except UnicodeDecodeError:
            pass
        except LookupError:
            raise ValueError(f"unknown text encoding {encoding!r}; try utf-8, cp1252, cp1251, shift_jis") from None
    return encoding


Encoding = Annotated[str | None, AfterValidator(known)]


def open_text(path: Path, encoding: str | None) -> TextIO:
    """Open `path` in its encoding with every line ending kept as it is. DocumentError for what is not text."""
    found = decoding(path, encoding)
    return path.open(encoding=found.codec, errors=found.errors, newline="")


def decoding(path: Path, encoding: str | None = None) -> Decoding:
    """The encoding of `path`: `encoding` if it is given and fits every byte, else what the bytes say."""
    with path.open("rb") as file:
        head = file.read(SAMPLE)
    codec = encoding or next((name for mark, name in MARKS.items() if head.startswith(mark)), None)
    if codec:
        if (at := first_fault(path, codec)) is not None:
            raise DocumentError(
                f"byte {at} is not {codec}",
                where=path.as_posix(),
                fix=f"{'set `encoding` of this loader to the right one, or ' if encoding else ''}save it as UTF-8",
            )
        return Decoding(codec)
    if (b"\0" in head or any(map(guess.SHIFTED.search, _blocks(path)))) and (codec := _wide(path)):
        return _aloud(path, codec)
    refuse_binary(path, head)
    at = first_fault(path, "utf-8")
    return Decoding("utf-8") if at is None else _fallback(path, at)


def first_fault(path: Path, codec: str) -> int | None:
    """The offset of the first byte that `codec` cannot decode, or None."""
    decoder, at = codecs.getincrementaldecoder(codec)(), 0
    for block in (*_blocks(path), b""):
        held = len(decoder.getstate()[0])
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            return at - held + error.start
        at += len(block)
    return None


def refuse_binary(path: Path, head: bytes) -> None:
    """Raise DocumentError if `path` holds NUL bytes or more control characters than text has."""
    if b"\0" in head and (codec := _utf16_without_mark(head)):
        raise DocumentError(
            f"this looks like {codec} without a byte-order mark",
            where=path.as_posix(),
            fix=f"set `encoding: {codec}` of this loader, or save it as UTF-8",
        )
    size = controls = 0
    for block in _blocks(path):
        size += len(block)
        controls += len(block) - len(block.translate(None, CONTROLS))
        if b"\0" in block or controls > max(CONTROL_SHARE * size, 8):
            what = "a NUL byte" if b"\0" in block else f"{controls} control characters in its first {size} bytes"
            raise DocumentError(
                f"this is not text: it holds {what}",
                where=path.as_posix(),
                fix="remove it, or rename it to the suffix of what it is",
            )


def _utf16_without_mark(head: bytes) -> str | None:
    even, odd = head[::2].count(0), head[1::2].count(0)
    half = len(head) // 2
    if odd > 0.4 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 * half and odd < 0.05 * half else None


def _wide(path: Path) -> str | None:
    """The guess for a file with NUL bytes or shifts to another character set; None without `charset-normalizer`."""
    try:
        return _guessed(path)
    except MissingExtra:
        return None


def _fallback(path: Path, at: int) -> Decoding:
    high, bad, foreign = _census(path)
    if high - bad >= bad:
        warn(f"{path.name}: {bad} damaged places in its UTF-8, the first at byte {at}, read as U+FFFD")
        return Decoding("utf-8", "replace")
    try:
        codec, extra = _guessed(path), ""
    except MissingExtra as missing:
        western = foreign <= FOREIGN_SHARE and first_fault(path, "cp1252") is None
        codec, extra = "cp1252" if western else None, f"; to have it guessed: {missing.fix}"
    if codec:
        return _aloud(path, codec)
    raise DocumentError(
        f"not UTF-8 (byte {at}), and no other encoding fits it surely",
        where=path.as_posix(),
        fix=f"save it as UTF-8, or set `encoding` of this loader, such as cp1251, gb18030, shift_jis{extra}",
    )


def _aloud(path: Path, codec: str) -> Decoding:
    warn(f"{path.name}: not UTF-8, read as {codec}, guessed; set `encoding` of its loader if that is wrong")
    return Decoding(codec)


def _guessed(path: Path) -> str | None:
    """The guessed codec that decodes the whole file, or None. MissingExtra without `charset-normalizer`."""
    sample = guess.sample_of(_blocks(path))
    return next((codec for codec in guess.codecs_of(sample) if first_fault(path, codec) is None), None)


def _census(path: Path) -> tuple[int, int, float]:
    """Characters beyond ASCII when read as UTF-8, how many of them are damage, and the share of
    bytes above 127 among those that can be letters."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    high = bad = high_bytes = ascii_letters = 0
    for block in (*_blocks(path), b""):
        text = decoder.decode(block, final=not block)
        plain = text.encode("ascii", "ignore")
        high += len(text) - len(plain)
        bad += text.count("\ufffd")
        ascii_letters += sum(map(plain.count, _LETTERS))
        high_bytes += len(block) - len(block.decode("ascii", "ignore"))
    return high, bad, high_bytes / max(high_bytes + ascii_letters, 1)


_LETTERS = tuple(bytes([b]) for b in (*range(65, 91), *range(97, 123)))


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block
