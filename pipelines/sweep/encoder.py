"""An encoder whose vectors, of documents and of questions, are shared by all trials and charged what they cost; and a
corpus that says which stage asked for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fovea.pipelines.sweep.cache_file import key_of
from fovea.pipelines.sweep.stages import Stages
from fovea.rag.encoder import Encoder, Role
from fovea.rag.remember import Kept, RememberingEncoder
from fovea.rag.trace import charge, clock
from fovea.retrievers.corpus import LibraryCorpus

if TYPE_CHECKING:
    import numpy as np


class StageEncoder(RememberingEncoder):
    """Gives just the vectors of the encoder behind it."""

    stages: Stages

    @classmethod
    def over(cls, encoder: Encoder, stages: Stages) -> StageEncoder:
        """`encoder`, with the memory of a sweep."""
        return cls.model_construct(behind=encoder, memory=Kept(), slice=128, stages=stages)

    def encode(self, texts: Sequence[str], role: Role = "document") -> np.ndarray:
        """Float32 `(texts, dim)`; only what no trial has had is encoded, each text once, like lengths together."""
        import numpy as np

        found = self._encoded(list(dict.fromkeys(texts)), role)
        return np.stack([found[text] for text in texts]) if texts else np.zeros((0, self.dim), np.float32)

    def _encoded(self, texts: list[str], role: Role) -> dict[str, np.ndarray]:
        import numpy as np

        file, keys = self.stages.file, {key_of("vector", self.fingerprint, role, text): text for text in texts}
        began = clock()
        there = file.get("encode", list(keys))
        charge(sum(seconds for _, seconds in there.values()) - (clock() - began if there else 0.0))
        found = {keys[key]: np.frombuffer(value, np.float32) for key, (value, _) in there.items()}
        missing = sorted((text for text in texts if text not in found), key=len)
        for at in range(0, len(missing), self.slice):
            found.update(self._fresh(missing[at : at + self.slice], role))
        return found

    def _fresh(self, texts: list[str], role: Role) -> dict[str, np.ndarray]:
        """Encode what is missing, and keep it. Two processes that lack the same text wait for each other by slices."""
        import numpy as np

        file, keys = self.stages.file, [key_of("vector", self.fingerprint, role, text) for text in texts]
        with file.only_one("encode", keys[0]):
            there = file.others("encode", keys)
            lacking = [text for key, text in zip(keys, texts) if key not in there]
            began = clock()
            vectors = self.behind.encode(lacking, role) if lacking else np.zeros((0, self.dim), np.float32)
            each = (clock() - began) / max(1, len(lacking))
            made = dict(zip(lacking, vectors))
            file.put(
                (key, np.ascontiguousarray(made[text], np.float32).tobytes(), each)
                for key, text in zip(keys, texts) if text in made
            )  # fmt: skip
        old = {text: np.frombuffer(there[key][0], np.float32) for key, text in zip(keys, texts) if key in there}
        charge(sum(seconds for _, seconds in there.values()))
        return {**old, **made}


class StageCorpus(LibraryCorpus):
    """A library's corpus that says which stage needed the vector of a question, remembered or not."""

    def __init__(self, corpus: LibraryCorpus, stages: Stages) -> None:
        super().__init__(corpus.library, corpus.index, corpus.encoder)
        self._stages = stages

    def embed(self, text: str) -> np.ndarray:
        """The query vector `(dim,)`."""
        began = clock()
        vector = super().embed(text)
        self._stages.embedded(text, clock() - began)
        return vector
