"""H-Net on bytes: phrase boundaries of a small byte-level network, thinned to segments of about `target` bytes.

The network (`fovea.segmenters.training.byte_network`) was trained to predict the next byte through two stages of
dynamic chunking: chunks of the first are word-like, 4 to 5 bytes of English, those of the second phrase-like, 5 to 6
chunks. Of each character it says how surely a phrase starts there, (1 - cos(q_{t-1}, k_t)) / 2 of the second router.
It reads no tokens and no vectors, so any script and any text in UTF-8 will do.

What it can: find words and phrases of any script, and so give a place to cut where a text has no sentences. What it
cannot: tell topics, which take hundreds of bytes where its phrases take some 25. Where Choi's joined texts change their
subject it is no better than chance (Pk 49). Of the places near a wanted size, the text's own breaks decide before it.

S. Hwang, B. Wang, A. Gu, "Dynamic chunking for end-to-end hierarchical sequence modeling" (2025).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import PositiveInt

from fovea.rag.component import Component
from fovea.rag.errors import FoveaError
from fovea.rag.placed import NameOrPath
from fovea.rag.requirements import Requirement, package
from fovea.rag.segmenter import Cut, Segmenter
from fovea.rag.types import Document
from fovea.rag.weighted import Weighted
from fovea.segmenters.places import graphemes
from fovea.segmenters.units import Units

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder

REACH = 2
"""Characters around a sentence start in which the start of its phrase may lie: after the mark, or at the space."""
_WORD = re.compile(r"\S")


class HNetBytesSegmenter(Weighted, Segmenter, name="hnet_bytes"):
    """Segments of about `target` bytes that end at the strongest sentence ends, or where there are none, phrases."""

    weights: NameOrPath = "hnet_bytes"
    """The name of shipped weights, or the path of one's own."""
    target: PositiveInt = 1000
    """Bytes that a segment aims at; it has half to one and a half times as many wherever there is a place to cut."""

    def fit(self, encoder: Encoder) -> None:
        """The weights read bytes, so that any encoder fits. Raises ModelError where they cannot be had."""
        self.content()

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """Also torch, where the weights were trained with a mixer."""
        yield from super().requirements(encoder)
        with suppress(FoveaError):  # which is said already
            if mixer := self.trained.about.get("mixer"):
                yield package("torch", "models", f"hnet_bytes with the mixer {mixer['use']!r}")

    def phrases(self, text: str) -> np.ndarray:
        """How surely a phrase starts at each character: float32 `(len(text),)`, 0 where no chunk of bytes starts.

        A chunk that starts inside a character counts for that character. O(len(text)), some 50 to 100 kB/s on one core.
        """
        import numpy as np

        from fovea.segmenters.byte_chunks import byte_chunks

        data = text.encode("utf-8", "surrogatepass")
        about = self.trained.about
        starts, phrase = byte_chunks(data, self.trained.arrays, about["dilations"], mixer=about.get("mixer"))
        number = np.cumsum(np.frombuffer(data, np.uint8) & 0xC0 != 0x80) - 1
        found = np.zeros(len(text), np.float32)
        np.maximum.at(found, number[starts], phrase)
        return found

    def cuts(self, text: str, document: Document, encoder: Encoder) -> Iterator[Cut]:
        """A cut with score 1 every `target` bytes or so and at headings. Other sentence starts are offered by the
        text's own break there and the phrase's p, strength * (1 + p) / 2, phrases inside of sentences by p / 5.
        """
        import numpy as np

        from fovea.segmenters.decode import settled

        units, phrases = Units.sentences(text, document.media_type), settled(self.phrases(text))
        starts = np.array([span.start for span in units.spans[1:]], np.int64)[units.loose]
        own = units.strength[units.loose] * (1 + _around(phrases, starts)) / 2
        offered = {place: float(phrases[at]) / 5 for at, place in _inside(text, phrases)}
        offered |= dict(zip(starts.tolist(), np.clip(own, 0.25, 0.999).tolist()))
        places = np.array(sorted(offered), np.int64)
        scores = np.array([offered[at] for at in places.tolist()], np.float32)
        scores[self._thin(text, places, scores)] = 1.0
        scores[np.searchsorted(places, starts[units.headings[units.loose]])] = 1.0
        for at, score in zip(places.tolist(), scores.tolist()):
            yield Cut(at, score)

    def boundaries(self, units: Units, encoder: Encoder, count: int | None = None) -> np.ndarray:
        """Which gaps of given units a segment ends at: bool `(gaps,)`; exactly `count` of them where it is given."""
        import numpy as np

        from fovea.segmenters.decode import best, settled

        starts = np.array([span.start for span in units.spans[1:]], np.int64)
        scores = _around(settled(self.phrases(units.text)), starts)
        if count is not None:
            return best(scores, count)
        found = np.zeros(len(starts), bool)
        found[self._thin(units.text, starts, scores)] = True
        return found

    def _thin(self, text: str, places: np.ndarray, scores: np.ndarray) -> list[int]:
        import numpy as np

        ends = [0, *places.tolist(), len(text)]
        sizes = [len(text[a:b].encode("utf-8", "surrogatepass")) for a, b in pairwise(ends)]
        at = np.cumsum(np.array(sizes, np.int64))
        return thin(at[:-1], scores, int(at[-1]), self.target)


def thin(at: np.ndarray, scores: np.ndarray, end: int, target: int) -> list[int]:
    """Which of the places at byte offsets `at` to keep so that about `target` bytes lie between them, up to `end`.

    From each kept place on, the highest score of the next target / 2 to 3 target / 2 bytes is kept, the first of equal
    ones; where no place is there, the next. What remains after the last is at most 3 target / 2, if places allow.
    """
    import numpy as np

    kept: list[int] = []
    start = 0
    while end - start > 1.5 * target:
        first, stop = np.searchsorted(at, [start + target / 2, start + 1.5 * target])
        if first == len(at):
            break
        kept.append(int(first + np.argmax(scores[first : max(stop, first + 1)])))
        start = int(at[kept[-1]])
    return kept


def _around(phrases: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The highest probability within reach of each start: float32 `(starts,)`."""
    import numpy as np

    if not len(starts):
        return np.zeros(0, np.float32)
    near = starts[:, None] + np.arange(-REACH, REACH + 1)
    return phrases[np.clip(near, 0, len(phrases) - 1)].max(axis=1)


def _inside(text: str, phrases: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where phrases start, and that place moved on over white space; none inside a character as people see it."""
    import numpy as np

    for at in np.flatnonzero(phrases > 0.5).tolist():
        if at and not text[at - 1 : at + 1].isspace() and (word := _WORD.search(text, at)):
            place = word.start()
            if graphemes(text, place - 1, place + 1):
                yield at, place
