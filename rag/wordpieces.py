"""A model's own tokenizer through the `tokenizers` library: it counts and places tokens, and never cuts or pads."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.rag.component import fingerprint
from fovea.rag.errors import ModelError, require

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Encoding

_SURROGATE = re.compile("[\ud800-\udfff]")


def readable(text: str) -> str:
    """The text with each lone surrogate, which is no character, as U+FFFD: one for one, so that positions hold."""
    return _SURROGATE.sub("\ufffd", text)


class ModelTokenizer:
    """Wraps a `tokenizers.Tokenizer`. Truncation and padding are switched off for good, so threads may share it."""

    def __init__(self, tokenizer: Any) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer

    @classmethod
    def read(cls, path: Path) -> ModelTokenizer:
        """From a `tokenizer.json`."""
        tokenizers = require("tokenizers", extra="onnx", needed_by="the model's tokenizer")
        try:
            return cls(tokenizers.Tokenizer.from_file(str(path)))
        except Exception as error:  # the library raises bare Exception
            raise ModelError(f"{path} cannot be read as a tokenizer: {error}") from None

    @classmethod
    def of(cls, tokenizer: Any, model: str) -> ModelTokenizer:
        """From the tokenizer of a loaded model, copied so that the model's own still cuts and pads as it should."""
        tokenizers = require("tokenizers", extra="onnx", needed_by="the model's tokenizer")
        fast = getattr(tokenizer, "backend_tokenizer", tokenizer)
        if not isinstance(fast, tokenizers.Tokenizer):
            raise ModelError(f"the tokenizer of {model} ({type(fast).__name__}) does not say where its tokens lie")
        return cls(tokenizers.Tokenizer.from_str(fast.to_str()))

    def count(self, text: str) -> int:
        """How many tokens the model would read for `text`, special tokens not counted."""
        return self.count_many([text])[0]

    def count_many(self, texts: Sequence[str]) -> list[int]:
        """`count` of each text, in parallel."""
        return [len(e) for e in self._encoded(texts)]

    def offsets(self, text: str) -> np.ndarray:
        """Where each token lies: int64 `(tokens, 2)`, half-open character ranges of `text`, in order."""
        import numpy as np

        found = self._tokenizer.encode(readable(text), add_special_tokens=False).offsets
        return np.array(found, dtype=np.int64).reshape(-1, 2)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, without special tokens."""
        return [e.ids for e in self._encoded(texts)]

    def said(self, ids: Sequence[int]) -> list[str]:
        """What each token stands for by itself."""
        return [self._tokenizer.decode([i], skip_special_tokens=False) for i in ids]

    @property
    def file(self) -> str:
        """The content of a `tokenizer.json`."""
        return str(self._tokenizer.to_str())

    def _encoded(self, texts: Sequence[str]) -> list[Encoding]:
        return self._tokenizer.encode_batch_fast([readable(text) for text in texts], add_special_tokens=False)

    @cached_property
    def specials(self) -> tuple[list[int], list[int]]:
        """The special token ids the model wants before and after a text."""
        inner = self.ids(["a"])[0]
        whole = self._tokenizer.encode("a").ids
        at = next((i for i in range(len(whole)) if whole[i : i + len(inner)] == inner), 0)
        return whole[:at], whole[at + len(inner) :]

    @property
    def extra(self) -> int:
        """How many special tokens that is."""
        return sum(map(len, self.specials))

    @cached_property
    def identity(self) -> str:
        """A hash of all that decides the tokens: weights trained on token ids work with tokenizers of one identity."""
        return fingerprint(json.loads(self._tokenizer.to_str()))

    @cached_property
    def size(self) -> int:
        """How many ids there are, those of added tokens and those that no token has among them: the highest and one."""
        return max(self._tokenizer.get_vocab().values(), default=-1) + 1

    @property
    def label(self) -> str:
        """What kind of tokenizer it is, for messages."""
        return f"{type(self._tokenizer.model).__name__} with {self.size:,} tokens"

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The ids that stand for no text: marks of begin and end, filling, and what the model does not know."""
        added = self._tokenizer.get_added_tokens_decoder()
        return frozenset(i for i, token in added.items() if token.special)

    @cached_property
    def pad(self) -> int:
        """The id that fills short rows; the attention mask hides it."""
        return next((i for t in ("[PAD]", "<pad>") if (i := self._tokenizer.token_to_id(t)) is not None), 0)

    def padded(self, rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and attention mask of a batch, special tokens added: int64 `(rows, longest)` each."""
        import numpy as np

        before, after = self.specials
        width = max(map(len, rows)) + len(before) + len(after)
        ids = np.full((len(rows), width), self.pad, dtype=np.int64)
        mask = np.zeros_like(ids)
        for i, row in enumerate(rows):
            whole = [*before, *row, *after]
            ids[i, : len(whole)] = whole
            mask[i, : len(whole)] = 1
        return ids, mask
