"""The ONNX graph of a BERT sentence encoder, written from its weights: without torch, in a second.

The graph is that of Devlin et al. (2019, arXiv:1810.04805), layer by layer, with states `h` `(texts, tokens, width)`:

    h = LayerNorm(word[ids] + position + type[0])
    h = LayerNorm(h + softmax(q k' / sqrt(d) + bias) v W + b)       q, k, v = h W + b, in heads of d; bias hides padding
    h = LayerNorm(h + gelu(h W + b) W + b)

then the mean of the states, or the first, at unit length where the model asks for it. A model that differs in anything
(`differs` says in what) is not written: `onnx_export` traces it through torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.rag.engines import OUTPUTS
from fovea.rag.errors import ModelError, require
from fovea.rag.onnx_graph import Graph
from fovea.rag.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np

CONFIG = {"model_type": ("bert",), "hidden_act": ("gelu",), "position_embedding_type": ("absolute", None),
          "is_decoder": (False, None), "add_cross_attention": (False, None)}  # fmt: skip
"""What the settings of a model that is followed say; None where they do not speak of it."""
NEEDED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "layer_norm_eps")
PARTS = ("embeddings.", "encoder.")
"""Weights that decide a state; a pooler or a head for another task are left aside, as sentence-transformers does."""


def differs(recipe: Recipe) -> str:
    """What in the model is not the graph above, in words; empty where nothing is."""
    for key, known in CONFIG.items():
        if recipe.config.get(key) not in known:
            return f"its {key} is {recipe.config.get(key)}"
    if lacking := [key for key in NEEDED if not recipe.config.get(key)]:
        return f"its settings lack {', '.join(lacking)}"
    kinds = [kind.rsplit(".", 1)[-1] for kind, _ in recipe.modules]
    if kinds[1:] not in (["Pooling"], ["Pooling", "Normalize"]):
        return f"it is made of {', '.join(kinds)}"
    if _pooled(recipe) is None:
        return "it pools neither by the mean nor by the first token"
    return _unread(_weights(recipe))


def write(recipe: Recipe, part: Path) -> None:
    """The graph of a model in which nothing `differs`: inputs and outputs as `engines` names them, in one file.

    Raises ModelError for weights that cannot be read, or are not those that the settings speak of.
    """
    graph = Graph(_read(_weights(recipe)))
    states = _layers(graph, recipe.config)
    _pool(graph, states, mean=_pooled(recipe) == "mean", unit=recipe.modules[-1][0].endswith("Normalize"))
    if left := sorted(graph.weights):
        raise ModelError(f"{_weights(recipe)} holds weights that are no part of its BERT: {', '.join(left[:3])}")
    width = recipe.config["hidden_size"]
    graph.save(part, dict(zip(OUTPUTS, (["texts", width], ["texts", "tokens", width]))))


def _unread(path: Path) -> str:
    """Why the weights are not read here."""
    if not path.exists():
        return f"it has no {path.name}"
    library = require("safetensors", extra="onnx", needed_by="reading weights")
    try:
        with library.safe_open(path, "numpy") as file:
            kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118, no mapping
    except Exception as error:  # the library's own, and of the system
        raise ModelError(f"{path} cannot be read: {error}") from None
    return "" if kinds <= {"F32", "F16", "I64"} else f"its weights are kept as {', '.join(sorted(kinds))}"


def _weights(recipe: Recipe) -> Path:
    return recipe.path / recipe.modules[0][1] / "model.safetensors"


def _pooled(recipe: Recipe) -> str | None:
    """How the states become one vector: mean or cls; None for another way."""
    return {("mean",): "mean", ("cls",): "cls"}.get(recipe.pooling)


def _read(path: Path) -> dict[str, np.ndarray]:
    """The weights in float32, by names without the model's own prefix."""
    library = require("safetensors.numpy", extra="onnx", needed_by="reading weights")
    try:
        found = library.load_file(path)
    except Exception as error:  # the library raises its own and NumPy's
        raise ModelError(f"{path} cannot be read: {error}") from None
    plain = {name.removeprefix("bert."): array for name, array in found.items()}
    return {n: a.astype("float32") for n, a in plain.items() if n.startswith(PARTS) and n != "embeddings.position_ids"}


