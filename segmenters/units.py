"""Units: a text as what stands between the places where a topic may end, sentences or whatever a caller gives.

Everything that segments by topic sees a text like this: n units, n - 1 gaps between them, a vector for each unit, and
for each gap how strongly the text itself breaks there (`fovea.segmenters.structure`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from fovea.rag.sentences import sentences
from fovea.rag.types import Span
from fovea.segmenters.structure.kinds import HEADING, LOOSE, PARAGRAPH, strengths

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder

SENTENCE = 0.5
BATCH = 512
"""Units given to the encoder at a time."""


@dataclass(frozen=True)
class Units:
    """Consecutive units of one text."""

    text: str
    spans: Sequence[Span]
    """Where the units lie: in order, without overlap."""
    strength: np.ndarray
    """How strongly the text breaks at each gap: float32 `(gaps,)`."""

    @classmethod
    def sentences(cls, text: str, media_type: str = "text/plain") -> Units:
        """The sentences of `text`, with the strengths that its kind of structure has."""
        import numpy as np

        spans = sentences(text)
        found = strengths(text, media_type, spans)
        # A sentence start that the structure does not offer lies inside something that should stay whole.
        strength = np.fromiter((found.get(s.start, 0.0) for s in spans[1:]), np.float32, max(len(spans) - 1, 0))
        return cls(text, spans, strength)

    @classmethod
    def given(cls, texts: Sequence[str], paragraphs: Sequence[bool] | np.ndarray | None = None) -> Units:
        """Units made elsewhere, one a text; `paragraphs` `(gaps,)` says where a paragraph ends as well."""
        import numpy as np

        ends = list(accumulate(len(t) + 1 for t in texts))
        spans = [Span(end - 1 - len(t), end - 1) for t, end in zip(texts, ends)]
        strength = np.full(max(len(texts) - 1, 0), SENTENCE, np.float32)
        if paragraphs is not None:
            strength[np.asarray(paragraphs, bool)] = 0.8
        return cls("\n".join(texts), spans, strength)

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def texts(self) -> list[str]:
        """Each unit's text."""
        return [self.text[s.start : s.end] for s in self.spans]

    @property
    def breaks(self) -> np.ndarray:
        """Where a paragraph, or more, ends: bool `(gaps,)`."""
        return self.strength >= PARAGRAPH

    @property
    def headings(self) -> np.ndarray:
        """Where a heading follows: bool `(gaps,)`."""
        return self.strength >= HEADING

    @property
    def loose(self) -> np.ndarray:
        """Where a cut would divide nothing that should stay whole: bool `(gaps,)`."""
        return self.strength >= LOOSE

    def vectors(self, encoder: Encoder) -> np.ndarray:
        """Unit vectors of the units, float32 `(units, dim)`; equal texts are encoded once."""
        import numpy as np

        order = {text: row for row, text in enumerate(dict.fromkeys(self.texts))}
        distinct = list(order)
        found = [encoder.encode(distinct[at : at + BATCH]) for at in range(0, len(distinct), BATCH)]
        if not found:
            return np.zeros((0, encoder.dim), np.float32)
        return np.concatenate(found)[[order[text] for text in self.texts]]
