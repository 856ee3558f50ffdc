"""How fast texts become vectors: every back-end beside sentence-transformers' default, in one run.

    python benchmarks/encode.py [--data FOLDER_OR_FILE] [--chunks 120] [--rounds 3] [--json]

Chunks of 60 to 250 wordpieces are cut from the text files. Rounds alternate over the methods, in one process; the
fastest round of each is reported, with its CPU seconds, since a busy machine can only add to either. The cold start is
a fresh process that encodes one query, model already exported; sentence-transformers' is beside it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from fovea.pipelines.evaluation.measurements import Row, show
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.engines import cores, lacks_bfloat16, load_torch
from fovea.rag.errors import FoveaError
from fovea.rag.models import locate
from fovea.rag.onnx_export import cosines
from fovea.rag.wordpieces import ModelTokenizer

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
LIBRARY = Path(__file__).resolve().parents[1] / "examples" / "library"
WAYS = {
    "onnx float32": {"backend": "onnx"},
    "openvino float32": {"backend": "openvino"},
    "torch float32": {"backend": "torch"},
    "onnx int8": {"backend": "onnx", "precision": "int8"},
    "openvino bfloat16": {"backend": "openvino", "precision": "bfloat16"},
}
PEER = "sentence-transformers, its defaults"

COLD = """
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
SentenceTransformerEncoder(model={model!r}, device="cpu"{settings}).encode(["how hot is green tea?"], "query")
"""
COLD_PEER = """
from sentence_transformers import SentenceTransformer
SentenceTransformer({path!r}, device="cpu").encode("how hot is green tea?")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=LIBRARY, help="a text file, or a folder of .txt and .md files")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--chunks", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    print(show(measure(args), as_json=args.json))


def measure(args: argparse.Namespace) -> Iterator[Row]:
    path = locate(args.model).path
    tokenizer = ModelTokenizer.read(path / "tokenizer.json")
    chunks = cut(args.data, tokenizer, args.chunks)
    wordpieces = sum(tokenizer.count_many(chunks))
    data = f"{len(chunks)} chunks of {wordpieces / len(chunks):.0f} wordpieces from {args.data.name}"
    settings = {"model": args.model, "threads": cores(), "rounds": args.rounds}

    def row(method: str, metric: str, value: float | None, seconds: float | None = None) -> Row:
        return Row("encode", data, method, metric, value, n=len(chunks), seconds=seconds, settings=settings)

    ways, missing = make(args.model, path)
    found = rounds(ways, chunks, args.rounds)
    exact = found[PEER][2]
    for name, (wall, cpu, vectors) in found.items():
        yield row(name, "chunks/s", len(chunks) / wall, wall)
        yield row(name, "wordpieces/s", wordpieces / wall, wall)
        yield row(name, "times the default", found[PEER][0] / wall)
        yield row(name, "wordpieces per CPU second", wordpieces / cpu, cpu)
        yield row(name, "least cosine to the default", float(cosines(vectors, exact).min()))
        yield row(name, "cold start s", cold(name, args.model, path, args.rounds))
    for name in missing:
        yield row(name, "chunks/s", None)


def cut(data: Path, tokenizer: ModelTokenizer, count: int) -> list[str]:
    """Pieces of 60 to 250 wordpieces, in the order of the files, sizes drawn with a fixed seed."""
    files = [data] if data.is_file() else sorted([*data.rglob("*.txt"), *data.rglob("*.md")])
    draw, chunks = np.random.default_rng(0), []
    for file in files:
        text = file.read_text("utf-8", "replace")
        offsets, at = tokenizer.offsets(text), 0
        while at < len(offsets) and len(chunks) < count:
            end = min(at + int(draw.integers(60, 251)), len(offsets))
            chunks.append(text[offsets[at][0] : offsets[end - 1][1]])
            at = end
    if not chunks:
        raise SystemExit(f"no text in {data}")
    return chunks


def make(model: str, path: Path) -> tuple[dict[str, Callable[[list[str]], np.ndarray]], list[str]]:
    """What can run here, warmed up, and what cannot."""
    library = load_torch(path)
    ways: dict[str, Callable[[list[str]], np.ndarray]] = {PEER: lambda t: library.encode(t, show_progress_bar=False)}
    missing = []
    for name, settings in WAYS.items():
        encoder = SentenceTransformerEncoder(model=model, device="cpu", **settings)
        try:
            encoder.encode(["warm up"])
        except FoveaError as error:
            print(f"{name}: {error}", file=sys.stderr)
            missing.append(name)
        else:
            ways[name] = encoder.encode
    for way in ways.values():
        way(["warm up, with a text of some length " * 5])
    return ways, missing


def rounds(
    ways: dict[str, Callable[[list[str]], np.ndarray]], chunks: list[str], times: int
) -> dict[str, tuple[float, float, np.ndarray]]:
    """Least wall and CPU seconds of each way, and its vectors."""
    found: dict[str, tuple[float, float, np.ndarray]] = {}
    for _ in range(times):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            vectors = way(chunks)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            old = found.get(name, (wall, cpu, vectors))
            found[name] = (min(wall, old[0]), min(cpu, old[1]), vectors)
    return found


def cold(name: str, model: str, path: Path, times: int) -> float:
    """Least wall seconds of a fresh process that encodes one query."""
    if name == PEER:
        code = COLD_PEER.format(path=str(path))
    else:
        code = COLD.format(model=model, settings="".join(f", {k}={v!r}" for k, v in WAYS[name].items()))
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env={**os.environ})
        best = min(best, time.perf_counter() - began)
    return best


if __name__ == "__main__":
    if lack := lacks_bfloat16():
        del WAYS["openvino bfloat16"]
        print(f"bfloat16 left out: {lack}", file=sys.stderr)
    main()