def _layers(graph: Graph, settings: dict[str, Any]) -> str:
    width, eps = settings["hidden_size"], settings["layer_norm_eps"]
    h = graph.norm(_embedded(graph), "embeddings.LayerNorm", eps)
    bias = _bias(graph)
    for i in range(settings["num_hidden_layers"]):
        at = f"encoder.layer.{i}"
        seen = graph.linear(_attended(graph, h, bias, at, settings["num_attention_heads"], width),
                            f"{at}.attention.output.dense")  # fmt: skip
        h = graph.norm(graph.op("Add", h, seen), f"{at}.attention.output.LayerNorm", eps)
        wide = _gelu(graph, graph.linear(h, f"{at}.intermediate.dense"))
        h = graph.norm(graph.op("Add", h, graph.linear(wide, f"{at}.output.dense")), f"{at}.output.LayerNorm", eps)
    return graph.named(h, OUTPUTS[1])


def _embedded(graph: Graph) -> str:
    words = graph.op("Gather", graph.weight("embeddings.word_embeddings.weight"), "input_ids")
    places = graph.take("embeddings.position_embeddings.weight")
    places = graph.constant(places + graph.take("embeddings.token_type_embeddings.weight")[0])
    tokens = graph.op("Slice", graph.op("Shape", "input_ids"), graph.ints(1), graph.ints(2))
    return graph.op("Add", words, graph.op("Slice", places, graph.ints(0), tokens, graph.ints(0)))


def _bias(graph: Graph) -> str:
    """0 for a token, the least float32 for padding: `(texts, 1, 1, tokens)`."""
    import numpy as np

    mask = graph.op("Unsqueeze", graph.op("Cast", "attention_mask", to=1), graph.ints(1, 2))
    return graph.op("Mul", graph.op("Sub", graph.number(1), mask), graph.number(float(np.finfo(np.float32).min)))


def _attended(graph: Graph, h: str, bias: str, at: str, heads: int, width: int) -> str:
    def in_heads(name: str, axes: Sequence[int]) -> str:
        rows = graph.linear(h, f"{at}.attention.self.{name}")
        return graph.op("Transpose", graph.op("Reshape", rows, graph.ints(0, 0, heads, width // heads)), perm=axes)

    query, keys = in_heads("query", (0, 2, 1, 3)), in_heads("key", (0, 2, 3, 1))
    scores = graph.op("Mul", graph.op("MatMul", query, keys), graph.number((width // heads) ** -0.5))
    shares = graph.op("Softmax", graph.op("Add", scores, bias), axis=-1)
    seen = graph.op("Transpose", graph.op("MatMul", shares, in_heads("value", (0, 2, 1, 3))), perm=(0, 2, 1, 3))
    return graph.op("Reshape", seen, graph.ints(0, 0, width))


def _gelu(graph: Graph, x: str) -> str:
    """x (1 + erf(x / sqrt 2)) / 2."""
    inner = graph.op("Add", graph.op("Erf", graph.op("Div", x, graph.number(2**0.5))), graph.number(1))
    return graph.op("Mul", graph.op("Mul", x, inner), graph.number(0.5))


def _pool(graph: Graph, states: str, *, mean: bool, unit: bool) -> None:
    if mean:
        mask = graph.op("Unsqueeze", graph.op("Cast", "attention_mask", to=1), graph.ints(2))
        summed = graph.op("ReduceSum", graph.op("Mul", states, mask), graph.ints(1), keepdims=0)
        tokens = graph.op("ReduceSum", mask, graph.ints(1), keepdims=0)
        vector = graph.op("Div", summed, graph.op("Max", tokens, graph.number(1e-9)))
    else:
        vector = graph.op("Gather", states, graph.whole(0), axis=1)
    if unit:
        length = graph.op("ReduceL2", vector, axes=[1], keepdims=1)
        vector = graph.op("Div", vector, graph.op("Max", length, graph.number(1e-12)))
    graph.named(vector, OUTPUTS[0])
