"""Characters of symbol fonts, which Word stores by their place in the font, as Unicode."""

from __future__ import annotations

_SYMBOL = dict(
    enumerate(
        "!∀#∃%&∋()∗+,−./0123456789:;<=>?≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼", start=0x21
    )
) | dict(
    enumerate(
        "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…⏐⎯↵ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊〈®©™∑⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪\uf8ff〉∫⌠⎮⌡⎞⎟⎠⎤⎥⎦⎫⎬⎭",
        start=0xA0,
    )
)
_WINGDINGS = {
    0x21: "✏", 0x22: "✂", 0x28: "☎", 0x29: "✆", 0x2A: "✉", 0x36: "⌛", 0x3F: "✍", 0x41: "✌", 0x45: "☜", 0x46: "☞",
    0x47: "☝", 0x48: "☟", 0x4A: "☺", 0x4C: "☹", 0x52: "☼", 0x54: "❄", 0x6C: "●", 0x6D: "❍", 0x6E: "■", 0x6F: "□",
    0x71: "❑", 0x72: "❒", 0x73: "⬧", 0x74: "⧫", 0x75: "◆", 0x76: "❖", 0x77: "⬥", 0x78: "⌧", 0x9E: "·", 0x9F: "•",
    0xA1: "○", 0xA4: "◉", 0xA7: "▪", 0xA8: "□", 0xAB: "★", 0xD5: "⌫", 0xD8: "➢", 0xDF: "←", 0xE0: "→", 0xE1: "↑",
    0xE2: "↓", 0xE8: "➔", 0xEF: "⇦", 0xF0: "⇨", 0xF1: "⇧", 0xF2: "⇩", 0xF3: "⬄", 0xFB: "✗", 0xFC: "✓", 0xFD: "☒",
    0xFE: "☑", **{0x80 + n: one for n, one in enumerate("⓪①②③④⑤⑥⑦⑧⑨⑩⓿❶❷❸❹❺❻❼❽❾❿")},
}  # fmt: skip
_WINGDINGS_2 = {0x4F: "✗", 0x50: "✓", 0x51: "☒", 0x52: "☑", 0x53: "☒", 0x54: "☒", 0x97: "●", 0xA3: "□", 0xA2: "■"}
_WINGDINGS_3 = dict(enumerate("←→↑↓↖↗↙↘", start=0x66)) | dict(enumerate("▲▼△▽◀▶", start=0x70))
_WEBDINGS = {0x61: "✔", 0x63: "□", 0x67: "■", 0x6E: "●", 0x72: "✗"}
_FONTS = {
    "symbol": _SYMBOL, "wingdings": _WINGDINGS, "wingdings 2": _WINGDINGS_2, "wingdings 3": _WINGDINGS_3,
    "webdings": _WEBDINGS,
}  # fmt: skip
UNKNOWN = "\ufffd"


def symbol(font: str, code: int) -> str:
    """The character at `code` of a font, which may be moved up by U+F000; U+FFFD where nobody knows it."""
    place = code - 0xF000 if 0xF000 <= code <= 0xF0FF else code
    if table := _FONTS.get(font.lower()):
        return table.get(place, UNKNOWN)
    return UNKNOWN if place != code or not 0x20 <= code < 0x110000 or 0xD800 <= code < 0xE000 else chr(code)


def translated(font: str, text: str) -> str:
    """Text of a run in a symbol font as Unicode, whether its characters are private (U+F06D) or those of the keys (`m`
    for μ); text in other fonts is itself, but for private characters, which nobody can read."""
    known = font.lower() in _FONTS
    return "".join(symbol(font, ord(one)) if _in_symbols(ord(one), known) else one for one in text)


def _in_symbols(code: int, known: bool) -> bool:
    return 0xF020 < code <= 0xF0FF or (known and 0x20 < code <= 0xFF and code != 0xA0)
