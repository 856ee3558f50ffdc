"""Training of the byte network: next-byte prediction and a ratio loss for each stage, on the text of any files.

    loss = cross-entropy + alpha * (ratio loss of stage 1 + ratio loss of stage 2)

AdamW at a width of 128 outside and 192 inside. Development scores are bits per byte, the symbols a chunk holds in each
stage, and how well chunks of the first stage start where words of spaced scripts do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt, field_serializer
from torch.nn import functional as F

from fovea.rag.errors import ConfigError
from fovea.rag.mixer import Mixer
from fovea.rag.training.recipe import Task
from fovea.segmenters.training.byte_network import ByteNetwork, Read, Shape
from fovea.segmenters.training.hnet_parts import ratio_loss
from fovea.segmenters.training.recipe import SegmenterRecipe

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.segmenters.sectioned import Sectioned

DEV_WINDOWS = 48


class HNetBytesRecipe(SegmenterRecipe):
    """Settings of the training of `hnet_bytes`; it reads texts only, no sections and no vectors."""

    method: ClassVar[str] = "hnet_bytes"
    reads_sections: ClassVar[bool] = False
    reads_vectors: ClassVar[bool] = False

    steps: int = 1600
    every: int = 200
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    batch: PositiveInt = 8
    """Windows of text in a step."""
    window: PositiveInt = 1024
    """Bytes of a window."""
    word: PositiveFloat = 5.0
    """Bytes that a chunk of the first stage should hold."""
    phrase: PositiveFloat = 5.5
    """Chunks of the first stage that one of the second should hold."""
    alpha: PositiveFloat = 0.03
    """Weight of the ratio losses."""
    mixer: Mixer | None = None
    """What encoders and decoders are made of, with as many weights as the convolutions that they are otherwise."""

    @field_serializer("mixer")
    def _by_use(self, mixer: Mixer | None) -> dict[str, Any] | None:
        return None if mixer is None else mixer.settings()

    def prepare(self, train: Sequence[Sectioned], dev: Sequence[Sectioned], encoder: Encoder, seed: int) -> BytesTask:
        """Join the texts of each part. Raises ConfigError where one is shorter than a window."""
        return BytesTask(self, self._bytes(train, "training"), self._bytes(dev, "development"), seed)

    def _bytes(self, texts: Sequence[Sectioned], part: str) -> np.ndarray:
        joined = "\n\n".join(one.units.text for one in texts).encode("utf-8", "surrogatepass")
        if len(joined) <= self.window:
            raise ConfigError(
                f"the {part} text has {len(joined)} bytes, a window needs {self.window + 1}", where="data"
            )
        return np.frombuffer(joined, np.uint8)


class BytesTask(Task):
    """The network and its text."""

    def __init__(self, recipe: HNetBytesRecipe, train: np.ndarray, dev: np.ndarray, seed: int) -> None:
        torch.manual_seed(seed)
        self.recipe, self.seed, self.train = recipe, seed, train
        self.shape = Shape()
        self.model = ByteNetwork(self.shape, recipe.mixer)
        self.dev = self._windows(dev, DEV_WINDOWS, np.random.default_rng(seed))

    def _windows(self, text: np.ndarray, count: int, draw: np.random.Generator) -> torch.Tensor:
        starts = draw.integers(0, len(text) - self.recipe.window, count)
        return torch.from_numpy(np.stack([text[s : s + self.recipe.window + 1] for s in starts]).astype(np.int64))

    def loss(self, step: int) -> torch.Tensor:
        """Cross-entropy of the next byte, and the ratio losses."""
        data = self._windows(self.train, self.recipe.batch, np.random.default_rng((self.seed, step)))
        read = self.model(data[:, :-1])
        ratios = [
            ratio_loss(routed, mask, target)
            for (routed, mask), target in zip(read.stages, (self.recipe.word, self.recipe.phrase))
        ]
        return F.cross_entropy(read.logits.flatten(0, 1), data[:, 1:].flatten()) + self.recipe.alpha * sum(ratios)

    @torch.no_grad()
    def scores(self) -> dict[str, float]:
        """Bits per byte first."""
        training = self.model.training
        self.model.eval()
        reads: list[tuple[torch.Tensor, Read]] = [(part, self.model(part[:, :-1])) for part in self.dev.split(8)]
        self.model.train(training)
        bits = [F.cross_entropy(r.logits.flatten(0, 1), part[:, 1:].flatten()).item() for part, r in reads]
        (words, symbols), (phrases, _) = (
            np.sum([[r.stages[s][0].b.sum().item(), r.stages[s][1].sum().item()] for _, r in reads], axis=0)
            for s in (0, 1)
        )
        starts = np.concatenate([r.stages[0][0].b.numpy()[:, 1:].ravel() for _, r in reads])
        truth = np.concatenate([word_starts(part[:, :-1].numpy())[:, 1:].ravel() for part, _ in reads])
        return {
            "bits per byte": float(np.mean(bits)) / math.log(2),
            "bytes a chunk": float(symbols / words),
            "chunks a phrase": float(words / phrases),
            "word-start precision": float(truth[starts].mean()) if starts.any() else 0.0,
            "word-start recall": float(starts[truth].mean()),
            "word-start rate": float(truth.mean()),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """What segmenting needs, the encoders and routers, in half precision."""
        kept = ("embed.", "outer.", "outer_router.", "widen", "inner.", "inner_router.")
        return {
            key: value.detach().numpy().astype(np.float16)
            for key, value in self.model.state_dict().items()
            if key.startswith(kept)
        }

    def about(self) -> dict[str, Any]:
        """The sizes of the network; it reads no encoder's vectors."""
        own = {} if (mixer := self.recipe.mixer) is None else {"mixer": mixer.settings()}
        return {"encoder": "", "encoder_name": "", "dim": 0, "dilations": list(self.shape.dilations), **own}


def word_starts(data: np.ndarray) -> np.ndarray:
    """Where a byte that is no white space follows one that is: bool, of the same shape."""
    white = np.isin(data, np.frombuffer(b" \t\n\r", np.uint8))
    starts = ~white
    starts[..., 1:] &= white[..., :-1]
    return starts
