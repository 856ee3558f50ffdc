#!/usr/bin/env bash
# numba 0.68.1: after a class that a cached function takes has moved to another module, the function raises
# ModuleNotFoundError, though its own file is as it was.
#
# `@njit(cache=True)` writes an index beside the code (`__pycache__/*.nbi`) whose keys are the types of the arguments,
# pickled: a NamedTuple by the name of its module. Numba checks its own version and the time and size of the function's
# file before it trusts an entry, but it unpickles the whole index first, stamp and all. So where the module of the class
# was renamed (a package in a newer version, whose installer leaves `__pycache__` files that it did not write), the first
# call ends in ModuleNotFoundError; nothing is compiled anew. Removing the index files mends it.
#
# Seen: as above. Source: numba/core/caching.py, IndexDataCacheFile._load_index.
# Fovea removes the cached kernels of another layout of its modules on import (attention_retrieval/kernels/layout.py);
# tests/attention_retrieval/kernels/test_layout.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q --disable-pip-version-check "numba==0.68.1" 2>/dev/null
unset NUMBA_CACHE_DIR

cd "$work"
printf 'from typing import NamedTuple\nclass Pair(NamedTuple):\n    a: float\n    b: float\n' > old_place.py
printf 'from numba import njit\n@njit(cache=True)\ndef total(pair):\n    return pair.a + pair.b\n' > sums.py
venv/bin/python -c 'import numba; print("numba", numba.__version__)'
venv/bin/python -c 'from old_place import Pair; from sums import total; print("before:", total(Pair(1.0, 2.0)))'
mv old_place.py new_place.py
rm -f __pycache__/old_place.*
after=$(venv/bin/python -c 'from new_place import Pair; from sums import total; print(total(Pair(1.0, 2.0)))' 2>&1 | tail -1 || true)
echo "after the move: $after"
rm -f __pycache__/*.nbi
again=$(venv/bin/python -c 'from new_place import Pair; from sums import total; print(total(Pair(1.0, 2.0)))' 2>&1 | tail -1)
echo "without the index: $again"
[ "$after" = "ModuleNotFoundError: No module named 'old_place'" ] && [ "$again" = 3.0 ] || { echo "this has changed"; exit 1; }
