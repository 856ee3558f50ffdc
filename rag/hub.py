"""The model hub: asked only when a model is nowhere on this machine, and given up within seconds when it is silent."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from fovea.rag.errors import ModelError, require

PATIENCE = 6.0
"""Seconds until a hub that does not answer counts as unreachable."""

LEFT_OUT = ["onnx/*", "openvino/*", "coreml/*", "*.onnx", "*.h5", "*.ot", "*.msgpack", "*.gguf", "*.tflite"]
"""Weights of other frameworks, which are not read here."""


def download(name: str, not_found: Callable[[str], ModelError]) -> Path:
    """The files of `name` from the hub, into the Hugging Face cache; `not_found(why)` makes the error to raise."""
    if why := silent(os.environ.get("HF_ENDPOINT", "https://huggingface.co")):
        raise not_found(why)
    hub = require("huggingface_hub", extra="onnx", needed_by=f"downloading {name}")
    errors = require("huggingface_hub.errors", extra="onnx", needed_by=f"downloading {name}")
    try:
        files = hub.HfApi().list_repo_files(name)
        pickled = ["*.bin", "*.pt"] if any(f.endswith(".safetensors") for f in files) else []
        return Path(hub.snapshot_download(name, ignore_patterns=[*LEFT_OUT, *pickled]))
    except errors.GatedRepoError:
        raise not_found("and the hub asks for its terms to be accepted (hf auth login)") from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise not_found("and the hub has no such model (or it is private: set HF_TOKEN)") from None
    except Exception as error:  # the hub client raises whatever its HTTP library does
        raise not_found(f"and downloading it failed: {type(error).__name__}: {error}") from error


def silent(endpoint: str, patience: float = PATIENCE) -> str:
    """Why the hub cannot be reached, in words; empty when something answers there, be it with an error.

    The look-up of the name has no time limit of its own, so the asking runs in a thread that is left behind.
    """
    answer: list[str] = []
    thread = threading.Thread(target=lambda: answer.append(_ask(endpoint, patience)), daemon=True)
    thread.start()
    thread.join(patience)
    return answer[0] if answer else f"and {endpoint} did not answer within {patience:g} seconds"


def _ask(endpoint: str, patience: float) -> str:
    try:
        urlopen(Request(endpoint, method="HEAD"), timeout=patience).close()
    except HTTPError:
        return ""
    except (URLError, OSError, ValueError) as error:
        return f"and {endpoint} cannot be reached ({getattr(error, 'reason', error)})"
    return ""
