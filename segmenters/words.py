"""Words that say what a text is about: counted by stem, English function words left out.

Words are those of `fovea.rag.tokens.words`: any script, each CJK character by itself. Only words of plain Latin
letters are stemmed, by the rules of English; in other languages every form counts as a word of its own.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from fovea.rag.tokens import words
from fovea.segmenters.porter import stem
from fovea.segmenters.products import Counts


def _set(*kinds: str) -> frozenset[str]:
    return frozenset(" ".join(kinds).split())


STOP_WORDS = _set(
    # articles, determiners, numbers that determine
    "a an the this that these those each every either neither some any all both half no none few fewer less least "
    "many much more most several such other others another same own one two three first second last next",
    # pronouns
    "i me my mine myself you your yours yourself yourselves he him his himself she her hers herself it its itself we "
    "us our ours ourselves they them their theirs themselves who whom whose which what whoever whatever whichever "
    "someone somebody something anyone anybody anything everyone everybody everything nobody nothing oneself",
    # prepositions
    "about above across after against along amid among amongst around as at before behind below beneath beside besides "
    "between beyond by concerning despite down during except for from in inside into like near of off on onto out "
    "outside over past per regarding since than through throughout till to toward towards under underneath until up "
    "upon via with within without",
    # conjunctions
    "and but or nor so yet if unless because although though while whilst whereas whether once lest",
    # auxiliaries and the commonest verbs, with what contractions leave of them
    "be am is are was were been being have has had having do does did doing done can could will would shall should may "
    "might must ought cannot get gets got getting gotten let lets make makes made making go goes going went gone come "
    "comes came coming say says said saying take takes took taken put puts seem seems seemed become becomes became "
    "ll ve re don doesn didn isn aren wasn weren hasn haven hadn won wouldn couldn shouldn mustn needn ain nt",
    # adverbs of place, time, degree and stance
    "here there where when why how hence thence thus therefore however moreover furthermore nevertheless nonetheless "
    "otherwise instead meanwhile indeed now then again ever never always often sometimes usually rather quite very too "
    "also just only even still already almost nearly perhaps maybe well not away back else enough far further later "
    "soon together elsewhere everywhere anywhere nowhere somewhere somewhat somehow anyway really actually merely "
    "mostly largely especially particularly certainly probably possibly simply yes oh ok okay etc mr mrs ms dr",
)
"""English words with a use in grammar but none in telling topics apart."""


def counts(texts: Sequence[str]) -> Counts:
    """How often each text holds each stem: a sparse matrix of a row a text. Linear in the length of the texts."""
    stems: dict[str, int] = {}
    known: dict[str, int] = {}
    found, ends = array("q"), array("q")
    for text in texts:
        for word in words(text):
            if (number := known.get(word)) is None:
                number = known[word] = _number(word, stems)
            if number >= 0:
                found.append(number)
        ends.append(len(found))
    rows = np.repeat(np.arange(len(texts)), np.diff(np.asarray(ends), prepend=0))
    cells, times = np.unique(rows * max(len(stems), 1) + np.asarray(found), return_counts=True)
    row, term = np.divmod(cells, max(len(stems), 1))
    return Counts(row, term, times.astype(np.float32), len(texts))


def _number(word: str, stems: dict[str, int]) -> int:
    """The number of the word's stem, a new one for a new stem; -1 for a word that does not count."""
    if word in STOP_WORDS or (len(word) == 1 and word.isascii()):
        return -1
    return stems.setdefault(stem(word) if word.isascii() and word.isalpha() else word, len(stems))
