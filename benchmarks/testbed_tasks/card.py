"""The testbed's model card, written by the command that measured it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from fovea.pipelines.evaluation.measurements import Row, machine

CARD = """# Testbed: a small Llama that looks up what it read

A causal language model to measure attention over long contexts on: {parameters:,} parameters in bf16, {layers} layers,
{heads} query heads on {groups} key heads of {dim} dimensions, hidden {hidden}, RoPE base {theta:,.0f}, byte-level BPE
of {vocabulary:,} tokens (a token a digit). It finds what is hidden in a text; it knows nothing and is of no other use.

## Data
SQuALITY stories (public domain), TimeQA pages (Wikipedia; BSD-3 set), XQuAD paragraphs (CC BY-SA 4.0) and QMSum
meetings (MIT), 4 % of the documents held out; and pages with facts hidden in that text and questions about them
(`benchmarks/testbed_tasks`). Essays, NIAH, kv_retrieval, SciFact, MS MARCO and chunking_evaluation were not read.

## Training
`torchrun --nproc-per-node 2 -m benchmarks.train_testbed --data DATA --work WORK`: {steps:,} steps, {tokens:,} tokens
in {minutes:.0f} minutes on 2 shared CPU cores, rows of {first} to {last} tokens; loss over the last 20 lines of the
log {text:.2f} on text, {answer:.2f} on answers (nats). Positions jump in half of the rows, so that distances up to
131,072 were seen on short rows. Every line of the log is in `training.jsonl`.

## Measured
`python -m benchmarks.testbed_eval --data DATA --card`: share of prompts whose whole answer greedy decoding gives, with
full attention, {n} prompts of each length and depth (fewer over 4,096 tokens); `all` has the 95 % bootstrap interval.
Prompts are filled with essays. Perplexity is that of the last 256 tokens of windows, which are fewer and others at each
length.

{machine}

{tables}
"""


def write_card(folder: Path, rows: Sequence[Row]) -> None:
    """`README.md` in `folder`, from its config, its training log and the rows measured; its `## Notes` are kept."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    log = [json.loads(line) for line in (folder / "training.jsonl").read_text("utf-8").splitlines()]
    done = log[-1]
    tables = [_table(data, [r for r in rows if r.data == data]) for data in dict.fromkeys(r.data for r in rows)]
    text = CARD.format(
        parameters=_parameters(folder),
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        groups=config["num_key_value_heads"],
        dim=config["head_dim"],
        hidden=config["hidden_size"],
        theta=config["rope_parameters"]["rope_theta"],
        vocabulary=config["vocab_size"],
        steps=done["step"],
        tokens=done["tokens"],
        minutes=done["seconds"] / 60,
        first=min(line["length"] for line in log),
        last=max(line["length"] for line in log),
        text=mean(line["text"] for line in log[-20:]),
        answer=mean(line["answer"] for line in log[-20:]),
        n=max((r.n or 0 for r in rows if r.metric.startswith("depth")), default=0),
        machine=machine(),
        tables="\n\n".join(tables),
    )
    path = folder / "README.md"
    _, notes, kept = (path.read_text("utf-8") if path.exists() else "").partition("\n## Notes\n")
    path.write_text(text + notes + kept, "utf-8")


def _parameters(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "np") as file:
        return sum(_size(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def _size(shape: Sequence[int]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size


def _table(data: str, rows: list[Row]) -> str:
    """Lengths down, depths across, in Markdown."""
    metrics, lengths = list(dict.fromkeys(r.metric for r in rows)), list(dict.fromkeys(r.method for r in rows))
    found = {(r.method, r.metric): r for r in rows}
    head = [f"| {data} | " + " | ".join(metrics) + " |", "|---" * (len(metrics) + 1) + "|"]
    return "\n".join(
        [*head, *(f"| {n} | " + " | ".join(_cell(found.get((n, m))) for m in metrics) + " |" for n in lengths)]
    )


def _cell(row: Row | None) -> str:
    if row is None or row.value is None:
        return ""
    value = f"{row.value:.2f}"
    return value if row.low is None or row.high is None else f"{value} [{row.low:.2f}, {row.high:.2f}]"
