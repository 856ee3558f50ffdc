"""An encoder whose texts are encoded by workers, part by part: the vectors of the encoder behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fovea.pipelines.workers.ahead import ahead
from fovea.rag import trace
from fovea.rag.wrapped import WrappedEncoder

if TYPE_CHECKING:
    import numpy as np

    from fovea.pipelines.workers.local import Workers
    from fovea.rag.encoder import Encoder


class SpreadEncoder(WrappedEncoder):
    """It has no name, since YAML has no use for it. What is not asked for in parts the encoder behind gives itself."""

    workers: Any
    """`Workers`."""

    @classmethod
    def over(cls, encoder: Encoder, workers: Workers) -> SpreadEncoder:
        """`encoder`, whose texts `workers` encode."""
        return cls.model_construct(behind=encoder, workers=workers)

    def encode_each(self, parts: Iterable[Sequence[str]]) -> Iterator[np.ndarray]:
        """The vectors of each part, in order; as many parts at once as there are workers, and one more waiting."""
        for _, begun in ahead(parts, lambda part: self.workers.submit("encode", list(part)), self.workers.size):
            assert begun is not None
            vectors, stages = begun.result()
            for stage in stages:
                trace.current().note(**stage.notes)
                for message, times in stage.warnings.items():
                    trace.warn(message, times)
            yield vectors
