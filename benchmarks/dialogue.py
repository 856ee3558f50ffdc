"""Where dialogues come to another subject: spliced small talk and days of chat, chats and meetings as they are.

    python benchmarks/dialogue.py --data ../shared/data [--cache build] [--seed 0] [--texts 60] [--json]

    spliced days (dev)    LoCoMo's days of chat, 3 to 8 joined; the settings of `dialogue` were chosen on such
    spliced answers  questions with answers on a paragraph each (XQuAD), 3 to 8 joined, of the part not trained on
    spliced chats    TIAGE's chats, 3 to 8 joined: no weight was learned and no setting chosen on them
    chats            TIAGE's chats as they are, topics as their annotators marked them
    meetings         QMSum's validation part

Half of the splices are made of whole dialogues, half of runs of 4 to 20 turns. `dialogue` learned from meetings of
QMSum's training part, speech in stories and questions with answers. The encoder is all-MiniLM-L6-v2; intervals are over
documents.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from dialogue_sets import Dialogue, answers, chats, days

from fovea.pipelines.bench.segmentation import rows
from fovea.pipelines.bench.segmentation_methods import Method, chosen, references
from fovea.pipelines.evaluation.measurements import show
from fovea.rag.encoder import Encoder
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.segmenters.corpora.drawn import drawn
from fovea.segmenters.corpora.read import read
from fovea.segmenters.sectioned import Sectioned
from fovea.segmenters.units import Units

METHODS = (
    "dialogue, pointer, hnet_rule, sage, {use: texttiling, similarity: embeddings}, texttiling, c99, "
    "{use: c99, similarity: embeddings}"
)
RUNS = ((4, 10), (5, 15), (8, 20))


def spliced(name: str, pool: Sequence[Dialogue], texts: int, seed: int) -> list[Sectioned]:
    """`texts` documents of 3 to 8 dialogues, every other one of whole dialogues."""
    return [_spliced(np.random.default_rng([seed, number]), name, pool, number) for number in range(texts)]


def _spliced(rng: np.random.Generator, name: str, pool: Sequence[Dialogue], number: int) -> Sectioned:
    low, high = RUNS[number // 2 % len(RUNS)]
    turns: list[str] = []
    ends: list[int] = []
    for index in rng.permutation(len(pool))[: int(rng.integers(3, 9))].tolist():
        part = pool[index][1]
        if number % 2:
            size = min(len(part), int(rng.integers(low, high + 1)))
            start = int(rng.integers(len(part) - size + 1))
            part = part[start : start + size]
        turns += part
        ends.append(len(turns) - 1)
    boundaries = np.zeros(len(turns) - 1, bool)
    boundaries[ends[:-1]] = True
    return Sectioned(f"{name} {number}", Units.given(turns), boundaries, name)


def even(units: Units, encoder: Encoder, count: int | None) -> np.ndarray:
    """`count` boundaries, equally far apart."""
    found = np.zeros(len(units) - 1, bool)
    found[np.linspace(0, len(units), (count or 0) + 2)[1:-1].astype(int) - 1] = True
    return found


def sets(data: Path, texts: int, seed: int) -> Iterator[tuple[str, list[Sectioned]]]:
    """The documents of each set."""
    pools = {
        "spliced days (dev)": list(days(data)),
        "spliced answers": [one for one in answers(data) if drawn(one[0]) == "test"],
        "spliced chats": list(chats(data)),
    }
    for name, pool in pools.items():
        yield name, spliced(name, pool, texts, seed)
    yield "chats", read(data / "dialogue/tiage")
    yield "meetings", read(data / "segmentation/qmsum/val")


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--cache", type=Path, help="where vectors are kept")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--texts", type=int, default=60, help="spliced documents of each set")
    parser.add_argument("--only", action="append", default=[], help="one of the sets above; repeatable")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    methods = [*chosen(args.methods), *references(args.seed), Method("even", even, unknown=False)]
    found = {n: s for n, s in sets(args.data, args.texts, args.seed) if not args.only or n in args.only}
    encoder = SentenceTransformerEncoder()
    made = rows(found, methods, encoder, cache=args.cache, missing=lambda why: print(why, file=sys.stderr))
    print(show(made, as_json=args.json))


if __name__ == "__main__":
    main()
