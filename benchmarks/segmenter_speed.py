"""How fast segmenters that score gaps are, apart from the encoder: megabytes of text a second, and how time grows.

    python benchmarks/segmenter_speed.py [--data FILE] [--sizes 1 10] [--json]

Four parts, each by itself, in seconds of one core: `units` finds the sentences and how strongly the text breaks between
them (the same for all methods), `scores` scores the gaps with vectors given, `choose` picks boundaries of given scores,
`cuts` is all of making cuts of given scores, units and choosing included. `growth` is the time of the largest text over
that of the smallest, divided by the ratio of their sizes: 1 is linear. Vectors are random: time does not depend on what
they mean. Without `--data` the text is made of words drawn by rank, in paragraphs of four sentences of 18 words.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fovea.pipelines.evaluation.measurements import Row, show
from fovea.rag.types import Document
from fovea.segmenters.gaps import GapSegmenter
from fovea.segmenters.learned import LearnedSegmenter
from fovea.segmenters.topical_change import TopicalChangeSegmenter
from fovea.segmenters.units import Units
from tests.gap_fixtures import CheapEncoder, gap_segmenters, label

BENCH, DIM = "segmenter_speed", 384
PARTS = ("units", "scores", "choose", "cuts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a text file, repeated or cut to each size")
    parser.add_argument("--sizes", type=float, nargs="+", default=[1, 10], help="megabytes of text")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    source = args.data.read_text("utf-8") if args.data else written(1)
    texts = {size: sized(source, size) for size in sorted(args.sizes)}
    print(show(measure(texts, args.data.name if args.data else "made up", args.repeats), as_json=args.json))


def written(megabytes: float, *, seed: int = 0) -> str:
    """A text in which the word of rank r is drawn about as often as 1 / r."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    words = ["".join(rng.choice(letters, n)) for n in rng.integers(2, 10, 20_000)]
    drawn = np.minimum(rng.zipf(1.2, int(megabytes * 180_000)) - 1, len(words) - 1).tolist()
    sentences = [" ".join(words[i] for i in drawn[at : at + 18]).capitalize() + "." for at in range(0, len(drawn), 18)]
    return "\n\n".join(" ".join(sentences[at : at + 4]) for at in range(0, len(sentences), 4))


def sized(source: str, megabytes: float) -> str:
    """`source` repeated, or cut, to so many megabytes of UTF-8."""
    data, wanted = (source + "\n\n").encode(), int(megabytes * 1e6)
    return (data * -(-wanted // len(data)))[:wanted].decode("utf-8", "ignore")


def measure(texts: dict[float, str], data: str, repeats: int) -> Iterator[Row]:
    sizes = list(texts)
    for segmenter in gap_segmenters(shipped=True):
        found = {size: seconds(segmenter, text, repeats) for size, text in texts.items()}
        for part in PARTS:
            for size in sizes:
                spent, n = found[size][part], int(found[size]["n"])
                settings = {**segmenter.settings(), "megabytes": size}
                where, what = f"{data}, {size:g} MB", f"{part} MB/s"
                yield Row(BENCH, where, label(segmenter), what, size / spent, n=n, seconds=spent, settings=settings)
            if len(sizes) > 1:
                growth = found[sizes[-1]][part] / found[sizes[0]][part] * sizes[0] / sizes[-1]
                where = f"{data}, {sizes[0]:g} to {sizes[-1]:g} MB"
                yield Row(BENCH, where, label(segmenter), f"{part} growth", growth, settings=segmenter.settings())


class Given(CheapEncoder):
    """Vectors made beforehand, row by row of the distinct texts that ask for them."""

    rows: Any
    reads: str

    @property
    def space(self):
        return self.reads

    def encode(self, texts, role="document"):
        return self.rows[: len(texts)]


def seconds(segmenter: GapSegmenter, text: str, repeats: int) -> dict[str, float]:
    """Time of each part, the fastest of `repeats`."""
    units = Units.sentences(text)
    vectors = np.random.default_rng(0).normal(size=(len(units), DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    encoder = Given.model_construct(size=DIM, rows=vectors, reads=vectors_of(segmenter))
    scores = segmenter.scores(units, encoder)

    class Known(type(segmenter)):  # type: ignore[misc]
        def scores(self, units, encoder):
            return scores

    known, document = Known.model_construct(**dict(segmenter)), Document("d", text)
    return {
        "n": len(units),
        "units": fastest(lambda: Units.sentences(text), repeats),
        "scores": fastest(lambda: segmenter.scores(units, encoder), repeats),
        "choose": fastest(lambda: segmenter.choose(scores, None), repeats),
        "cuts": fastest(lambda: list(known.cuts(text, document, encoder)), repeats),
    }


def vectors_of(segmenter: GapSegmenter) -> str:
    """Whose vectors the weights of a learned one read."""
    if not isinstance(segmenter, LearnedSegmenter):
        return ""
    return str(
        (segmenter.heads[0] if isinstance(segmenter, TopicalChangeSegmenter) else segmenter.trained).about["encoder"]
    )


def fastest(action: Callable[[], Any], repeats: int) -> float:
    def once() -> float:
        began = process_time()
        action()
        return process_time() - began

    return max(min(once() for _ in range(repeats)), 1e-6)


if __name__ == "__main__":
    main()
