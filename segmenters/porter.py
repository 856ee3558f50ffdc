"""The Porter stemmer: English words without their endings, so that "connected" and "connections" count as one.

A word is [C](VC)^m[V], runs of consonants and vowels; m, its measure, says whether what is left without an ending is
long enough to be a word. Five steps take endings off or change them: plurals and participles, y, then derived endings,
double ones first. M. F. Porter, "An algorithm for suffix stripping" (1980), by the rules as printed.
"""

from __future__ import annotations

from functools import lru_cache


def _rules(text: str) -> dict[str, str]:
    """Ending and what replaces it, the longest endings first, since the longest that fits is the one that counts."""
    pairs = [pair.split(":") for pair in text.split()]
    return dict(sorted(pairs, key=lambda pair: -len(pair[0])))


_DOUBLE = _rules(
    "ational:ate tional:tion enci:ence anci:ance izer:ize abli:able alli:al entli:ent eli:e ousli:ous ization:ize "
    "ation:ate ator:ate alism:al iveness:ive fulness:ful ousness:ous aliti:al iviti:ive biliti:ble"
)
_SINGLE = _rules("icate:ic ative: alize:al iciti:ic ical:ic ful: ness:")
_LAST = _rules(
    "al: ance: ence: er: ic: able: ible: ant: ement: ment: ent: ion: ou: ism: ate: iti: ous: ive: ize:",
)


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """The stem of a word in lower case; words of one or two letters stay as they are."""
    if len(word) <= 2:
        return word
    word = _participle(_plural(word))
    if word.endswith("y") and "v" in _shape(word[:-1]):
        word = word[:-1] + "i"
    word = _replaced(word, _DOUBLE, 0)
    word = _replaced(word, _SINGLE, 0)
    word = _replaced(word, _LAST, 1)
    return _tidied(word)


def _shape(word: str) -> str:
    """A letter for each letter: v for vowels, and for y after a consonant; c for the rest."""
    shape = ""
    for letter in word:
        shape += "v" if letter in "aeiou" or (letter == "y" and shape[-1:] == "c") else "c"
    return shape


def _measure(word: str) -> int:
    return _shape(word).count("vc")


def _ends_short(word: str) -> bool:
    """Whether it ends consonant, vowel, consonant, the last not w, x or y: "hop", but not "snow"."""
    return _shape(word).endswith("cvc") and word[-1] not in "wxy"


def _ends_double(word: str) -> bool:
    return word[-2:-1] == word[-1:] and _shape(word).endswith("c")


def _plural(word: str) -> str:
    if word.endswith(("sses", "ies")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _participle(word: str) -> str:
    """Without "ed" or "ing", repaired where taking it off broke the word: "hopping" to "hop", "filing" to "file"."""
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    bare = word.removesuffix("ed") if word.endswith("ed") else word.removesuffix("ing")
    if bare == word or "v" not in _shape(bare):
        return word
    if bare.endswith(("at", "bl", "iz")):
        return bare + "e"
    if _ends_double(bare) and bare[-1] not in "lsz":
        return bare[:-1]
    return bare + "e" if _measure(bare) == 1 and _ends_short(bare) else bare


def _replaced(word: str, rules: dict[str, str], over: int) -> str:
    """The longest ending of the rules replaced, where what is left has a measure over `over`."""
    for ending, instead in rules.items():
        if word.endswith(ending):
            bare = word[: len(word) - len(ending)]
            fits = _measure(bare) > over and (ending != "ion" or bare[-1:] in ("s", "t"))
            return bare + instead if fits else word
    return word


def _tidied(word: str) -> str:
    """Without a last e, and with one l for two, where the word is long enough."""
    if word.endswith("e"):
        measure = _measure(word[:-1])
        if measure > 1 or (measure == 1 and not _ends_short(word[:-1])):
            word = word[:-1]
    return word[:-1] if word.endswith("ll") and _measure(word) > 1 else word
