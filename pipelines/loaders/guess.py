"""A guess at the encoding of text that is neither marked nor UTF-8: `charset-normalizer` scores, letters decide ties.

Every codec in use somewhere is scored alone, as score = mess - 0.1 * coherence (the library's two measures, both in
[0, 1]; lower is better). Codecs that read the sample alike are one guess. Among guesses that score nearly the same,
one whose letters beyond ASCII are all of one language wins: Hungarian read as Western European has letters that no
language puts together. What stays a tie is no guess.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from typing import NamedTuple

from fovea.rag.errors import require

SAMPLE = 1 << 15
"""Bytes that are looked at, gathered from the whole file."""
MARGIN = 0.03
"""Guesses whose scores differ by less are a tie."""
LANGUAGE = 0.01
"""A score that is better than 0, or than that of another fitting guess, by this shows a language, not only order."""
MESS = 0.2
"""The most mess (of `charset-normalizer`) that text may show."""
# fmt: off
SINGLE = (
    "cp1252", "cp1250", "iso8859_2", "cp1251", "koi8_r", "koi8_u", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257",
    "cp1258", "cp874", "cp866", "iso8859_5", "iso8859_6", "iso8859_7", "cp850", "cp852", "cp437", "mac_roman",
    "mac_cyrillic",
)
"""Codecs of one byte a character. Of several that read a file alike the first is named."""
# fmt: on
DOUBLE = ("gb18030", "cp932", "euc_jp", "cp949", "big5", "cp950", "big5hkscs")
WIDE = ("utf_16_le", "utf_16_be", "utf_32_le", "utf_32_be")
CONTROLS = re.compile(r"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
SHIFTED = re.compile(rb"\x1b\$(?:\(?[@BD]|\)C)")
"""How ISO-2022 text switches to two bytes a character; otherwise it looks like ASCII."""
ALPHABETS = [
    frozenset(letters)
    for letters in (
        "äöüß", "àâæçéèêëîïôœùûüÿ", "áéíóúüñªº", "àáâãçéêíóôõúªº", "àèéìíîòóùú", "åäöéüà", "æøåéòóôü", "áðéíóúýþæö",
        "áäčďéíĺľňóôŕšťúýž", "áčďéěíňóřšťúůýž", "ąćęłńóśźż", "áéíóöőúüű", "ăâîșțşţ", "čćđšž", "äõöüšž", "āčēģīķļņšūž",
        "ąčęėįšųūž", "çğıöşüâîû", "àçèéíïòóúü·", "éëïóöüè", "абвгдежзийклмнопрстуфхцчшщъыьэюяё",
        "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя", "абвгдеёжзійклмнопрстуўфхцчшыьэюя",
        "абвгдђежзијклљмнњопрстћуфхцчџшѓќѕ", "αάβγδεέζηήθιίϊΐκλμνξοόπρσςτυύϋΰφχψωώ", "אבגדהוזחטיךכלםמןנסעףפץצקרשת",
        "ءآأؤإئابةتثجحخدذرزسشصضطظعغـفقكلمنهوىيپچژگکی",
    )
]  # fmt: skip
"""The letters beyond ASCII of languages that are written in codepages."""
WRITINGS = (
    (re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uff00-\uff60々〆]"), re.compile(r"[\u3040-\u30ff]")),
    (re.compile(r"[\uac00-\ud7a3]"), None),
    (re.compile(r"[\u4e00-\u9fff]"), None),
    (re.compile(r"[\u0e01-\u0e5b]"), None),
)
"""Japanese, which has kana, Korean, Chinese and Thai: what their letters are, and what must be among them."""
WITHIN_WORDS = "’‘´·‧\u00ad\u200c\u200d\u2010\u2011–—"
"""Marks that stand between letters; other marks there betray a wrong codec."""
FEW = 3
"""Fewer letters beyond ASCII than this tell no codecs apart: the text is taken to be Western European."""
MANY = 12
"""So many letters of one language are needed where no language shows in the score."""


class Guess(NamedTuple):
    """One reading of a sample: the codecs that give it, its score (lower is better), its text."""

    codecs: list[str]
    score: float
    text: str


def codecs_of(sample: bytes) -> list[str]:
    """The codecs that read `sample` rightly, the most usual first; none when that is not sure. MissingExtra without
    `charset-normalizer`."""
    if SHIFTED.search(sample):
        return ["iso2022_jp", "iso2022_jp_2", "iso2022_kr"]
    tied = ties(sample)
    if len(tied) == 1 and tied[0].score < -LANGUAGE:
        return tied[0].codecs
    least = FEW if tied and tied[0].score < -LANGUAGE else MANY
    fitting = [guess for guess in tied if len(_letters(guess.text)) >= least and fits(guess.text)]
    fitting = fitting or [guess for guess in tied if "cp1252" in guess.codecs and _hardly_foreign(guess.text)]
    sure = fitting and (len(fitting) == 1 or fitting[1].score - fitting[0].score > LANGUAGE)
    return fitting[0].codecs if sure else []


def ties(sample: bytes) -> list[Guess]:
    """The readings of `sample` that score best, within MARGIN of each other, best first."""
    guesses: dict[str, Guess] = {}
    for codec in WIDE if b"\0" in sample else (*SINGLE, *DOUBLE):
        if (scored := _score(sample, codec)) is not None:
            score, text = scored
            known = guesses.get(text, Guess([], score, text))
            guesses[text] = Guess([*known.codecs, codec], min(score, known.score), text)
    ranked = sorted(guesses.values(), key=lambda guess: guess.score)
    return [guess for guess in ranked if guess.score - ranked[0].score < MARGIN]


def fits(text: str) -> bool:
    """Whether nearly all letters of `text` beyond ASCII are of one language, and its words whole."""
    letters = _letters(text)
    enough = 0.97 * len(letters)
    if _broken(text) > 0.05 * len(letters):
        return False
    for all_of, some_of in WRITINGS:
        some = len(letters) if some_of is None else sum(1 for c in letters if some_of.match(c))
        if some > 0.1 * len(letters) and sum(1 for c in letters if all_of.match(c)) >= enough:
            return True
    return any(sum(map(alphabet.__contains__, letters)) >= enough for alphabet in ALPHABETS)


def _letters(text: str) -> list[str]:
    return [c for c in text.lower() if c > "\x7f" and (c.isalpha() or "\u0e00" < c < "\u0e7f")]


def _hardly_foreign(text: str) -> bool:
    beyond = len(text) - len(text.encode("ascii", "ignore"))
    return len(_letters(text)) < FEW and beyond < 0.5 * len(text) and not _broken(text)


def _broken(text: str) -> int:
    """How many characters beyond ASCII cannot be where they are: marks, capitals, other scripts amid ASCII letters."""
    amid = re.findall(r"(?<=[a-z])[^\x00-\x7f](?=[a-z])", text)
    latin = [c for c in amid if "\u00c0" <= c < "\u0250" and c.islower()]
    return len(amid) - len(latin) - sum(map(WITHIN_WORDS.__contains__, amid))


def sample_of(blocks: Iterable[bytes]) -> bytes:
    """Up to SAMPLE bytes of a file: lines with bytes above 127 or escapes, from anywhere; its beginning if that holds
    NUL bytes."""
    kept, rest = b"", b""
    for block in blocks:
        if not kept and b"\0" in block[:SAMPLE]:
            return block[:SAMPLE]
        *lines, rest = (rest + block).split(b"\n")
        kept += b"".join(line + b"\n" for line in lines if _telling(line))[:SAMPLE]
        if len(rest) > SAMPLE and not _telling(rest):
            rest = b""  # What follows ASCII begins with a whole character.
        if len(kept) + len(rest) > SAMPLE:
            break
    return (kept + rest)[:SAMPLE]


def _telling(line: bytes) -> bool:
    return not line.isascii() or b"\x1b" in line


def _score(sample: bytes, codec: str) -> tuple[float, str] | None:
    """The score of one codec and the text that it reads, or None if it cannot be this one."""
    normalizer = require("charset_normalizer", extra="files", needed_by="guessing the encoding of a text")
    decoder = codecs.getincrementaldecoder(codec)()
    try:
        text = decoder.decode(sample)
    except UnicodeDecodeError:
        return None
    if len(CONTROLS.findall(text)) > 0.01 * len(text):
        return None
    whole = sample[: len(sample) - len(decoder.getstate()[0])]  # The last character may be cut off.
    best = normalizer.from_bytes(whole, cp_isolation=[codec], threshold=MESS).best()
    return None if best is None else (best.chaos - 0.1 * best.coherence, text)
