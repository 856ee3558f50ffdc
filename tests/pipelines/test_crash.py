"""`kill -9` at any moment, then the same command: the same state as a clean run, and almost nothing encoded twice."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fovea.pipelines import ingest
from fovea.pipelines.pipeline import Pipeline

CHILD = """
import sys
from pathlib import Path
from fovea.pipelines import ingest
from fovea.pipelines.pipeline import Pipeline
from fovea.rag.encoders.hash import HashEncoder

ingest.GROUP_CHUNKS, ingest.SLICE_CHUNKS = 40, 8
log, real = open(sys.argv[2], "a"), HashEncoder.encode

def encode(self, texts, role="document"):
    if role == "document":
        log.write(f"{len(texts)}\\n")
        log.flush()
    return real(self, texts, role)

HashEncoder.encode = encode
with Pipeline(base=sys.argv[1], encoder="hash", segment={"use": "sentence", "max_tokens": 16},
              store={"use": sys.argv[3]}, pool={"use": sys.argv[4]}, situate=sys.argv[5] or None) as pipeline:
    pipeline.ingest(Path(sys.argv[1]) / "docs")
"""
FILES, SENTENCES = 40, 25


def write_docs(root: Path) -> None:
    draw = random.Random(7)
    words = [f"w{i}" for i in range(400)]
    for i in range(FILES):
        lines = [f"File {i} line {j} says {' '.join(draw.choices(words, k=8))}." for j in range(SENTENCES)]
        path = root / "docs" / f"{i % 4}" / f"{i:03}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")


def state(root: Path, store: str, pool: str, situate: str) -> dict:
    stages = {"segment": {"use": "sentence", "max_tokens": 16}, "store": {"use": store}, "pool": pool}
    stages["situate"] = situate or None
    with Pipeline(base=root, encoder="hash", **stages) as p:
        assert p.verify() == []
        library = p.corpus.library
        return {
            "chunks": sorted((c.id, c.source, c.text) for d in library.documents() for c in library.chunks_of(d.id)),
            "said": sorted(library.situations(range(1, 20_000)).values()),
            "sources": sorted((r.name, r.digest, r.status, r.chunks) for r in p.status()),
            "hits": [[(h.chunk.id, round(h.score, 5)) for h in p.retrieve(q)] for q in ("w1 w2 w3", "File 7 line 3")],
        }


def run(root: Path, log: Path, stages: tuple[str, str, str], kill_after: float | None) -> bool:
    """Whether the child came to its end by itself."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(root), str(log), *stages], stderr=subprocess.PIPE)
    if kill_after is None:
        _, errors = child.communicate()
        assert child.returncode == 0, errors.decode()
        return True
    began = time.monotonic()
    while not log.exists() and child.poll() is None and time.monotonic() - began < 60:
        time.sleep(0.01)  # Imports are over when the first text is encoded: only then is there something to interrupt.
    time.sleep(kill_after)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    return child.returncode == 0


def encoded(log: Path) -> int:
    return sum(int(n) for n in log.read_text().split()) if log.exists() else 0


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
@pytest.mark.parametrize(
    ("store", "pool", "situate"),
    [
        ("embedded", "separate", ""),
        ("embedded", "late", "headings"),
        ("chroma", "separate", ""),
    ],
)
def test_kill_at_random_moments_then_go_on(tmp_path, store, pool, situate):
    if store == "chroma":
        pytest.importorskip("chromadb")
    stages = (store, pool, situate)
    clean, torn = tmp_path / "clean", tmp_path / "torn"
    for root in (clean, torn):
        write_docs(root)
    began = time.monotonic()
    run(clean, tmp_path / "clean.log", stages, None)
    took = min(time.monotonic() - began, 3.0)
    draw, kills = random.Random(os.getpid()), 0
    for _ in range(4 if stages == ("embedded", "separate", "") else 2):
        if run(torn, tmp_path / "torn.log", stages, draw.uniform(0, took / 3)):
            break
        kills += 1
    run(torn, tmp_path / "torn.log", stages, None)
    assert kills
    assert state(torn, *stages) == state(clean, *stages)
    slice_chunks = 8
    again = encoded(tmp_path / "torn.log") - encoded(tmp_path / "clean.log")
    assert 0 <= again <= kills * slice_chunks, f"{again} texts encoded twice over {kills} kills"


def test_kill_inside_each_commit(tmp_path, monkeypatch):
    """Die between any two steps of the commit of a file: the file is wholly in or wholly out."""
    write_docs(tmp_path)
    from fovea.retrievers.library.library import Library

    class Died(BaseException):
        pass

    real = Library.replace
    left = [0]

    def replace(self, row, documents, **how):
        if left[0] == 0:
            raise Died
        left[0] -= 1
        return real(self, row, documents, **how)

    monkeypatch.setattr(Library, "replace", replace)
    monkeypatch.setattr(ingest, "GROUP_CHUNKS", 60)
    for n in (0, 1, 5, 17):
        left[0] = n
        with Pipeline(base=tmp_path, encoder="hash") as pipeline, pytest.raises(Died):
            pipeline.ingest(tmp_path / "docs")
        with Pipeline(base=tmp_path, encoder="hash") as pipeline:
            assert pipeline.verify() == []
            assert all(r.chunks > 0 for r in pipeline.status())
    monkeypatch.setattr(Library, "replace", real)
    with Pipeline(base=tmp_path, encoder="hash") as pipeline:
        report = pipeline.ingest(tmp_path / "docs")
        assert len(report.added) + report.unchanged == FILES
        assert pipeline.verify() == []
