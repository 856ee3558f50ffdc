"""What runs a model: ONNX Runtime, OpenVINO or torch, behind one call `engine(ids, mask) -> vectors`.

`ids` and `mask` are int64 `(texts, tokens)`; the answer is float32 `(texts, dim)`, pooled by the model's own modules.
`engine.states(ids, mask)` gives the states that are pooled beside it, float32 `(texts, tokens, width)`.
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.rag.errors import ModelError, require

if TYPE_CHECKING:
    import numpy as np

BESIDE = "session.model_external_initializers_file_folder_path"
"""ONNX Runtime's setting for the folder of the weights of a graph that is no file."""
OUTPUTS = ("vectors", "states")
"""What a graph gives, by the names of its outputs."""


@dataclass(frozen=True)
class Engine:
    """`run(ids, mask, names)` gives those outputs that are named."""

    run: Callable[[np.ndarray, np.ndarray, Sequence[str]], list[np.ndarray]]

    def __call__(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Vectors of texts."""
        return self.run(ids, mask, OUTPUTS[:1])[0]

    def states(self, ids: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of texts, and states of their tokens."""
        vectors, states = self.run(ids, mask, OUTPUTS)
        return vectors, states


def onnx_engine(graph: Path | bytes, weights: Path | None = None) -> Engine:
    """Run a graph with ONNX Runtime on the CPU: a file, or one written for `weights`; raises ModelError if unreadable.

    Each call runs in the caller's thread alone, and several threads may call at once: batches side by side need no
    waiting for each other between operators, as several threads in one batch do.
    """
    ort = require("onnxruntime", extra="onnx", needed_by="the ONNX back-end")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if weights:
        options.add_session_config_entry(BESIDE, str(weights.resolve().parent))
    try:
        source = graph if isinstance(graph, bytes) else str(graph)
        session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's own exception classes share no public base
        raise ModelError(f"ONNX Runtime cannot read {weights or graph!s}: {error}") from None
    return Engine(lambda ids, mask, names: session.run(list(names), {"input_ids": ids, "attention_mask": mask}))


def openvino_engine(path: Path, threads: int | None, *, bfloat16: bool = False) -> Engine:
    """Run an exported graph with OpenVINO on the CPU; raises ModelError where it cannot read it.

    The precision is always stated: left alone, OpenVINO rounds to bfloat16 on processors that have it.
    """
    openvino = require("openvino", extra="openvino", needed_by="the OpenVINO back-end")
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
        "INFERENCE_NUM_THREADS": threads or cores(),
        "NUM_STREAMS": 1,
    }
    try:
        compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot read {path}: {error}") from None
    local = threading.local()  # a request is not for two threads at once

    def run(ids: np.ndarray, mask: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        if not hasattr(local, "request"):
            local.request = compiled.create_infer_request()
        found = local.request.infer({"input_ids": ids, "attention_mask": mask})
        return [found[name].astype("float32") for name in names]

    return Engine(run)


def torch_engine(model: Any) -> Engine:
    """Run the modules of a loaded sentence-transformers model on token ids, where the model lies."""
    import torch

    outputs = dict(zip(OUTPUTS, ("sentence_embedding", "token_embeddings")))

    def run(ids: np.ndarray, mask: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        with torch.inference_mode():
            features = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
            found = model({k: v.to(model.device) for k, v in features.items()})
            return [found[outputs[name]].float().cpu().numpy() for name in names]

    return Engine(run)


def load_torch(
    path: Path, *, kind: str = "SentenceTransformer", device: str = "cpu", settings: dict[str, Any] | None = None
) -> Any:
    """The model as sentence-transformers' class `kind` loads it, in float32 unless `settings` say otherwise."""
    library = require("sentence_transformers", extra="models", needed_by="the torch back-end")
    settings = {"dtype": "float32", **(settings or {})}
    try:
        with no_bars():
            model = getattr(library, kind)(str(path), device=device, local_files_only=True, model_kwargs=settings)
    except Exception as error:  # a folder can be wrong in as many ways as there are libraries below
        raise ModelError(f"sentence-transformers cannot load {path}: {type(error).__name__}: {error}") from error
    return model.eval()


@contextmanager
def no_bars() -> Iterator[None]:
    """Keep transformers from drawing progress bars: a library does not draw."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


_most_cores: int | None = None


def limit_cores(most: int) -> None:
    """Let this process use no more processors than that: others beside it have theirs."""
    global _most_cores
    _most_cores = most


def cores() -> int:
    """How many processors this process may use; hyper-threads of one core count once where the system tells."""
    return min(_most_cores or _all_cores(), _all_cores())


def _all_cores() -> int:
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    siblings = set()
    for cpu in allowed:
        try:
            siblings.add(Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text())
        except OSError:
            return max(1, len(allowed))
    return max(1, len(siblings))


def has_gpu() -> bool:
    """Whether an NVIDIA driver is loaded, without importing torch, which takes seconds."""
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()


def lacks_bfloat16(cpuinfo: str | None = None) -> str:
    """Why bfloat16 would be slow on this processor, in words; empty where it computes in it natively."""
    if cpuinfo is None:
        try:
            cpuinfo = Path("/proc/cpuinfo").read_text()
        except OSError:
            return f"{platform.system()} does not say whether the processor has bfloat16 instructions"
    flags = {flag for line in cpuinfo.splitlines() if line.startswith(("flags", "Features")) for flag in line.split()}
    if flags & {"avx512_bf16", "amx_bf16", "bf16"}:
        return ""
    return "the processor has no bfloat16 instructions (AVX512_BF16, AMX), and emulating them is several times slower"
