"""Wider heads out of an encoder's: a dump to measure speed on where no model with such heads is at hand.

    fovea capture --model sentence-transformers/all-MiniLM-L6-v2 --text TEXT --ask OTHER --tokens 131072 --out narrow.st
    python benchmarks/attention_wide.py --data narrow.st --out wide.st [--layer 4] [--wide 4] [--group 4]
    fovea bench attention --data wide.st

`--wide` heads side by side are one head: its keys, queries and values are theirs, one after the other, so a logit is
the sum of their logits. `--group` kept queries that follow each other, so of one passage, are those of one position.
Keys and queries are real and lie apart as they do; that these heads would be of use in a model is not claimed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from fovea.attention_retrieval.capture.dump import Dump, Facts, write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a dump of an encoder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--layer", type=int, default=4)
    parser.add_argument("--wide", type=int, default=4, help="heads that become one")
    parser.add_argument("--group", type=int, default=4, help="queries of a position")
    args = parser.parse_args()
    facts, parts = widened(Dump.open(args.data), args.layer, args.wide, args.group)
    write(args.out, facts, parts)
    print(f"{args.out}: {facts.tokens:,} keys, {facts.kv_heads} heads of {facts.d}, {facts.group} queries a group")


def widened(dump: Dump, layer: int, wide: int, group: int) -> tuple[Facts, dict[str, np.ndarray]]:
    """What `dump.write` wants; heads and queries that are left over are left out."""
    data, heads = dump.layer(layer), dump.facts.kv_heads // wide
    at = np.concatenate([each[: len(each) // group * group].reshape(-1, group) for each in (dump.train, dump.held_out)])
    queries = side_by_side(data.queries, wide)[:, at]  # (heads, positions, group, d)
    facts = dump.facts.model_copy(
        update={
            "layers": (layer,),
            "scaling": (data.scaling,),
            "heads": heads * group,
            "kv_heads": heads,
            "d": wide * dump.facts.d,
        }
    )
    parts = {
        "tokens": dump.parts["tokens"],
        "query_rows": dump.query_rows[at[:, -1]],
        f"{layer}.queries": queries.transpose(0, 2, 1, 3).reshape(heads * group, len(at), facts.d),
        f"{layer}.keys": side_by_side(data.keys, wide),
        f"{layer}.values": side_by_side(data.values, wide),
    }
    return facts, {name: np.ascontiguousarray(part) for name, part in parts.items()}


def side_by_side(rows: np.ndarray, wide: int) -> np.ndarray:
    """(heads, rows, d) to (heads / wide, rows, wide * d)."""
    heads = len(rows) // wide
    return np.concatenate([rows[n : heads * wide : wide] for n in range(wide)], axis=2)


if __name__ == "__main__":
    main()
