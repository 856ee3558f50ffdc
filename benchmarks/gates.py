"""How much attention do the blocks hold that a selection reads? Learned gates beside what needs no training.

    fovea capture --model smollm2 --text FILE --out FILE.st --layers 0,1,...,29 --tokens 2048 --held-out 64 --decode 0 \
        --share .25 --last 0
    python benchmarks/gates.py --data DUMPS/*.st --seer gates/seer [--landmark ...] [--value-gate ...] [--json]

`--data` holds dumps, one a text, none of which a gate was trained on. A step is a held-out query behind the text; a
selection over the text's rows reads `--share` of them, the same ones for a kv head's group. Mass is what these rows
hold of the query head's own attention to all rows of the text; the mean over heads, steps and layers. `--sinks` and
`--window` take rows out that are always read: then mass is of what is between them.

oracle       the blocks of the largest attention of any row, any query of the group: what `seer` is trained towards
most mass    the blocks of the most attention, the mean of the group: no choice of blocks a group holds more

`queries` weighs a block's keys by the prompt's own queries, those in the dump; the others that need no training see
keys alone. Intervals are over texts. Each gate also stands against Quest's `bounds` and against the best that needs no
training, text by text, and by the share of kv heads that gain in the mean over texts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fovea.attention_retrieval.capture.dump import Dump, Layer, as_float
from fovea.attention_retrieval.selection.blocks import best, rows_of
from fovea.attention_retrieval.selection.reading import RowsSelected
from fovea.attention_retrieval.selection.selection import Queries, Selection
from fovea.attention_retrieval.vectors import Vectors
from fovea.pipelines.evaluation.measurements import Row, interval, show

UNTRAINED = ("bounds", "mean", "last", "queries")
GATES = ("seer", "landmark", "value_gate")


class Case(NamedTuple):
    """One layer of a dump, and its steps."""

    keys: Vectors
    values: Vectors
    start: int
    stop: int
    rows: np.ndarray
    """Of the queries, (steps,)."""
    asked: np.ndarray
    """(kv heads, group, steps, d), times the scaling."""
    weights: np.ndarray
    """Attention to rows [start, stop), summing up to 1, (kv heads, group, steps, rows)."""
    prompt: Queries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", type=Path, required=True, metavar="DUMP")
    for name in GATES:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="FOLDER", help="its gates")
    parser.add_argument("--size", type=int, default=64, help="rows of a block (64)")
    parser.add_argument("--share", type=float, default=1 / 8, help="of the blocks that are read (an eighth)")
    parser.add_argument("--steps", type=int, default=16, help="of a text (16)")
    parser.add_argument("--sinks", type=int, default=0)
    parser.add_argument("--window", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    print(show(rows(args), as_json=args.json))


def rows(args: argparse.Namespace) -> list[Row]:
    """Means by method, and what gates are better by."""
    found: dict[str, list[np.ndarray]] = {}
    for path in args.data:
        for name, each in of_text(Dump.open(path), args).items():
            found.setdefault(name, []).append(each)
    held = {name: np.stack(each) for name, each in found.items()}  # (texts, layers, kv heads)
    data = f"{len(args.data)} texts, blocks of {args.size}, {args.share:.3g} read"
    data += f", sinks {args.sinks}, window {args.window}"
    best_plain = max(UNTRAINED, key=lambda name: held[name].mean())
    made = []
    for name, mass in held.items():
        made.append(Row("gates", data, name, "mass", *interval(mass.mean(axis=(1, 2))), n=len(mass)))
        share = mass.mean(axis=(1, 2)) / held["oracle"].mean(axis=(1, 2))
        made.append(Row("gates", data, name, "of oracle", *interval(share), n=len(mass)))
        for plain in dict.fromkeys(("bounds", best_plain)) if name in GATES else ():
            more = mass - held[plain]
            made.append(Row("gates", data, name, f"above {plain}", *interval(more.mean(axis=(1, 2))), n=len(more)))
            gain = float((more.mean(axis=0) > 0).mean())
            made.append(Row("gates", data, name, f"heads above {plain}", gain, n=more[0].size))
    return made


def of_text(dump: Dump, args: argparse.Namespace) -> dict[str, np.ndarray]:
    """By method the mass that is kept, (layers, kv heads)."""
    each = [of_layer(case(dump, layer, args), args, layer) for layer in dump.facts.layers]
    return {name: np.stack([mine[name] for mine in each]) for name in each[0]}


def of_layer(case: Case, args: argparse.Namespace, layer: int) -> dict[str, np.ndarray]:
    """By method, (kv heads,)."""
    blocks = -(-(case.stop - case.start) // args.size)
    count = max(round(blocks * args.share), 2)
    chosen = dict(oracles(case, args.size, count))
    for name, selection in selections(args, count * args.size).items():
        made = selection.in_layer(layer).over(case.keys, case.values, case.start, case.stop, queries=case.prompt)
        assert isinstance(made, RowsSelected)
        chosen[name] = read_by(made, case)
    return {name: kept(case, ids) for name, ids in chosen.items()}


def selections(args: argparse.Namespace, top_k: int) -> dict[str, Selection]:
    """What is compared, of the same budget."""
    plain = {by: {"use": "block_bounds", "represent": by, "size": args.size} for by in UNTRAINED}
    given = {name: getattr(args, name) for name in GATES}
    gated = {name: {"use": name, "gates": gates, "size": args.size} for name, gates in given.items() if gates}
    return {name: Selection.model_validate({**use, "top_k": top_k}) for name, use in {**plain, **gated}.items()}


def oracles(case: Case, size: int, count: int) -> Iterator[tuple[str, Callable[[int], np.ndarray]]]:
    """By the attention itself: the rows of a step, (kv heads, rows)."""
    edges = np.arange(0, case.stop - case.start, size)
    most = np.log(np.maximum(np.maximum.reduceat(case.weights, edges, axis=3).max(axis=1), 1e-30))
    mass = np.add.reduceat(case.weights, edges, axis=3).mean(axis=1)
    for name, scores in (("oracle", most), ("most mass", mass)):
        yield name, lambda n, scores=scores: rows_of(best(scores[:, n : n + 1], count), case.start, case.stop, size)


def read_by(made: RowsSelected, case: Case) -> Callable[[int], np.ndarray]:
    """The rows that a selection reads in a step."""

    def step(n: int) -> np.ndarray:
        made.now = int(case.rows[n])
        return made.choose(np.ascontiguousarray(case.asked[:, :, n])).ids

    return step


def kept(case: Case, ids: Callable[[int], np.ndarray]) -> np.ndarray:
    """The mass of these rows, the mean over steps and the group, (kv heads,)."""
    total = np.zeros(len(case.weights))
    for n in range(len(case.rows)):
        for head, mine in enumerate(ids(n)):
            total[head] += case.weights[head, :, n, mine[mine >= 0] - case.start].sum(axis=0).mean()
    return total / len(case.rows)


def case(dump: Dump, layer: int, args: argparse.Namespace) -> Case:
    """Keys and values as a cache holds them, and attention by the dump's own numbers."""
    facts, of = dump.facts, dump.layer(layer)
    start, stop = args.sinks, facts.tokens - args.window
    at = dump.held_out[np.linspace(0, len(dump.held_out) - 1, args.steps).astype(int)]
    asked = grouped(of, at, facts.kv_heads)
    logits = np.einsum("hgnd,hrd->hgnr", asked, as_float(of.keys[:, start:stop]))
    weights = np.exp(logits - logits.max(axis=3, keepdims=True))
    stored = []
    for rows in (of.keys, of.values):
        vectors = Vectors(facts.kv_heads, rows.shape[2], "bf16")
        vectors.append(rows[:, : facts.tokens])
        stored.append(vectors)
    prompt = grouped(of, dump.train, facts.kv_heads).swapaxes(1, 2)
    queries = Queries(lambda head: prompt[head].reshape(-1, facts.d), lambda head: dump.query_rows[dump.train])
    return Case(*stored, start, stop, dump.query_rows[at], asked, weights / weights.sum(axis=3, keepdims=True), queries)


def grouped(layer: Layer, at: np.ndarray, kv_heads: int) -> np.ndarray:
    """Kept queries, (kv heads, group, n, d)."""
    made = layer.query(slice(None), at)
    return made.reshape(kv_heads, -1, *made.shape[1:])


if __name__ == "__main__":
    main()
