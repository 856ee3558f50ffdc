"""Which back-end runs a model here, and why: chosen once, said in the trace."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from fovea.rag.engines import has_gpu, lacks_bfloat16
from fovea.rag.errors import ModelError, require

Backend = Literal["auto", "torch", "onnx", "openvino"]
Precision = Literal["float32", "int8", "bfloat16"]

RUNS: dict[str, tuple[str, ...]] = {
    "float32": ("onnx", "openvino", "torch"),
    "int8": ("onnx",),
    "bfloat16": ("openvino", "torch"),
}
"""The back-ends that can compute in each precision, the fastest on a CPU first."""

PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "sentence_transformers"}
EXTRAS = {"onnx": "onnx", "openvino": "openvino", "torch": "models"}
"""What each back-end imports, and the extra that brings it."""


@dataclass(frozen=True)
class Choice:
    """A back-end, the device it runs on, and the reason in words."""

    backend: str
    device: str
    why: str


def choose(backend: str, device: str | None, precision: str) -> Choice:
    """The stated back-end, or under `auto` torch on a GPU and otherwise the first of `RUNS` that is installed.

    Raises ModelError where the device or the precision is not to be had on this machine.
    """
    where, why = _device(backend, device, precision)
    if precision == "bfloat16" and where == "cpu" and (lack := lacks_bfloat16()):
        raise ModelError(f"precision bfloat16 is refused on this CPU: {lack}", fix="precision: float32 (or int8)")
    if backend != "auto":
        return Choice(backend, where, "as set")
    if where != "cpu":
        return Choice("torch", where, why)
    for name in RUNS[precision]:
        if find_spec(PACKAGES[name]) and (name != "onnx" or find_spec("tokenizers")):
            return Choice(name, where, f"{why}, the first installed of {', '.join(RUNS[precision])}")
    first = RUNS[precision][0]
    require(PACKAGES[first], extra=first, needed_by="running a model")
    raise ModelError(f"the back-end {first} is not whole", fix=f'pip install "fovea-rag[{first}]"')


def _device(backend: str, device: str | None, precision: str) -> tuple[str, str]:
    may = backend in ("auto", "torch") and precision != "int8"
    if (device or "cpu") == "cpu" and not (device is None and may and has_gpu()):
        return "cpu", "on the CPU"
    torch = require("torch", extra="models", needed_by=f"device {device or 'cuda'}")
    if device is None:
        return ("cuda", "on the GPU") if torch.cuda.is_available() else ("cpu", "on the CPU")
    kind = device.split(":")[0]
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}.get(kind, lambda: True)()
    if not there:
        raise ModelError(f"device {device}: torch {torch.__version__} sees no such device here", fix="device: cpu")
    return device, f"on {device}"
