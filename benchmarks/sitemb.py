"""What SitEmb's adapter is worth beside every cheaper way to situate chunks, and beside a map of questions alone.

    python benchmarks/sitemb.py --data ../shared/data [--split test] [--cache FOLDER] [--json]

TimeQA's pages, whose answers are annotated by paragraph, and SQuALITY's stories, whose answers are silver labels made
of words; all documents of a part lie in one index. Differences to `chunk only` are paired by question, with 95 %
bootstrap intervals. The maps of questions alone are trained here, by the adapter's recipe and on its data, with the
weights of chunks held where they began; all else is as it ships. No setting was chosen on the questions of `test`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fovea.pipelines.bench.shared_encoder import FileMemory
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.evaluation.ranking_metrics import scores
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.remember import Kept, RememberingEncoder
from fovea.rag.trained import load
from fovea.rag.training import train as training
from fovea.rag.windows import scaled
from fovea.retrievers.collection import Collection
from fovea.retrievers.collections.read import read
from fovea.retrievers.situators.headings import HeadingSituator
from fovea.retrievers.situators.late import LateSituator
from fovea.retrievers.situators.sitemb import SitEmbSituator
from fovea.retrievers.training.sitemb import SitEmbRecipe

sys.path.insert(0, str(Path(__file__).resolve().parent))
from situate import KEPT, Pages

SETS = {"timeqa": "temporal/timeqa", "squality": "stories/squality"}
LEARNED_ON = (*SETS.values(), "qa/xquad_en")
BEGUN = {"query map": 0.0, "query map on chunk + .5 heading": 0.5}
"""What the heading weighs in rows whose map alone is trained."""


def maps(collections: list[Collection], encoder: RememberingEncoder) -> dict[str, np.ndarray]:
    """The matrix of each row of `BEGUN`."""
    made = {}
    for name, begin in BEGUN.items():
        recipe = SitEmbRecipe(begin=begin)
        task = recipe.prepare(collections, encoder, 0)
        task.model.moves.requires_grad_(False)
        for found in (*task.train, *task.dev):
            found.around.zero_()
        with tempfile.TemporaryDirectory() as out:
            training.complete(task, recipe, encoder, Path(out), seed=0, data="")
            made[name] = load(out, "sitemb", "retriever").arrays["map"]
    return made


def rankings(pages: Pages, learned: dict[str, np.ndarray]) -> Iterator[tuple[str, list[list[str]]]]:
    """The ten nearest chunks of each question, for every way to situate chunks and to map questions."""
    adapter, asked = load("sitemb", "sitemb", "retriever"), pages.asked
    heading = pages.situated(HeadingSituator())
    chunks = {
        "chunk only": (pages.own, None),
        "prefix: title and headings": (pages.situated(HeadingSituator(form="prefix")), None),
        "late chunking": (pages.situated(LateSituator()), None),
        "residual 1, untrained: + prefixed": (pages.situated(HeadingSituator(form="residual", weight=1.0)), None),
        "chunk + .5 heading": (heading, None),
        "query map": (pages.own, learned["query map"]),
        "query map on chunk + .5 heading": (heading, learned["query map on chunk + .5 heading"]),
        "sitemb": (pages.situated(SitEmbSituator()), adapter.arrays["map"]),
    }
    ids = np.array([chunk.id for chunk in pages.chunks])
    for name, (vectors, matrix) in chunks.items():
        questions = asked if matrix is None else scaled(asked + asked @ matrix.T)
        order = np.argsort(-(questions @ np.concatenate(vectors).T), axis=1, kind="stable")
        yield name, [list(ids[row]) for row in order[:, :KEPT]]


def compared(collection: Collection, ranked: dict[str, list[list[str]]], data: str) -> Iterator[Row]:
    """R@1, R@5 and MRR@10 of each row, and how far R@5 is from that of `chunk only` and of `sitemb`."""
    relevant = [q.relevant for q in collection.questions]
    found = {name: scores(lists, relevant, needed_by="benchmarks/sitemb.py") for name, lists in ranked.items()}
    for name, values in found.items():
        for metric in ("R@1", "R@5", "MRR@10"):
            yield Row("sitemb", data, name, metric, *interval(values[metric]), n=len(relevant))
    pairs = [(name, "chunk only") for name in found] + [("sitemb", name) for name in found if name != "chunk only"]
    for name, base in dict.fromkeys(pairs):
        if name != base:
            row = interval(found[name]["R@5"] - found[base]["R@5"])
            yield Row("sitemb", f"{data}, difference", f"{name} - {base}", "R@5", *row, n=len(relevant))


def measure(data: Path, split: str, reader: RememberingEncoder) -> Iterator[Row]:
    """Every row, for both sets."""
    learned = maps([read(data / path) for path in LEARNED_ON], reader)
    for name, path in SETS.items():
        collection = read(data / path).part(split)  # type: ignore[arg-type]
        pages = Pages.of(collection, reader)
        counts = f"{len(pages.parts)} documents, {len(collection.chunks)} chunks"
        yield from compared(collection, dict(rankings(pages, learned)), f"{name} {split}: {counts}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with temporal, stories and qa")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--cache", type=Path, help="folder to keep vectors in")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    encoder = SentenceTransformerEncoder(offline=True)
    reader = RememberingEncoder.of(encoder, FileMemory(args.cache, encoder) if args.cache else Kept())
    print(show(measure(args.data, args.split, reader), as_json=args.json))


if __name__ == "__main__":
    main()
