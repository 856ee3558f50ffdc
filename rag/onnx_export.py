"""A sentence-transformers model as an ONNX graph: one that is written for a BERT, or that torch traces once for others.

A traced graph is checked against sentence-transformers when it is made; that written ones agree is held by the tests.
What is kept: traced graphs, and any graph in one file with its weights, for OpenVINO and for int8.

The file is named by what went in (the model's identity and this exporter's version) and by its own SHA-256, and put in
place whole, so a name that is there holds a whole graph; one that was damaged since is made again.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.rag import bert_graph, trace
from fovea.rag.engines import OUTPUTS, Engine, load_torch, onnx_engine
from fovea.rag.errors import ModelError, require
from fovea.rag.models import cache_dir, digest, sha256_of
from fovea.rag.recipe import NO_LIMIT, Recipe
from fovea.rag.wordpieces import ModelTokenizer
from fovea.rag.write_whole import LOCK, part_folder, put

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger("fovea")

VERSION = 3
"""Raise it when another graph comes of the same model."""

AGREEMENT = 0.99999
"""The least cosine between a vector of the graph and one of sentence-transformers."""

PROBES = (
    "",
    "A short sentence.",
    "Two lines,\r\nof which the SECOND has capitals, Ümläute, 5 % and a mark…",
    "汉字与假名 かな, and an emoji 🦊; then `code(x) != None`.",
    "The quick brown fox jumps over the lazy dog while 1,024 others look on. " * 2,
)
"""Texts on which a graph must agree before it is trusted: padded rows, other scripts, nothing at all."""


def onnx_session(recipe: Recipe, *, int8: bool = False) -> Engine:
    """The model on ONNX Runtime; raises ModelError as `exported` does."""
    if int8 or bert_graph.differs(recipe):
        return onnx_engine(exported(recipe, int8=int8))
    return onnx_engine(bert_graph.write(recipe), bert_graph.weights_of(recipe))


def exported(recipe: Recipe, *, int8: bool = False) -> Path:
    """The graph of a model in one file, made on first use; `int8` is its dynamically quantised form.

    Raises ModelError where the graph cannot be made, or a traced one does not agree with sentence-transformers.
    """
    name = f"{recipe.identity}-v{VERSION}"
    if not int8:
        return _cached(name, lambda part: _export(recipe, part))
    return _cached(f"{name}-int8", lambda part: _quantise(exported(recipe), part))


def forget(recipe: Recipe) -> int:
    """Remove the model's graphs, so that the next use makes them again; says how many there were."""
    found = list(_folder().glob(f"{recipe.identity}-v{VERSION}*.onnx"))
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def _folder() -> Path:
    return cache_dir() / "onnx"


def _cached(name: str, make: Callable[[Path], None]) -> Path:
    for path in sorted(_folder().glob(f"{name}.*.onnx")):
        if digest(path) == path.name.split(".")[-2]:
            return path
        trace.warn(f"the ONNX export {path.name} was damaged and is made again")
        path.unlink(missing_ok=True)
    try:
        with part_folder(_folder()) as folder:
            part = folder / "model.onnx"
            make(part)
            path = _folder() / f"{name}.{sha256_of(part)}.onnx"
            put(part, path)
    except OSError as error:
        raise ModelError(
            f"its ONNX export cannot be written to {_folder()}: {error.strerror}",
            fix="set FOVEA_CACHE to another folder",
        ) from None
    return path


def _export(recipe: Recipe, part: Path) -> None:
    if why := bert_graph.differs(recipe):
        _traced(recipe, part, why)
    else:
        part.write_bytes(bert_graph.write(recipe, inline=True))


def _traced(recipe: Recipe, part: Path, why: str) -> None:
    """Trace the modules of the model with two dynamic axes, and keep the graph only if it agrees with them.

    Attention is exported in its plain form: the fused one is traced into a graph that is larger and no faster.
    """
    require("sentence_transformers", extra="models", needed_by=f"the ONNX graph of {recipe.path} ({why})")
    log.info("exporting %s to ONNX through torch, once (%s)", recipe.path, why)
    model = load_torch(recipe.path, settings={"attn_implementation": "eager"})
    if (
        model.max_seq_length is not None
        and model.max_seq_length < NO_LIMIT
        and model.max_seq_length != recipe.max_tokens
    ):
        raise ModelError(
            f"sentence-transformers reads {model.max_seq_length} tokens, the files say {recipe.max_tokens}"
        )
    try:
        _trace(model, part)
    except Exception as error:  # an exporter fails in as many ways as there are models
        raise ModelError(f"torch cannot export it to ONNX: {type(error).__name__}: {error}") from error
    if any(other.name != part.name and not other.name.startswith(LOCK) for other in part.parent.iterdir()):
        raise ModelError("it is larger than the 2 GB that one ONNX file holds")
    least = agreement(recipe, model, onnx_engine(part))
    if not least >= AGREEMENT:
        raise ModelError(f"its ONNX export does not agree with it: cosine {least:.6f}, needed {AGREEMENT}")


def _trace(model: Any, part: Path) -> None:
    import torch

    class Graph(torch.nn.Module):
        """Token ids in, vectors and states out; inputs that the model can do without are left to its defaults."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, mask: Any) -> Any:
            found = self.model({"input_ids": ids, "attention_mask": mask})
            return found["sentence_embedding"], found["token_embeddings"]

    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]])
    axes = {
        "input_ids": {0: "texts", 1: "tokens"},
        "attention_mask": {0: "texts", 1: "tokens"},
        "vectors": {0: "texts"},
        "states": {0: "texts", 1: "tokens"},
    }
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracing warns of every branch on a shape; the check below is what counts
        torch.onnx.export(
            Graph().eval(),
            (torch.ones_like(mask), mask),
            str(part),
            input_names=["input_ids", "attention_mask"],
            output_names=list(OUTPUTS),
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )


def agreement(recipe: Recipe, model: Any, engine: Engine) -> float:
    """The least cosine, over `PROBES`, between the engine on our tokens and sentence-transformers on the texts, whole
    vectors both: from here on the model cuts none.
    """
    tokenizer = ModelTokenizer.read(recipe.path / "tokenizer.json")
    room = (recipe.max_tokens or NO_LIMIT) - tokenizer.extra
    texts = [text for text in PROBES if tokenizer.count(text) <= room]
    ids, mask = tokenizer.padded(tokenizer.ids(texts))
    model.truncate_dim = None
    ours, theirs = engine(ids, mask), model.encode(texts, show_progress_bar=False, prompt="")
    if ours.shape != theirs.shape or recipe.dim not in (None, ours.shape[1]):
        return 0.0
    return float(cosines(ours, theirs).min())


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cosine of each row of `a` `(texts, dim)` with the same row of `b`."""
    import numpy as np

    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def _quantise(graph: Path, part: Path) -> None:
    """Weights of matrix products as signed 8-bit integers with a scale per channel; activations when they come."""
    quantisation = require("onnxruntime.quantization", extra="models", needed_by="precision int8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantisation.quantize_dynamic(
            graph,
            part,
            weight_type=quantisation.QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul"],
        )
