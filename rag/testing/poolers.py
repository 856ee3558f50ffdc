"""What every pooler must keep to, for ours and for anybody's: `check_pooler(MyPooler(), encoder, segment)`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fovea.rag.encoder import Encoder
from fovea.rag.pooler import Pooler
from fovea.rag.testing.segmenters import HOSTILE
from fovea.rag.types import Chunk, Document


def check_pooler(
    pooler: Pooler,
    encoder: Encoder,
    cut: Callable[[Document], Sequence[Chunk]],
    texts: Iterable[str] = tuple(HOSTILE.values()),
) -> None:
    """Check the vectors of the chunks that `cut` makes of every text."""
    import numpy as np

    for text in texts:
        document = Document("doc", text, "doc")
        chunks = cut(document)
        found = pooler.vectors(document, chunks, encoder)
        assert found.shape == (len(chunks), encoder.dim), f"{pooler.name}: shape {found.shape}"
        assert found.dtype == np.float32, f"{pooler.name}: {found.dtype}"
        assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-4), f"{pooler.name}: rows are not of unit length"
        assert np.array_equal(found, pooler.vectors(document, chunks, encoder)), "the same chunks, the same vectors"
        if pooler.by_text and len(chunks) > 1:
            alone = pooler.vectors(document, chunks[-1:], encoder)
            assert np.allclose(alone, found[-1:], atol=1e-5), f"{pooler.name} says by_text, but the others matter"
