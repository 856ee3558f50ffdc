"""`kill -9` at random moments of writing: what was acknowledged is there, nothing is half there, the index is right."""

import random
import signal
from pathlib import Path

import numpy as np
import pytest

from fovea.retrievers.stores.embedded import EmbeddedStore
from tests.forked import Forked
from tests.library_tools import ENCODER, opened

KILLS = 6
WORK = """
import random
from pathlib import Path
from fovea.retrievers.stores import levels
from fovea.retrievers.stores.embedded import EmbeddedStore
from tests.library_tools import opened, put

levels.FEWEST_CHANGES = 10  # So that the base is written often enough to be killed while it is.

def work(path, said, seed, kind):
    path, draw = Path(path), random.Random(seed)
    with open(said, "w") as out, opened(path) as library:
        index = EmbeddedStore(path=path, index=kind).open(library)
        for step in range(10_000):
            name = f"s{draw.randrange(12)}"
            if draw.random() < 0.2:
                print("begin", name, 0, file=out, flush=True)
                library.remove([name])
                print("done", name, 0, file=out, flush=True)
            else:
                mark = seed * 10_000 + step + 1
                print("begin", name, mark, file=out, flush=True)
                put(library, name, f"mark{mark} " * draw.randrange(1, 60), size=23, metadata={"mark": mark})
                print("done", name, mark, file=out, flush=True)
            if step % 3 == 0:
                index.sync()

"""


def killed(
    forked: Forked, path: Path, said: Path, seed: int, index: str, after: float
) -> tuple[dict[str, int], tuple[str, int] | None]:
    """Run a writer that speaks into the file `said`, and kill it a while after its first word; returns the marks that
    it acknowledged and the change that it was at.
    """
    said.unlink(missing_ok=True)
    code = forked.run(str(path), str(said), seed, index, begun=said, after=after)
    assert code == -signal.SIGKILL, forked.errors()
    done: dict[str, int] = {}
    open_change = None
    for line in said.read_text().splitlines(keepends=True):
        if not line.endswith("\n"):
            continue
        what, name, mark = line.split()
        open_change = (name, int(mark)) if what == "begin" else None
        if what == "done":
            done[name] = int(mark)
    return done, open_change


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
@pytest.mark.parametrize("index", ["flat", "hnsw"])
def test_kill_at_random_moments(tmp_path, index):
    if index == "hnsw":
        pytest.importorskip("faiss")
    draw, expected = random.Random(), {}
    forked = Forked(WORK + ("import faiss\n" if index == "hnsw" else ""))
    for seed in range(KILLS if index == "flat" else KILLS // 3):
        done, at = killed(forked, tmp_path / "store", tmp_path / "said", seed, index, draw.uniform(0, 0.4))
        expected.update(done)
        with opened(tmp_path / "store") as library:
            assert library.check() == []
            found = marks(library)
            for name in expected.keys() | found.keys():
                allowed = {expected.get(name, 0)} | ({at[1]} if at and at[0] == name else set())
                assert found.get(name, 0) in allowed, f"{name} is neither before nor after its last change"
            expected = found
            right_index(library, tmp_path / "store", index)
    forked.close()


def marks(library) -> dict[str, int]:
    """The mark of each source; every chunk of a source must have the same."""
    found = {}
    for document in library.documents():
        mark = document.metadata["mark"]
        assert set(document.text.split()) == {f"mark{mark}"}
        assert "".join(c.text for c in library.chunks_of(document.id)) == document.text
        found[document.source] = mark
    assert {row.name: row.chunks for row in library.sources()} == {
        document.source: len(library.chunks_of(document.id)) for document in library.documents()
    }
    return found


def right_index(library, path: Path, kind: str) -> None:
    """The index agrees with brute force before and after it is synced."""
    index = EmbeddedStore(path=path, index=kind).open(library)
    rows = list(library.added(0))
    if not rows:
        assert index.search(ENCODER.encode(["x"])[0], 3) == []
        return
    nos, vectors = np.concatenate([r.nos for r in rows]), np.concatenate([r.vectors for r in rows]).astype(np.float64)
    for _ in range(2):
        assert index.check() == []
        for at in (0, len(nos) // 2, len(nos) - 1):
            scores = (vectors * vectors[at]).sum(axis=1)
            best = index.search(vectors[at].astype(np.float32), 1)
            assert best[0][1] == pytest.approx(scores.max(), abs=1e-6)
            assert best[0][0] in set(nos[scores > scores.max() - 1e-6].tolist())
        index.sync()
    index.close()
