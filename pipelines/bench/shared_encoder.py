"""An encoder that many methods share: a corpus is encoded once, and what that took is not counted as any method's."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from fovea.rag.encoder import Encoder, Role
from fovea.rag.errors import StoreError
from fovea.rag.progress import bar
from fovea.rag.remember import Kept, RememberingEncoder


@dataclass
class Awaited:
    """Texts that will all be asked for, and the CPU seconds that encoding and looking up have taken."""

    label: str = ""
    texts: dict[str, None] = field(default_factory=dict)
    seconds: float = 0.0


class SharedEncoder(RememberingEncoder):
    """Remembers vectors. Who first asks for one of the awaited texts has all of them encoded, in batches of like
    length; where nobody asks, nothing is.
    """

    awaited: Awaited

    @classmethod
    def over(cls, encoder: Encoder, texts: Sequence[str], *, label: str, cache: Path | None = None) -> SharedEncoder:
        """`encoder` for these texts; vectors are kept in the folder `cache` too, where one is given."""
        memory = Kept() if cache is None else FileMemory(cache, encoder)
        awaited = Awaited(label, dict.fromkeys(texts))
        return cls.model_construct(behind=encoder, memory=memory, slice=256, awaited=awaited)

    def settings(self, *, speed: bool = True) -> dict[str, Any]:
        """Those of the encoder behind."""
        return self.behind.settings(speed=speed)

    def encode(self, texts: Sequence[str], role: Role = "document") -> np.ndarray:
        """Float32 `(texts, dim)`: what the encoder behind gives."""
        began = time.process_time()
        try:
            if role == "document" and any(text in self.awaited.texts for text in texts):
                self._encode_all()
            return super().encode(texts, role)
        finally:
            self.awaited.seconds += time.process_time() - began

    def _encode_all(self) -> None:
        texts = sorted(self.awaited.texts, key=len, reverse=True)  # The slowest first: then the bar never promises.
        with bar(f"encode {self.awaited.label}", len(texts)) as progress:
            for at in range(0, len(texts), self.slice):
                super().encode(texts[at : at + self.slice])
                progress.advance(len(texts[at : at + self.slice]))
        self.awaited.texts.clear()


class FileMemory(Kept):
    """Vectors in a file `vectors.db` of a folder, by the fingerprint of the encoder and the text, and in memory once
    read. Raises StoreError where the file cannot be used.
    """

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        super().__init__()
        self._encoder, self._folder = encoder, folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(folder / "vectors.db")
            self._db.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
            if [row[1] for row in self._db.execute("PRAGMA table_info(vectors)")] != ["key", "vector"]:
                raise sqlite3.DatabaseError("vectors.db is another program's")
        except (OSError, sqlite3.Error) as error:
            why = getattr(error, "strerror", None) or error
            raise StoreError(f"cannot keep vectors here: {why}", where=str(folder), fix="another --cache") from None

    def get(self, texts: Sequence[str]) -> Mapping[str, np.ndarray]:  # type: ignore[override]
        """The vectors there are, by text."""
        for text in texts:
            if text not in self:
                row = self._db.execute("SELECT vector FROM vectors WHERE key = ?", (self._key(text),)).fetchone()
                if row is not None:
                    self[text] = np.frombuffer(row[0], np.float32)
        return super().get(texts)

    def put(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Keep vectors `(texts, dim)`."""
        super().put(texts, vectors)
        rows = [(self._key(text), row.astype(np.float32).tobytes()) for text, row in zip(texts, vectors)]
        try:
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise StoreError(f"cannot keep vectors: {error}", where=str(self._folder), fix="another --cache") from None

    def _key(self, text: str) -> bytes:
        return blake2b(f"{self._encoder.fingerprint}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
