"""A file of arrays: what is read is what was written, or nothing."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from fovea.attention_retrieval.cache import tensorfile
from fovea.rag.errors import ModelError


def test_no_flipped_bit_is_read_as_something_else(tmp_path):
    """A bit of each byte, the header's too: another name, number or word of it is as wrong as another value."""
    path, found = tmp_path / "a.kv", []
    arrays, about = {"layer.0": np.arange(4, dtype=np.float32)}, {"made": "first", "tokens": 12}
    tensorfile.write(path, arrays, about)
    content = bytearray(path.read_bytes())
    for place in range(len(content)):
        content[place] ^= 1 << place % 7
        path.write_bytes(content)
        content[place] ^= 1 << place % 7
        with suppress(ModelError):
            found.append(tensorfile.read(path))
    assert len(found) <= 64, "white space behind the header, whose kind does not matter"
    for read, words in found:
        assert words == about
        assert {name: array.tolist() for name, array in read.items()} == {"layer.0": [0, 1, 2, 3]}
