"""Remembered: an encoder that encodes no text twice, and keeps the vectors in a folder for the next training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.encoder import Encoder, Role, Tokenizer
from rag.errors import require
from rag.models import write_whole

if TYPE_CHECKING:
    import numpy as np

SHARD = 4096
"""Vectors in a file: what an interruption can cost."""
KEY = 16
"""Bytes of a text's SHA-256 that stand for it."""


class Remembered(Encoder):
    """`inner`, with its vectors remembered in `folder`, in a subfolder of the encoder's own.

    Each file holds `keys` uint8 `(texts, 16)` and `vectors` float32 `(texts, dim)`; one that cannot be read is removed.
    """

    inner: Encoder
    folder: Path

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.inner.dim

    @property
    def space(self) -> str:
        """That of `inner`."""
        return self.inner.space

    @property
    def window(self) -> int | None:
        """That of `inner`."""
        return self.inner.window

    @property
    def tokenizer(self) -> Tokenizer:
        """That of `inner`."""
        return self.inner.tokenizer

    def encode(self, texts: Sequence[str], role: Role = "document") -> np.ndarray:
        """The vectors of `inner`, float32 `(texts, dim)`; queries are not remembered."""
        import numpy as np

        if role != "document" or not texts:
            return self.inner.encode(texts, role)
        keys = [sha256(text.encode("utf-8", "surrogatepass")).digest()[:KEY] for text in texts]
        new = {key: text for key, text in zip(keys, texts) if key not in self._known}
        if new:
            fresh = dict(zip(new, self.inner.encode(list(new.values()))))
            self._known.update(fresh)
            self._unsaved.update(fresh)
        if len(self._unsaved) >= SHARD:
            self.save()
        return np.stack([self._known[key] for key in keys])

    def save(self) -> None:
        """Write what is not written yet."""
        import numpy as np

        if not self._unsaved:
            return
        library = require("safetensors.numpy", extra="models", needed_by="training")
        joined = b"".join(self._unsaved)
        keys = np.frombuffer(joined, np.uint8).reshape(-1, KEY)
        arrays = {"keys": keys, "vectors": np.stack(list(self._unsaved.values()))}
        path = self._place / f"{sha256(joined).hexdigest()[:16]}.safetensors"
        write_whole(path, lambda part: library.save_file(arrays, part))
        self._unsaved.clear()

    @property
    def _place(self) -> Path:
        return self.folder / self.inner.fingerprint

    @cached_property
    def _unsaved(self) -> dict[bytes, Any]:
        return {}

    @cached_property
    def _known(self) -> dict[bytes, Any]:
        library = require("safetensors.numpy", extra="models", needed_by="training")
        from safetensors import SafetensorError

        known: dict[bytes, Any] = {}
        for path in sorted(self._place.glob("*.safetensors")):
            try:
                arrays = library.load_file(path)
                known.update(zip(map(bytes, arrays["keys"]), arrays["vectors"]))
            except (SafetensorError, KeyError, OSError):
                path.unlink(missing_ok=True)
        return known
