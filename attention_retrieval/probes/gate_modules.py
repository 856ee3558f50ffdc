"""The gates as torch modules: all layers at once, (layers, kv heads, ...), by the formulas of the selections."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
import torch

from fovea.attention_retrieval.probes.gate_reads import Arrays
from fovea.attention_retrieval.rotation import Rotation
from fovea.rag.errors import ConfigError


class Shape(NamedTuple):
    """Of a model, and of blocks."""

    layers: int
    heads: int
    kv_heads: int
    d: int
    size: int


class Gate(torch.nn.Module):
    """What is learned, and how far it is from a text's attention."""

    @abstractmethod
    def loss(self, text: Arrays) -> torch.Tensor:
        """The mean KL divergence of what attention was from what the gate says, in nats."""

    def about(self) -> dict[str, Any]:
        """What using it needs to know besides."""
        return {}


class SeerGate(Gate):
    """`query` (layers, kv heads, group d, e) and `key` (layers, kv heads, 3 d, e)."""

    def __init__(self, shape: Shape, rotation: Rotation, width: int) -> None:
        super().__init__()
        self.shape, group = shape, shape.heads // shape.kv_heads
        if width > 2 * len(rotation.frequencies):
            what = f"the model turns {2 * len(rotation.frequencies)} numbers of a key, and a gate has {width}"
            raise ConfigError(what, where="--set width", fix=f"--set width={2 * len(rotation.frequencies)}")
        slow = np.sort(np.argsort(rotation.frequencies, kind="stable")[: width // 2])
        self.turns = rotation.frequencies[slow]
        places = np.concatenate([np.arange(shape.d)[part][slow] for part in rotation.pairs(shape.d)])
        query, key = np.zeros((group, shape.d, width)), np.zeros((3, shape.d, width))
        query[:, places, np.arange(width)] = 1 / group
        key[2, places, np.arange(width)] = np.tile(smeared(self.turns, shape.size), 2)
        self.query = _parameter(query.reshape(-1, width), shape)
        self.key = _parameter(key.reshape(-1, width), shape)

    def scores(self, text: Arrays) -> torch.Tensor:
        """(layers, kv heads, n, blocks)."""
        queries, rows = _tensor(text["queries"]), text["rows"]
        grouped = queries.unflatten(1, (self.shape.kv_heads, -1)).transpose(2, 3).flatten(3)
        asked = turned(grouped @ self.query, rows, self.turns)
        keys = turned(_tensor(text["keys"]) @ self.key, _middles(text, self.shape.size), self.turns)
        return asked @ keys.transpose(2, 3)

    def loss(self, text: Arrays) -> torch.Tensor:
        """Over the blocks before each query's own."""
        return over_blocks(_tensor(text["most"]), self.scores(text), text, self.shape.size)

    def about(self) -> dict[str, Any]:
        """The frequencies of the gates."""
        return {"gate_turns": self.turns.tolist()}


class LandmarkGate(Gate):
    """`landmark` (layers, kv heads, 3 d, d)."""

    def __init__(self, shape: Shape, rotation: Rotation) -> None:
        super().__init__()
        self.shape, self.rotation = shape, rotation
        share = np.ones(shape.d)
        for part in rotation.pairs(shape.d):
            share[part] = smeared(rotation.frequencies, shape.size)
        self.landmark = _parameter(np.concatenate([np.zeros((2 * shape.d, shape.d)), np.diag(share)]), shape)

    def scores(self, text: Arrays) -> torch.Tensor:
        """(layers, kv heads, group, n, blocks)."""
        asked = self.rotation.moved(text["queries"].astype(np.float32), text["rows"])
        middles = _middles(text, self.shape.size)
        keys = turned(_tensor(text["keys"]) @ self.landmark, middles, self.rotation.frequencies, self.rotation)
        return _tensor(asked).unflatten(1, (self.shape.kv_heads, -1)) @ keys[:, :, None].transpose(3, 4)

    def loss(self, text: Arrays) -> torch.Tensor:
        """Over the blocks before each query's own."""
        mass = _tensor(text["mass"]).unflatten(1, (self.shape.kv_heads, -1))
        return over_blocks(mass, self.scores(text), text, self.shape.size)


class ValueGate(Gate):
    """`weight` (layers, kv heads, kv heads d), and `amplitude` (layers, kv heads), 1 at first."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.weight = _parameter(np.zeros(shape.kv_heads * shape.d), shape)
        self.amplitude = _parameter(np.ones(()), shape)

    def scores(self, text: Arrays) -> torch.Tensor:
        """(layers, kv heads, m)."""
        values = _tensor(text["values"]).transpose(1, 2).flatten(2)
        return self.amplitude[..., None] * torch.nn.functional.softplus(self.weight @ values.transpose(1, 2))

    def loss(self, text: Arrays) -> torch.Tensor:
        """Over the rows of which values were kept."""
        given = _tensor(text["given"])
        return divergence(given, self.scores(text), torch.ones_like(given, dtype=torch.bool))


def made(recipe: Any, shape: Shape, rotation: Rotation) -> Gate:
    """The module of a recipe."""
    if recipe.method == "seer":
        return SeerGate(shape, rotation, recipe.width)
    return LandmarkGate(shape, rotation) if recipe.method == "landmark" else ValueGate(shape)


def over_blocks(target: torch.Tensor, scores: torch.Tensor, text: Arrays, size: int) -> torch.Tensor:
    """Over the blocks before each query's own: the mean of what it is with the first of them and without, which holds
    the text's sinks, and so most of many heads' attention, and is often read besides.
    """
    blocks = torch.arange(target.shape[-1])
    before = blocks < torch.from_numpy(text["rows"] // size)[:, None]
    return (divergence(target, scores, before) + divergence(target, scores, before & (blocks > 0))) / 2


def smeared(turns: np.ndarray, size: int) -> np.ndarray:
    """What the mean of a block's turned keys keeps of each pair: the mean cosine of angles around the middle's."""
    return np.asarray(np.cos((np.arange(size) - (size - 1) / 2)[:, None] * turns).mean(axis=0))


def divergence(target: torch.Tensor, scores: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """The mean of KL(target | softmax(scores)) over the last axis, where `there`; targets are made to sum up to 1."""
    target = target * there
    share = target / target.sum(dim=-1, keepdim=True).clamp(min=1e-12)
    said = scores.masked_fill(~there, -torch.inf).log_softmax(dim=-1).masked_fill(~there, 0)
    return (torch.xlogy(share, share) - share * said).sum(dim=-1).mean()


def turned(rows: torch.Tensor, places: np.ndarray, turns: np.ndarray, rotation: Rotation | None = None) -> torch.Tensor:
    """Rows (..., n, d) turned by their places (n,), as `Rotation.moved` does: numbers j and j + r/2 together, or as
    `rotation` pairs them.
    """
    angles = torch.from_numpy(np.asarray(places, np.float64)[:, None] * turns)
    cos, sin = angles.cos().float(), angles.sin().float()
    first, second = (rotation or Rotation(turns, False)).pairs(rows.shape[-1])
    out, x, y = rows.clone(), rows[..., first], rows[..., second]
    out[..., first], out[..., second] = x * cos - y * sin, y * cos + x * sin
    return out


def _middles(text: Arrays, size: int) -> np.ndarray:
    """Of blocks, (blocks,)."""
    return np.asarray(size * np.arange(text["keys"].shape[2]) + (size - 1) / 2)


def _parameter(each: np.ndarray, shape: Shape) -> torch.nn.Parameter:
    """The same for every kv head."""
    return torch.nn.Parameter(torch.from_numpy(np.tile(each, (shape.layers, shape.kv_heads, *[1] * each.ndim))).float())


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).float()
