"""Numba 0.68.1 (numba/core/caching.py) raises ModuleNotFoundError for a kernel whose cached types have moved to another
module: kernels of another layout are removed before they are loaded."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

from fovea.attention_retrieval.kernels.layout import drop_other_layouts

SUMS = "from numba import njit\n\n\n@njit(cache=True)\ndef total(pair):\n    return pair.a + pair.b\n"
PAIR = "from typing import NamedTuple\n\n\nclass Pair(NamedTuple):\n    a: float\n    b: float\n"


def summed(root: Path, module: str) -> subprocess.CompletedProcess[str]:
    code = f"from {module} import Pair\nfrom kernels.sums import total\nprint(total(Pair(1.0, 2.0)))"
    return subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)


def test_a_kernel_of_a_class_that_moved_is_compiled_anew(tmp_path):
    kernels = tmp_path / "kernels"
    kernels.mkdir()
    (kernels / "__init__.py").touch()
    (kernels / "sums.py").write_text(SUMS)
    (tmp_path / "old_place.py").write_text(PAIR)
    assert drop_other_layouts(tmp_path, kernels) == 0
    assert summed(tmp_path, "old_place").stdout == "3.0\n"
    assert drop_other_layouts(tmp_path, kernels) == 0, "nothing has moved"
    (tmp_path / "old_place.py").rename(tmp_path / "new_place.py")
    assert "No module named 'old_place'" in summed(tmp_path, "new_place").stderr, "what Numba does by itself"
    assert drop_other_layouts(tmp_path, kernels) >= 2
    assert summed(tmp_path, "new_place").stdout == "3.0\n"


def test_what_is_compiled_of_another_text_goes(tmp_path):
    kernels = tmp_path / "kernels"
    (kernels / "__pycache__").mkdir(parents=True)
    (kernels / "sums.py").write_text(SUMS)
    assert drop_other_layouts(tmp_path, kernels) == 0
    (kernels / "__pycache__" / "others.total-1.py311.nbi").touch()
    assert drop_other_layouts(tmp_path, kernels) == 0
    (kernels / "sums.py").write_text(SUMS.replace("pair.a + pair.b", "pair.a - pair.b"))
    assert drop_other_layouts(tmp_path, kernels) == 1, "another kernel may have it inlined"


def test_a_folder_that_cannot_be_written_is_left(tmp_path):
    kernels = tmp_path / "kernels"
    kernels.mkdir()
    (kernels / "__pycache__").write_text("in the way")
    assert drop_other_layouts(tmp_path, kernels) == 0
    shutil.rmtree(kernels)
    assert drop_other_layouts(tmp_path, kernels) == 0
