"""An ONNX graph as it grows: nodes, constants, and the weights that are still to be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.rag.errors import ModelError, require

if TYPE_CHECKING:
    import numpy as np

OPSET = 17
"""The first with LayerNormalization."""


class Graph:
    """Values are named by strings, as ONNX does; `weights` holds what has not been used yet."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.onnx: Any = require("onnx", extra="onnx", needed_by="the first use of a model on ONNX Runtime")
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def op(self, kind: str, *inputs: str, **settings: Any) -> str:
        """A node with one output, whose name is given back."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], name=name, **settings))
        return name

    def named(self, value: str, name: str) -> str:
        """The same value under the name of an output."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [value], [name], name=name))
        return name

    def take(self, name: str) -> np.ndarray:
        """A weight, once; raises ModelError where the model has none of this name."""
        if name not in self.weights:
            raise ModelError(f"the model's weights lack {name}")
        return self.weights.pop(name)

    def weight(self, name: str) -> str:
        """A weight as it is."""
        return self.constant(self.take(name))

    def linear(self, x: str, name: str) -> str:
        """x W + b; the file holds W transposed."""
        return self.op(
            "Add", self.op("MatMul", x, self.constant(self.take(f"{name}.weight").T)), self.weight(f"{name}.bias")
        )

    def norm(self, x: str, name: str, eps: float) -> str:
        """LayerNorm over the last axis."""
        return self.op("LayerNormalization", x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), epsilon=eps)

    def constant(self, array: np.ndarray) -> str:
        """A constant of the graph."""
        import numpy as np

        name = f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def number(self, value: float) -> str:
        """A float32."""
        import numpy as np

        return self.constant(np.array(value, np.float32))

    def ints(self, *values: int) -> str:
        """A row of int64: axes, shapes, borders."""
        import numpy as np

        return self.constant(np.array(values, np.int64))

    def whole(self, value: int) -> str:
        """One int64."""
        import numpy as np

        return self.constant(np.array(value, np.int64))

    def save(self, path: Path, outputs: Mapping[str, Sequence[str | int]]) -> None:
        """Write the graph that takes `input_ids` and `attention_mask`, with `outputs` of these shapes, checked."""
        helper, kinds = self.onnx.helper, self.onnx.TensorProto
        axes = ["texts", "tokens"]
        ids = [helper.make_tensor_value_info(name, kinds.INT64, axes) for name in ("input_ids", "attention_mask")]
        outs = [helper.make_tensor_value_info(name, kinds.FLOAT, shape) for name, shape in outputs.items()]
        graph = helper.make_graph(self.nodes, "encoder", ids, outs, self.constants)
        opsets = [helper.make_opsetid("", OPSET)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="fovea")
        self.onnx.checker.check_model(made)
        self.onnx.save_model(made, path)
