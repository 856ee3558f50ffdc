"""Random weights of learned components for an encoder, so that the laws of their kinds are tried on them too."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from fovea.rag.encoder import Encoder
from fovea.rag.trained import save
from fovea.retrievers.evidence import NAMES
from fovea.retrievers.reranker import LISTED


def about(method: str, encoder: Encoder) -> dict:
    return {"method": method, "encoder": encoder.space, "encoder_name": encoder.name, "dim": encoder.dim}


def sage(path: Path, encoder: Encoder, seed: int = 0) -> Path:
    """SAGE's network, its scores on either side of the threshold."""
    rng = np.random.default_rng(seed)
    arrays = {
        "hidden.weight": rng.standard_normal((8, 4 * encoder.dim)),
        "hidden.bias": rng.standard_normal(8),
        "out.weight": rng.standard_normal((1, 8)),
        "out.bias": np.zeros(1),
    }
    _save(path, arrays, {**about("sage", encoder), "block": 2, "thresholds": {"all": 0.5, "paragraphs": 0.5}})
    return path


def topical_change(path: Path, encoder: Encoder, seed: int = 0) -> Path:
    """TopicalChange's head."""
    rng = np.random.default_rng(seed)
    arrays = {
        "hidden.weight": rng.standard_normal((8, 2 * encoder.dim + 4)) / 4,
        "hidden.bias": rng.standard_normal(8),
        "out.weight": rng.standard_normal((1, 8)),
        "out.bias": np.zeros(1),
        "cosines.weight": rng.standard_normal((1, 4)),
    }
    _save(path, arrays, {**about("topical_change", encoder), "threshold": 0.5})
    return path


def dialogue(path: Path, encoder: Encoder, seed: int = 0) -> Path:
    """Weights of the features of gaps."""
    from fovea.segmenters.dialogue_features import BLOCKS, COLUMNS

    rng = np.random.default_rng(seed)
    arrays = {
        "mean": np.zeros(COLUMNS),
        "deviation": np.ones(COLUMNS),
        "weight": rng.standard_normal((2, COLUMNS)) / 2,
        "bias": np.zeros(2),
        "content": rng.standard_normal(BLOCKS * encoder.dim),
    }
    _save(path, arrays, about("dialogue", encoder))
    return path


def pointer(path: Path, encoder: Encoder) -> Path:
    """A small pointer network."""
    import torch

    from fovea.segmenters.training.pointer import KNOWN
    from fovea.segmenters.training.pointer_net import PointerNet

    torch.manual_seed(0)
    net = PointerNet(encoder.dim, KNOWN, 8, 6, drop=0.0)
    arrays = {name: value.numpy() for name, value in net.state_dict().items()}
    save(path, arrays, {**about("pointer", encoder), "thresholds": {"paragraphs": 0.4, "all": 0.4}})
    return path


def _save(path: Path, arrays: dict, about: dict) -> None:
    save(path, {name: array.astype(np.float16) for name, array in arrays.items()}, about)


def hnet_sentence(path: Path, encoder: Encoder) -> Path:
    """A router that is far from the identity."""
    draw, dim = np.random.default_rng(0), encoder.dim
    arrays = {
        "weights": np.array([0.6, 0.3, 0.1]),
        **{name: draw.normal(size=dim) / 10 for name in ("shift_back", "shift_ahead")},
        **{name: draw.normal(size=(dim, dim)) for name in ("query", "key")},
    }
    save(path, arrays, about("hnet_sentence", encoder))
    return path


def hnet_bytes(path: Path, encoder: Encoder) -> Path:
    """A small byte network; it reads no encoder's vectors."""
    draw, outer, inner, dilations = np.random.default_rng(0), 8, 12, (1, 2)
    arrays = {"embed.weight": draw.normal(size=(256, outer)), "widen": draw.normal(size=inner - outer)}
    for name, dim in (("outer", outer), ("inner", inner)):
        for part in ("query", "key"):
            arrays[f"{name}_router.{part}"] = draw.normal(size=(dim, dim))
        for number in range(len(dilations)):
            shapes = {"gain": dim, "w_in": (dim, 2 * dim), "taps": (3, dim), "w_out": (dim, dim)}
            arrays |= {f"{name}.{number}.{part}": draw.normal(size=shape) for part, shape in shapes.items()}
    save(path, arrays, {"method": "hnet_bytes", "encoder": "", "encoder_name": "", "dim": 0, "dilations": dilations})
    return path


def query_map(path: Path, encoder: Encoder) -> Path:
    """A map that turns vectors far."""
    turn = np.random.default_rng(0).normal(size=(encoder.dim, encoder.dim)) / encoder.dim**0.5
    _save(path, {"map": turn}, about("query_map", encoder))
    return path


def reranker(path: Path, encoder: Encoder) -> Path:
    """Random weights on evidence, and a level that differs by question."""
    draw, size = np.random.default_rng(0), len(LISTED)
    arrays = {"weight": draw.random(len(NAMES)), "level": draw.normal(size=size) / 9}
    single = {"sharpness": np.ones(()), "bias": np.zeros(())}
    read = {**about("reranker", encoder), "evidence": list(NAMES), "listed": list(LISTED)}
    save(path, {**arrays, **single, "scale": np.ones(len(NAMES))}, read)
    return path


def sitemb(path: Path, encoder: Encoder) -> Path:
    """A map that turns vectors far, and weights of heading and neighbours."""
    turn = np.random.default_rng(0).normal(size=(encoder.dim, encoder.dim)) / encoder.dim**0.5
    _save(path, {"map": turn, "weights": np.array([0.5, 0.25])}, {**about("sitemb", encoder), "reach": 2})
    return path


def event_aware(path: Path, encoder: Encoder) -> Path:
    """An event head that moves vectors far."""
    from fovea.retrievers.event_head import FEATURES

    draw, dim, heads, width, rank = np.random.default_rng(0), encoder.dim, 2, 8, 4
    shapes: dict[str, tuple[int, ...]] = {
        "query.weight": (heads * width, dim), "query.bias": (heads * width,), "null": (heads, width),
        "key.weight": (heads * width, dim + FEATURES), "down.weight": (rank, dim + FEATURES),
        "up.weight": (dim, heads * rank), "gate.weight": (2, 3 * dim), "gate.bias": (2,),
        "near": (heads,), "nothing": (heads,), "share": (heads,), "times": (heads, FEATURES),
    }  # fmt: skip
    arrays = {name: draw.normal(size=shape) / shape[-1] ** 0.5 for name, shape in shapes.items()}
    _save(path, {**arrays, "moment": np.array([1.0, 2.0])}, about("event_aware", encoder))
    return path


WEIGHTS: dict[str, Callable[[Path, Encoder], Path]] = {
    "dialogue": dialogue,
    "event_aware": event_aware,
    "hnet_bytes": hnet_bytes,
    "hnet_sentence": hnet_sentence,
    "pointer": pointer,
    "query_map": query_map,
    "reranker": reranker,
    "sage": sage,
    "sitemb": sitemb,
    "topical_change": topical_change,
}
"""How to write weights of each method that needs them."""
_FOLDER = tempfile.TemporaryDirectory(prefix="fovea-weights-")


@cache
def weights_of(method: str, encoder: Encoder) -> str:
    """The path of weights of `method` for `encoder`, written once a process."""
    return str(WEIGHTS[method](Path(_FOLDER.name) / encoder.space / f"{method}.safetensors", encoder))
