"""Look: where a local model looked while it wrote a sentence, or read the question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fovea.rag.types import Citation


@dataclass(frozen=True, slots=True)
class Look:
    """Sentences and phrases of the documents, each best first; the score of each is its share of the attention to all
    passages. Attention is no proof: a model looks at more than it uses.
    """

    said: str
    start: int | None
    """Where in the answer's text, `[start, end)`; None for the question."""
    end: int | None
    passages: float
    """The part of the attention that was looked through which went to passages."""
    sentences: tuple[Citation, ...]
    phrases: tuple[Citation, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "said": self.said,
            "start": self.start,
            "end": self.end,
            "passages": self.passages,
            "sentences": [_plain(place) for place in self.sentences],
            "phrases": [_plain(place) for place in self.phrases],
        }


def _plain(place: Citation) -> dict[str, Any]:
    return {
        "source": place.source,
        "document": place.document_id,
        "start": place.start,
        "end": place.end,
        "line": place.line,
        "page": place.page,
        "text": place.quote,
        "share": place.score,
    }
