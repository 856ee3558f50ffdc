"""Compiled kernels that are kept on disk, and when they cannot be read any more.

Numba keeps what it has compiled in `__pycache__`, in files that name the modules of the types they take. Where such a
module has moved since, in a newer version, Numba 0.68 does not compile anew: it raises ModuleNotFoundError at the first
call. Nor does it when a kernel that was inlined into another has changed in its own file: it runs the old one. So what
another layout of the wing's modules, or other kernels, have left is removed before a kernel is loaded.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from zlib import crc32

MARK = "layout"


def drop_other_layouts(wing: Path, kernels: Path) -> int:
    """Remove what was compiled when the modules below `wing` had other names, or kernels other texts; says how many
    files that were.

    A folder that cannot be written is left: Numba keeps its files elsewhere then.
    """
    names = sorted(str(path.relative_to(wing)) for path in wing.rglob("*.py"))
    texts = [path.read_bytes() for path in sorted(kernels.glob("*.py"))]
    here = f"{crc32(b''.join(texts), crc32(chr(0).join(names).encode())):08x}"
    mark = kernels / "__pycache__" / MARK
    with suppress(OSError):
        if mark.exists() and mark.read_text() == here:
            return 0
        found = [path for ending in ("*.nbi", "*.nbc") for path in mark.parent.glob(ending)]
        for path in found:
            path.unlink(missing_ok=True)
        mark.parent.mkdir(exist_ok=True)
        mark.write_text(here)
        return len(found)
    return 0
