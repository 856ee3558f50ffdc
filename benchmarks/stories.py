"""What situating chunks could be worth on stories at most, with the encoder at hand: ceilings, not methods.

    python benchmarks/stories.py --data ../shared/data [--split train] [--cache FOLDER] [--json]

SQuALITY's stories and questions, all stories of a part in one index; answers are silver labels made of words. Rows:

    chunk only               R@5 of the encoder's own vectors
    its story known          only chunks of the question's story are ranked: whatever says which story a chunk is of
                             cannot give more
    chance in its story      five of the story's chunks, drawn
    x + A * mean of W        chunks by their vectors and A times the mean of W neighbours a side (or the story's),
                             the best of WIDTHS and WEIGHTS *by these very questions*: an upper bound, no result
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fovea.pipelines.bench.shared_encoder import FileMemory
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.evaluation.ranking_metrics import scores
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.remember import Kept, RememberingEncoder
from fovea.rag.windows import scaled
from fovea.retrievers.collection import Collection
from fovea.retrievers.collections.read import read

WIDTHS, WEIGHTS = (1, 2, 4, 8, None), (0.25, 0.5, 1.0, 2.0)


def around(vectors: np.ndarray, stories: np.ndarray, width: int | None) -> np.ndarray:
    """The mean of each chunk and of `width` neighbours on either side in its story; of the story, without."""
    means = np.empty_like(vectors)
    for story in dict.fromkeys(stories):
        rows = np.flatnonzero(stories == story)
        reach = len(rows) if width is None else width
        for n, row in enumerate(rows):
            means[row] = vectors[rows[max(n - reach, 0) : n + reach + 1]].mean(axis=0)
    return means


def recall(similarity: np.ndarray, collection: Collection) -> np.ndarray:
    """R@5 of each question."""
    ids, relevant = [chunk.id for chunk in collection.chunks], [asked.relevant for asked in collection.questions]
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :5]
    lists = [[ids[n] for n in row] for row in order]
    return np.asarray(scores(lists, relevant, needed_by="benchmarks/stories.py")["R@5"])


def measure(collection: Collection, encoder: RememberingEncoder, data: str) -> Iterator[Row]:
    """Every row, with its difference to `chunk only`."""
    chunks, questions = collection.chunks, collection.questions
    own = np.asarray(encoder.encode([chunk.text for chunk in chunks]))
    asked = np.asarray(encoder.encode([each.query.text for each in questions], role="query"))
    stories = np.array([chunk.document_id for chunk in chunks])
    story_of = dict(zip([chunk.id for chunk in chunks], stories))
    inside = np.array([stories == story_of[next(iter(each.relevant))] for each in questions])
    near = asked @ own.T
    found = {"chunk only": recall(near, collection), "its story known": recall(np.where(inside, near, -9), collection)}
    plain = found["chunk only"]
    mixed = {
        f"x + {weight} * mean of {'the story' if width is None else width}": recall(
            asked @ scaled(own + weight * around(own, stories, width)).T, collection
        )
        for width in WIDTHS
        for weight in WEIGHTS
    }
    best = max(mixed, key=lambda name: mixed[name].mean())
    for name, values in {**found, f"{best}, chosen on these questions": mixed[best]}.items():
        yield Row("stories", data, name, "R@5", *interval(values), n=len(values))
        if name != "chunk only":
            yield Row("stories", f"{data}, difference", name, "R@5", *interval(values - plain), n=len(values))
    chance = float((5 / inside.sum(axis=1)).clip(max=1).mean())
    yield Row("stories", data, "chance in its story", "R@5", chance, n=len(questions))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with stories/squality")
    parser.add_argument("--split", choices=("train", "dev", "test"), default="test")
    parser.add_argument("--cache", type=Path, help="folder to keep vectors in")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    base = SentenceTransformerEncoder(offline=True)
    encoder = RememberingEncoder.of(base, FileMemory(args.cache, base) if args.cache else Kept())
    collection = read(args.data / "stories" / "squality").part(args.split)
    data = f"squality {args.split}: {len(collection.chunks)} chunks"
    print(show(measure(collection, encoder, data), as_json=args.json))


if __name__ == "__main__":
    main()
