"""Arrays in one file of the safetensors format, mapped into memory, each with a checksum.

The file is written whole or not at all (`fovea.rag.write_whole`). Any reader of safetensors
can open it; ours also compares checksums, which the format's metadata holds, and says which part is damaged.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fovea.rag.errors import ModelError
from fovea.rag.write_whole import write_whole

DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
NAMES = {np.dtype(code): name for name, code in DTYPES.items() if name != "BF16"}
MOST_AXES = 8
REDO = "make the file anew: it was cut short or changed after it was written"


def write(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write `arrays`, and `about` as JSON; an interrupted write leaves what was at `path` before.

    Raises ModelError where that cannot be written.
    """
    ready = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header: dict[str, Any] = {}
    end = 0
    for name, array in ready.items():
        header[name] = {"dtype": NAMES[array.dtype], "shape": array.shape, "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    checksums = {name: zlib.crc32(_bytes(array)) for name, array in ready.items()}
    words = {"about": json.dumps(about, sort_keys=True), "checksums": json.dumps(checksums)}
    header["__metadata__"] = {**words, "whole": _mark(header, words)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64)  # so that arrays begin where a cache line does

    def fill(part: Path) -> None:
        with part.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for array in ready.values():
                file.write(_bytes(array))

    try:
        write_whole(path, fill)
    except OSError as error:
        raise ModelError(f"the file cannot be written: {error.strerror}", where=str(path)) from None


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays, mapped read-only, and what was written about them.

    Raises ModelError for a file that cannot be read or is damaged, and for one whose header is no list of arrays that
    lie side by side: what it says is checked before it is believed.
    """
    try:
        if not path.is_file():
            raise ModelError("there is no such file", where=str(path))
        mapped = np.memmap(path, np.uint8, mode="r")
        size = int.from_bytes(mapped[:8].tobytes(), "little")
        header = json.loads(mapped[8 : 8 + size].tobytes())
        words = header.pop("__metadata__")
        checksums, about = (_object(json.loads(words[name])) for name in ("checksums", "about"))
    except OSError as error:
        raise ModelError(f"the file cannot be read: {error.strerror}", where=str(path)) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"the header is damaged: {error}", where=str(path), fix=REDO) from None
    if words.get("whole") != _mark(header, words):
        raise ModelError("the header is damaged: its checksum does not fit", where=str(path), fix=REDO)
    body = mapped[8 + size :]
    arrays, end = {}, 0
    for name, said in header.items():
        if not _is_array(said, end):
            raise ModelError(
                f"the header is damaged: {name!r} is no array that begins at byte {end}", where=str(path), fix=REDO
            )
        start, end = said["data_offsets"]
        if end > len(body):
            raise ModelError(f"the file ends within {name!r}", where=str(path), fix=REDO)
        if zlib.crc32(_bytes(body[start:end])) != checksums.get(name):
            raise ModelError(f"{name!r} is damaged: its checksum does not fit", where=str(path), fix=REDO)
        arrays[name] = body[start:end].view(DTYPES[said["dtype"]]).reshape(said["shape"])
    if end != len(body):
        raise ModelError(
            f"the file goes on for {len(body) - end:,} bytes after its last array", where=str(path), fix=REDO
        )
    return arrays, about


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {type(value).__name__}")
    return value


def _is_array(said: Any, begin: int) -> bool:
    """Whether a header's words describe an array of known type whose bytes begin at `begin` and are as many as its
    shape takes.
    """
    if not isinstance(said, dict) or said.keys() != {"dtype", "shape", "data_offsets"}:
        return False
    dtype, shape, offsets = said["dtype"], said["shape"], said["data_offsets"]
    lists = isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2 and len(shape) <= MOST_AXES
    if not lists or not isinstance(dtype, str) or dtype not in DTYPES:
        return False
    if any(type(n) is not int or n < 0 for n in (*shape, *offsets)) or offsets[0] != begin:
        return False
    return bool(offsets[1] - begin == math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize)


def _mark(header: Mapping[str, Any], words: Mapping[str, str]) -> str:
    """A checksum of all else that the header says."""
    rest = {name: value for name, value in header.items() if name != "__metadata__"}
    return str(zlib.crc32(json.dumps([rest, words["about"], words["checksums"]]).encode()))


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
