"""The ONNX graph of a BERT sentence encoder, written for the weights where they lie: without torch, and at once.

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
from typing import Any

from fovea.rag.engines import OUTPUTS
from fovea.rag.errors import ModelError
from fovea.rag.onnx_graph import FLOAT, KINDS, Graph, Weights
from fovea.rag.recipe import Recipe

CONFIG = {"model_type": ("bert",), "hidden_act": ("gelu",), "position_embedding_type": ("absolute", None),
          "is_decoder": (False, None), "add_cross_attention": (False, None)}  # fmt: skip
"""What the settings of a model that is followed say; None where they do not speak of it."""
LEAST = -3.4028234663852886e38
"""The least float32."""
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
    if not weights_of(recipe).exists():
        return f"it has no {weights_of(recipe).name}"
    kept = {entry["dtype"] for name, entry in Weights(weights_of(recipe)).arrays.items() if _part(name)}
    return "" if kept <= set(KINDS) else f"its weights are kept as {', '.join(sorted(kept))}"


def write(recipe: Recipe, *, inline: bool = False) -> bytes:
    """The graph of a model in which nothing `differs`: inputs and outputs as `engines` names them.

    Its weights stay in the model's own file, which the graph names; `inline` puts them into the graph. Raises
    ModelError for weights that cannot be read, or are not those that the settings speak of.
    """
    weights = Weights(weights_of(recipe))
    names = {part: name for name in weights.arrays if (part := _part(name))}
    graph = Graph(weights, names, inline=inline)
    states = _layers(graph, recipe.config)
    _pool(graph, states, mean=_pooled(recipe) == "mean", unit=recipe.modules[-1][0].endswith("Normalize"))
    if graph.unused:
        left = ", ".join(sorted(graph.unused)[:3])
        raise ModelError(f"{weights_of(recipe)} holds weights that are no part of its BERT: {left}")
    width = recipe.config["hidden_size"]
    return graph.model(dict(zip(OUTPUTS, (["texts", width], ["texts", "tokens", width]))))


def weights_of(recipe: Recipe) -> Path:
    """The file of the transformer's weights."""
    return recipe.path / recipe.modules[0][1] / "model.safetensors"


def _part(name: str) -> str:
    """What a weight that decides a state is called without the model's own prefix; empty for others."""
    plain = name.removeprefix("bert.")
    return plain if plain.startswith(PARTS) and plain != "embeddings.position_ids" else ""


def _pooled(recipe: Recipe) -> str | None:
    """How the states become one vector: mean or cls; None for another way."""
    return recipe.pooling[0] if recipe.pooling in (("mean",), ("cls",)) else None


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
    return graph.op("Identity", h, name=OUTPUTS[1])


def _embedded(graph: Graph) -> str:
    words = graph.op("Gather", graph.weight("embeddings.word_embeddings.weight"), "input_ids")
    kinds = graph.op("Slice", graph.weight("embeddings.token_type_embeddings.weight"), graph.ints(0), graph.ints(1))
    places = graph.op("Add", graph.weight("embeddings.position_embeddings.weight"), kinds)
    tokens = graph.op("Slice", graph.op("Shape", "input_ids"), graph.ints(1), graph.ints(2))
    return graph.op("Add", words, graph.op("Slice", places, graph.ints(0), tokens, graph.ints(0)))


def _bias(graph: Graph) -> str:
    """0 for a token, the least float32 for padding: `(texts, 1, 1, tokens)`."""
    mask = graph.op("Unsqueeze", graph.op("Cast", "attention_mask", to=FLOAT), graph.ints(1, 2))
    return graph.op("Mul", graph.op("Sub", graph.number(1), mask), graph.number(LEAST))


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
        mask = graph.op("Unsqueeze", graph.op("Cast", "attention_mask", to=FLOAT), graph.ints(2))
        summed = graph.op("ReduceSum", graph.op("Mul", states, mask), graph.ints(1), keepdims=0)
        tokens = graph.op("ReduceSum", mask, graph.ints(1), keepdims=0)
        vector = graph.op("Div", summed, graph.op("Max", tokens, graph.number(1e-9)))
    else:
        first = graph.op("Slice", states, graph.ints(0), graph.ints(1), graph.ints(1))
        vector = graph.op("Squeeze", first, graph.ints(1))
    if unit:
        length = graph.op("ReduceL2", vector, axes=[1], keepdims=1)
        vector = graph.op("Div", vector, graph.op("Max", length, graph.number(1e-12)))
    graph.op("Identity", vector, name=OUTPUTS[0])
