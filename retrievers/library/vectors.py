"""Vectors, named by what they were made from, so that no text is encoded twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from fovea.rag.errors import StoreError
from fovea.rag.tables import with_headers
from fovea.rag.types import Chunk, Document
from fovea.retrievers.library.database import Database, damaged, sound

if TYPE_CHECKING:
    import numpy as np

TOLERANCE = 1e-3
"""How far from 1 the length of a vector may be: half-precision encoders round."""
BATCH = 500
"""Values in one statement: older SQLite takes no more than 999."""


def vector_key(text: str, encoder_fingerprint: str) -> str:
    """The name of a text's vector: a hash of the text and of the encoder's fingerprint."""
    content = f"{encoder_fingerprint}\0{text}".encode("utf-8", "surrogatepass")
    return blake2b(content, digest_size=16).hexdigest()


def chunk_keys(
    document: Document, chunks: Sequence[Chunk], encoder_fingerprint: str, pooled: str = "", situated: str = ""
) -> list[str]:
    """The names of the vectors of `chunks` of a document.

    A vector of a chunk by itself is named by what is read of it: its text, behind the header of the table that it goes
    on with (`fovea.rag.tables`). One that a pooler made of more than the chunk (`pooled`: the pooler's fingerprint) is
    named by the whole text and the chunk's place in it; one that was situated (`situated`: the situator's fingerprint,
    beside the pooler's) by title, media type and metadata too.
    """
    if not pooled:
        return [vector_key(text, encoder_fingerprint) for text in with_headers(document, chunks)]
    whole = document_digest(document) if situated else text_digest(document.text)
    return [pooled_key(whole, chunk, encoder_fingerprint, pooled + situated) for chunk in chunks]


def document_digest(document: Document) -> str:
    """What tells all that a situator may read of a document from any other: not its name."""
    facts = [document.title, document.media_type, dict(document.metadata)]
    return text_digest(json.dumps(facts, sort_keys=True) + "\0" + document.text)


def text_digest(text: str) -> str:
    """What tells a document's text from any other."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def pooled_key(whole: str, chunk: Chunk, encoder_fingerprint: str, pooled: str) -> str:
    """The name of a pooled vector of `chunk` in the text whose digest is `whole`."""
    return vector_key(f"{whole}\0{chunk.start}\0{chunk.end}", f"{encoder_fingerprint}\0{pooled}")


def named(db: Database, keys: Sequence[str], dim: int) -> dict[str, np.ndarray]:
    """The vectors there are under `keys`, by key."""
    found: dict[str, np.ndarray] = {}
    for part in batches([bytes.fromhex(k) for k in keys]):
        rows = db.all(f"SELECT key, vector FROM vectors WHERE key IN ({holes(part)})", part)
        found.update(zip((key.hex() for key, _ in rows), matrix(db, [v for _, v in rows], dim)))
    return found


def ids(db: Database, keys: Iterable[str]) -> dict[str, int]:
    """The row of each key that has a vector."""
    found: dict[str, int] = {}
    for part in batches([bytes.fromhex(k) for k in keys]):
        rows = db.all(f"SELECT key, id FROM vectors WHERE key IN ({holes(part)})", part)
        found.update((key.hex(), no) for key, no in rows)
    return found


def add(db: Database, keys: Sequence[str], vectors: np.ndarray, dim: int) -> None:
    """Write vectors `(keys, dim)` in one commit; those that are there already stay as they are."""
    import numpy as np

    vectors = np.ascontiguousarray(vectors, dtype="<f4")
    if vectors.shape != (len(keys), dim):
        raise StoreError(
            f"expected {len(keys)} vectors of {dim} numbers, got an array of shape {vectors.shape}",
            where=str(db.path),
            fix="the encoder's `dim` must be the length of what it returns",
        )
    if not np.isfinite(vectors).all():
        raise StoreError(
            "the encoder returned vectors that are not finite numbers",
            where=str(db.path),
            fix="try another back-end or precision of the encoder",
        )
    rows = ((bytes.fromhex(key), vector.tobytes()) for key, vector in zip(keys, vectors))
    with db.transaction():
        db.many("INSERT INTO vectors (key, vector) VALUES (?, ?) ON CONFLICT (key) DO NOTHING", rows)


def of_chunks(db: Database, nos: Sequence[int], dim: int) -> np.ndarray:
    """The vectors of chunks by `no`, float32 `(nos, dim)`, in the order given."""
    found: dict[int, bytes] = {}
    for part in batches([int(n) for n in nos]):
        sql = "SELECT no, v.vector FROM chunks AS c JOIN vectors AS v ON v.id = c.vector"
        found.update(db.all(f"{sql} WHERE no IN ({holes(part)})", part))
    missing = [n for n in nos if int(n) not in found]
    if missing:
        raise StoreError(f"there is no chunk {missing[0]}", where=str(db.path))
    return unit(db, matrix(db, [found[int(n)] for n in nos], dim))


def matrix(db: Database, blobs: Sequence[bytes], dim: int) -> np.ndarray:
    """Stored vectors as one float32 array `(blobs, dim)`."""
    import numpy as np

    with sound(db.path, "a vector"):
        if any(len(b) != 4 * dim for b in blobs):
            raise damaged(db.path, f"a vector does not have {dim} numbers")
        return np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(blobs), dim)


def unit(db: Database, vectors: np.ndarray) -> np.ndarray:
    """`vectors` as they are; raises StoreError unless all have the length 1, as all had that were stored."""
    import numpy as np

    lengths = np.einsum("ij,ij->i", vectors, vectors)
    if not (np.abs(lengths - 1) <= 2 * TOLERANCE).all():
        raise damaged(db.path, "a vector has another length than when it was stored")
    return vectors


def batches(values: Sequence) -> Iterator[Sequence]:
    """Cut a sequence into pieces that fit one statement."""
    return (values[i : i + BATCH] for i in range(0, len(values), BATCH))


def holes(values: Sequence) -> str:
    """A question mark for each value."""
    return ", ".join("?" * len(values))
