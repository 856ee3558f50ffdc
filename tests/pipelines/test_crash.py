"""`kill -9` at any moment, then the same command: the same state as a clean run, and almost nothing encoded twice."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from fovea.pipelines import ingest
from fovea.pipelines.pipeline import Pipeline
from tests.forked import Forked

WORK = """
from pathlib import Path
from fovea.pipelines import ingest
from fovea.pipelines.pipeline import Pipeline
from fovea.rag.encoders.hash import HashEncoder

ingest.GROUP_CHUNKS, ingest.SLICE_CHUNKS = 40, 8
real = HashEncoder.encode

def work(root, log, store, pool, situate):
    with open(log, "a") as said:
        def encode(self, texts, role="document"):
            if role == "document":
                said.write(f"{len(texts)}\\n")
                said.flush()
            return real(self, texts, role)

        HashEncoder.encode = encode
        stages = {"store": {"use": store}, "pool": {"use": pool}, "situate": situate or None}
        segment = {"use": "sentence", "max_tokens": 16}
        with Pipeline(base=root, encoder="hash", segment=segment, **stages) as pipeline:
            pipeline.ingest(Path(root) / "docs")

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
    forked = Forked(WORK + ("import chromadb\n" if store == "chroma" else ""))
    began = time.monotonic()
    assert forked.run(str(clean), str(tmp_path / "clean.log"), *stages) == 0, forked.errors()
    took = min(time.monotonic() - began, 3.0)
    draw, kills, log = random.Random(os.getpid()), 0, tmp_path / "torn.log"
    for _ in range(4 if stages == ("embedded", "separate", "") else 2):
        if forked.run(str(torn), str(log), *stages, begun=log, after=draw.uniform(0, took / 3)) == 0:
            break
        kills += 1
    assert forked.run(str(torn), str(log), *stages) == 0, forked.errors()
    forked.close()
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
