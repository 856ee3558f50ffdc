"""Kept texts: what a model has read alone, each under the key of its tokens, from a shelf or read now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fovea.attention_retrieval.memory.read_text import Kept, ReadText
from fovea.attention_retrieval.memory.shelf import Shelf
from fovea.rag import trace
from fovea.rag.errors import FoveaError


@dataclass
class KeptTexts:
    """`shelf` may be None: nothing outlives the process then. Threads may share it; two that want the same text at once
    may both read it, and keep the same.
    """

    shelf: Shelf | None
    dtype: Kept
    about: Mapping[str, Any] = field(default_factory=dict)
    """What is said of every text in its file: of which model it is."""
    always: dict[str, ReadText] = field(default_factory=dict)
    """Texts that every prompt begins with: kept in memory, and on no shelf."""

    def find(self, key: str) -> ReadText | None:
        """The text of a key; one whose file is damaged is dropped, with a warning."""
        if self.shelf is None or (path := self.shelf.find(key)) is None:
            return None
        try:
            return ReadText.load(path)
        except FoveaError as error:
            if path.exists():  # Else another process has taken it away.
                trace.warn(f"a passage's cache is damaged, and the passage is read anew: {error.what}")
                self.shelf.drop(key)
            return None

    def keep(self, key: str, text: ReadText, about: Mapping[str, Any]) -> int:
        """Put a text on the shelf; the bytes of its file, 0 where it could not be kept, which is warned of."""
        if self.shelf is None:
            return 0
        said = {**self.about, **about, "tokens": len(text)}
        return self.size(key) if self.shelf.put(key, lambda part: text.save(part, self.dtype), said) else 0

    def size(self, key: str) -> int:
        """The bytes of a text's file; 0 where there is none."""
        path = self.shelf.find(key) if self.shelf else None
        return path.stat().st_size if path else 0

    def opening(self, key: str, make: Callable[[], ReadText]) -> ReadText:
        """A text that every prompt begins with."""
        if key not in self.always:
            self.always[key] = make()
        return self.always[key]
