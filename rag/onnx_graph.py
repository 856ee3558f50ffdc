"""An ONNX graph, written as the protocol buffer that it is: nodes, constants, and weights that stay in their own file.

The messages and the numbers of their fields are those of `onnx.proto`; the tests check what is written here with the
`onnx` package, which at 33 MB is much to install for six messages. Weights are named by file, offset and length
(`external_data`), so that the graph of a model of 90 MB is some 30 kB.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.rag.errors import ModelError

if TYPE_CHECKING:
    import numpy as np

OPSET = 17
"""The first with LayerNormalization."""
FLOAT, INT64 = 1, 7
KINDS = {"F32": FLOAT, "F16": 10, "BF16": 16}
"""ONNX's numbers for the kinds of numbers that weights are kept as in safetensors."""


class Weights:
    """The header of a safetensors file: where each array lies. Nothing is read but that.

    Raises ModelError for a file that is none, or shorter than it says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()  # a hub's cache holds links, which a graph must not point out of its folder by
        try:
            with self.path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(length)) if length < 100_000_000 else {}
            self.begins = 8 + length
            self.arrays = {name: entry for name, entry in header.items() if name != "__metadata__"}
            ends = max(entry["data_offsets"][1] for entry in self.arrays.values())
        except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{path} cannot be read as safetensors: {error}") from None
        size, whole = self.path.stat().st_size, self.begins + ends
        if size != whole:
            raise ModelError(f"{path} is not whole: it holds {size:,} bytes of {whole:,}")

    def read(self, entry: Mapping[str, Any]) -> np.ndarray:
        """An array of the file, in float32."""
        import numpy as np

        begin, end = entry["data_offsets"]
        with self.path.open("rb") as file:
            file.seek(self.begins + begin)
            content = file.read(end - begin)
        if entry["dtype"] == "BF16":  # the upper half of a float32
            found = (np.frombuffer(content, "<u2").astype("<u4") << 16).view("<f4")
        else:
            found = np.frombuffer(content, {"F32": "<f4", "F16": "<f2"}[entry["dtype"]]).astype("<f4")
        return found.reshape(entry["shape"])


class Graph:
    """A graph as it grows. Values are named by strings; `unused` are the names of weights that no node has taken."""

    def __init__(self, weights: Weights, names: Mapping[str, str], *, inline: bool) -> None:
        self.weights, self.names, self.inline = weights, dict(names), inline
        self.unused = set(names)
        self.nodes: list[bytes] = []
        self.constants: list[bytes] = []

    def op(self, kind: str, *inputs: str, name: str = "", **settings: Any) -> str:
        """A node with one output, whose name is given back."""
        name = name or f"{kind}_{len(self.nodes)}"
        attributes = [field(5, _attribute(key, value)) for key, value in settings.items()]
        ends = [*(field(1, value) for value in inputs), field(2, name), field(3, name), field(4, kind)]
        self.nodes.append(field(1, b"".join([*ends, *attributes])))
        return name

    def weight(self, name: str, *, turned: bool = False) -> str:
        """A weight in float32, `turned` its transpose; raises ModelError where the model has none of this name."""
        if name not in self.names:
            raise ModelError(f"{self.weights.path} lacks {name}")
        self.unused.discard(name)
        entry = self.weights.arrays[self.names[name]]
        if self.inline:  # whole, and as it is used: int8 rounds nothing but constants
            array = self.weights.read(entry)
            return self.constant(array.T if turned else array)
        begin, end = entry["data_offsets"]
        place = {"location": self.weights.path.name, "offset": self.weights.begins + begin, "length": end - begin}
        pairs = (field(13, field(1, key) + field(2, str(value))) for key, value in place.items())
        self.constants.append(
            field(5, _tensor(name, KINDS[entry["dtype"]], entry["shape"], b"".join(pairs) + field(14, 1)))
        )
        value = name if entry["dtype"] == "F32" else self.op("Cast", name, to=FLOAT)
        return self.op("Transpose", value, perm=(1, 0)) if turned else value

    def constant(self, array: np.ndarray) -> str:
        """A constant that the graph holds itself, float32 or int64."""
        name, kind = f"constant_{len(self.constants)}", FLOAT if array.dtype == "float32" else INT64
        self.constants.append(field(5, _tensor(name, kind, array.shape, field(9, array.tobytes()))))
        return name

    def number(self, value: float) -> str:
        """A float32."""
        import numpy as np

        return self.constant(np.array(value, np.float32))

    def ints(self, *values: int) -> str:
        """A row of int64: axes, shapes, borders."""
        import numpy as np

        return self.constant(np.array(values, np.int64))

    def linear(self, x: str, name: str) -> str:
        """x W + b; the file holds W transposed."""
        product = self.op("MatMul", x, self.weight(f"{name}.weight", turned=True))
        return self.op("Add", product, self.weight(f"{name}.bias"))

    def norm(self, x: str, name: str, eps: float) -> str:
        """LayerNorm over the last axis."""
        return self.op("LayerNormalization", x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), epsilon=eps)

    def model(self, outputs: Mapping[str, Sequence[str | int]]) -> bytes:
        """The model that takes `input_ids` and `attention_mask` and gives `outputs` of these shapes."""
        inputs = [field(11, _value(name, INT64, ("texts", "tokens"))) for name in ("input_ids", "attention_mask")]
        given = [field(12, _value(name, FLOAT, shape)) for name, shape in outputs.items()]
        graph = b"".join([*self.nodes, field(2, "encoder"), *self.constants, *inputs, *given])
        return field(1, 8) + field(2, "fovea") + field(7, graph) + field(8, field(2, OPSET))


def field(number: int, value: int | float | str | bytes) -> bytes:
    """One field of a message: an integer, a float32, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    if isinstance(value, float):
        return _varint(number << 3 | 5) + struct.pack("<f", value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    value &= 2**64 - 1  # negative ones as their complement
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _attribute(name: str, value: int | float | Sequence[int]) -> bytes:
    if isinstance(value, float):
        return field(1, name) + field(2, value) + field(20, 1)
    if isinstance(value, int):
        return field(1, name) + field(3, value) + field(20, 2)
    return field(1, name) + b"".join(field(8, one) for one in value) + field(20, 7)


def _tensor(name: str, kind: int, shape: Sequence[int], content: bytes) -> bytes:
    return b"".join(field(1, size) for size in shape) + field(2, kind) + field(8, name) + content


def _value(name: str, kind: int, shape: Sequence[str | int]) -> bytes:
    sizes = (field(2, size) if isinstance(size, str) else field(1, size) for size in shape)
    tensor = field(1, kind) + field(2, b"".join(field(1, size) for size in sizes))
    return field(1, name) + field(2, field(1, tensor))
