"""RTF whose letters are in code pages, written as Unicode: Pandoc knows Windows-1252 alone and garbles the others, and
it drops the letter that follows `\\u8217?` (findings/pandoc_rtf_stand_in.sh)."""

from __future__ import annotations

import codecs
import re

CHARSETS = {
    77: "mac_roman", 128: "cp932", 129: "cp949", 130: "johab", 134: "gbk", 136: "big5", 161: "cp1253", 162: "cp1254",
    163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874", 238: "cp1250",
}  # fmt: skip
"""Code pages by the number that a font names; other fonts have the file's own."""
PRIVATE = 0xE000
_PAIR = re.compile(rb"\\uc1\\u(-10\d{3}|-9\d{3}|5[56]\d{3})\\'3f\\uc1\\u(-?\d+)\\'3f")
_FONT = re.compile(r"\\f(\d+)(?:(?!\\f(?:\d|charset\d))[^{}])*+\\fcharset(\d+)")
_TOKEN = re.compile(
    r"(?P<hex>(?:\\'[0-9a-fA-F]{2}[\r\n]*)+)|\\u(?P<char>-?\d+) ?|\\uc(?P<skip>\d+) ?|\\f(?P<font>\d+) ?"
    r"|(?P<page>\\ansicpg\d+ ?)|(?P<word>\\[a-zA-Z]+-?\d* ?|\\[^a-zA-Z'])|(?P<open>\{)|(?P<close>\})",
)


def unicode_escapes(data: bytes) -> bytes:
    """The same RTF with every letter beyond ASCII in one form, `\\uN` and a stand-in written as a byte: bytes are
    decoded by the code page that holds where they stand, and the stand-ins that older readers would show are dropped.
    """
    text = data.decode("latin-1")
    page = _codec(f"cp{found[1]}" if (found := re.search(r"\\ansicpg(\d+)", text)) else "cp1252")
    fonts = {font: CHARSETS[int(charset)] for font, charset in _FONT.findall(text) if int(charset) in CHARSETS}
    out: list[str] = []
    font, skip, stack, at, owed = "", 1, list[tuple[str, int]](), 0, 0
    for match in _TOKEN.finditer(text):
        if match.start() < at:  # The second half of a character, read with its first.
            continue
        plain = text[at : match.start()]
        out.append(plain[owed:])
        owed, at, kind, piece = max(0, owed - len(plain)), match.end(), match.lastgroup, match[0]
        if kind == "hex":
            piece, at, owed = _decoded(text, match, fonts.get(font, page), owed)
        elif kind == "char":
            piece, owed = _written(int(match["char"])), skip
        elif kind == "skip":
            skip = int(match["skip"])
        elif kind == "font":
            font = match["font"]
        elif kind == "page":
            piece = "\\ansicpg1252 "
        elif kind == "open":
            stack.append((font, skip))
        elif kind == "close" and stack:
            font, skip = stack.pop()
        owed = owed if kind in ("hex", "char") else 0
        out.append(piece)
    return "".join((*out, text[at:])).encode("latin-1")


def single_units(data: bytes) -> tuple[bytes, dict[int, str]]:
    """The same with each character of two units (emoji, rare ideographs), which Pandoc reads as two broken ones, in one
    of private use, and a table for `str.translate` that turns those back."""
    table: dict[str, int] = {}

    def private(match: re.Match[bytes]) -> bytes:
        high, low = (int(number) % 65536 for number in match.groups())
        if not (0xD800 <= high < 0xDC00 <= low < 0xE000):
            return match[0]
        letter = chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00)
        number = table.setdefault(letter, PRIVATE + len(table) % 0x1000)
        return _written(number - 65536).encode()

    data = _PAIR.sub(private, data)
    return data, {number: letter for letter, number in table.items()}


def _written(number: int) -> str:
    return f"\\uc1\\u{number}\\'3f"


def _decoded(text: str, match: re.Match[str], codec: str, owed: int) -> tuple[str, int, int]:
    """The characters of a run of bytes, where it ends, and how many stand-ins are still to come: the first `owed` bytes
    of the run are such."""
    codes = re.findall(r"\\'([0-9a-fA-F]{2})", match[0])
    data, at = bytes(int(code, 16) for code in codes[owed:]), match.end()
    decoder = codecs.getincrementaldecoder(codec)("replace")
    words = decoder.decode(data)
    if decoder.getstate()[0] and at < len(text) and text[at] not in "\\{}":
        words, at = words + decoder.decode(text[at].encode("latin-1")), at + 1
    units = (words + decoder.decode(b"", final=True)).encode("utf-16-le")
    numbers = (int.from_bytes(units[n : n + 2], "little", signed=True) for n in range(0, len(units), 2))
    return "".join(map(_written, numbers)), at, max(0, owed - len(codes))


def _codec(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "cp1252"
