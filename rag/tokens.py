"""A tokenizer without a model: words, single CJK characters and punctuation marks, counted as one token each.

For encoders that bring no tokenizer of their own (LangChain embeddings, hashing). A long word counts once per started
sixteen characters, so that a cap in tokens is also a cap in characters.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_CJK}]|[^\W{_CJK}]{{1,16}}|[^\w\s]")


class WordTokenizer:
    """Counts words, CJK characters and marks; needs no model and no files."""

    def count(self, text: str) -> int:
        """How many tokens `text` has."""
        return sum(1 for _ in _TOKEN.finditer(text))

    def offsets(self, text: str) -> np.ndarray:
        """Where each token lies: int64 `(tokens, 2)`."""
        import numpy as np

        return np.array([m.span() for m in _TOKEN.finditer(text)], dtype=np.int64).reshape(-1, 2)

    def words(self, text: str) -> list[str]:
        """The tokens themselves, in order."""
        return _TOKEN.findall(text)


_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")


def words(text: str) -> list[str]:
    """The words that lexical search goes by: lower case, without diacritics, each CJK character by itself.

    For texts without CJK these are the tokens of SQLite's `unicode61 remove_diacritics 2`.
    """
    folded = text.lower()
    if not folded.isascii():
        bare = "".join(c for c in unicodedata.normalize("NFD", folded) if not unicodedata.combining(c))
        folded = unicodedata.normalize("NFC", bare)
    return _WORD.findall(folded)
