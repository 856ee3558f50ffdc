"""Capture from an encoder: real queries and keys of more tokens than a small language model can read.

A text goes through in windows by themselves, as a sentence encoder reads it: no RoPE, no causality. The keys of all
windows lie side by side, as if one query could see them all; queries that engines may learn from are drawn as from a
prefill, and held-out queries come from windows of another text. The tokens that the tokenizer sets around each window
are left out, keys and queries: they are hundreds of copies of one sink.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fovea.attention_retrieval.capture.causal_lm import Plan, tokenizer_hash
from fovea.attention_retrieval.capture.dump import Facts, write
from fovea.attention_retrieval.capture.recording import Recording, recorded
from fovea.rag.engines import no_bars
from fovea.rag.errors import ConfigError, ModelError, require
from fovea.rag.models import locate
from fovea.rag.progress import bar
from fovea.rag.trace import warn

WINDOW = 256
BATCH = 16


class EncoderLM(NamedTuple):
    """An encoder and its tokenizer."""

    name: str
    model: Any
    tokenizer: Any


def load_encoder(model: str) -> EncoderLM:
    """The encoder in folder or of hub name `model`, in float32. Raises ModelError where it cannot be loaded."""
    transformers = require("transformers", extra="attention", needed_by="capturing an encoder's keys")
    files = locate(model)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(files.path, local_files_only=True)
        with no_bars():
            loaded = transformers.AutoModel.from_pretrained(
                files.path, dtype="float32", local_files_only=True, use_safetensors=True
            )
    except Exception as error:  # files and settings fail in many kinds
        words = " ".join(str(error).split())[:400]
        raise ModelError(f"cannot load {files.name!r} as an encoder: {type(error).__name__}: {words}") from error
    return EncoderLM(files.name, loaded.eval(), tokenizer)


def capture_windows(encoder: EncoderLM, text: str, held_out: str, out: Path, plan: Plan) -> Facts:
    """Write the dump of `text`, with queries of `held_out`, to `out`.

    Raises ConfigError for a text without words, ModelError for a model that cannot be captured.
    """
    read = partial(encoder.tokenizer, add_special_tokens=False, verbose=False)
    ids, others = list(read(text)["input_ids"])[: plan.tokens], list(read(held_out)["input_ids"])
    if min(len(ids), len(others)) < 2:
        raise ConfigError("a text without words", where="--text" if len(ids) < 2 else "--ask", fix="a longer text")
    if len(ids) < plan.tokens:
        warn(f"the text is short: it has {len(ids):,} tokens, not {plan.tokens:,}")
    plan = replace(plan, tokens=len(ids))
    inner = WINDOW - sum(map(len, around(encoder.tokenizer)))
    apart = _spread(others, inner, plan)
    layers = _layers(encoder.model, plan)
    keep = np.concatenate([plan.kept(len(ids)), _some(apart, plan)])
    recording = Recording(layers, keep, plan.dtype, keyed=len(ids))
    with recorded(encoder.model, recording), bar("windows", len(keep)) as progress:
        windows = [ids[n : n + inner] for n in range(0, len(ids), inner)]
        for group in (*_batches(windows), *_batches(apart)):
            _read(encoder, group, recording)
            progress.advance(sum(map(len, group)))
    facts = _facts(encoder, plan, recording, len(windows))
    tokens: dict[str, np.ndarray] = {"tokens": np.array(ids, np.int32), "query_rows": np.flatnonzero(keep)}
    write(out, facts, {**recording.parts, **tokens})
    return facts


def _layers(model: Any, plan: Plan) -> tuple[int, ...]:
    count = int(getattr(model.config, "num_hidden_layers", 0))
    if plan.layers is None:
        return tuple(np.unique(np.linspace(0, count - 1, min(6, count)).astype(int)).tolist())
    if odd := [n for n in plan.layers if not 0 <= n < count]:
        raise ConfigError(
            f"layer {odd[0]} is not in the model", where="--layers", allowed=[str(n) for n in range(count)]
        )
    return tuple(plan.layers)


def _spread(ids: list[int], inner: int, plan: Plan) -> list[list[int]]:
    """Windows from all over the held-out text, whole ones if it has any: some sixteen queries of each will be kept."""
    windows = [ids[n : n + inner] for n in range(0, max(len(ids) - inner, 0) + 1, inner)]
    wanted = min(len(windows), -(-plan.held_out // 16))
    return [windows[i] for i in np.linspace(0, len(windows) - 1, wanted).astype(int)]


def _some(windows: list[list[int]], plan: Plan) -> np.ndarray:
    """Which held-out queries are kept, drawn without replacement: (tokens of the windows,) bool."""
    count = sum(map(len, windows))
    keep = np.zeros(count, bool)
    keep[np.random.default_rng(plan.seed).choice(count, min(plan.held_out, count), replace=False)] = True
    return keep


def _batches(windows: list[list[int]]) -> list[list[list[int]]]:
    """Windows of one length together."""
    whole = [w for w in windows if len(w) == len(windows[0])]
    rest = [[w] for w in windows if len(w) != len(windows[0])]
    return [*(whole[n : n + BATCH] for n in range(0, len(whole), BATCH)), *rest]


def _read(encoder: EncoderLM, windows: list[list[int]], recording: Recording) -> None:
    import torch

    before, behind = around(encoder.tokenizer)
    tokens = torch.tensor([[*before, *window, *behind] for window in windows])
    recording.chosen = np.zeros(tokens.shape, bool)
    recording.chosen[:, len(before) : tokens.shape[1] - len(behind)] = True
    with torch.inference_mode():
        encoder.model(tokens, attention_mask=torch.ones_like(tokens))
    recording.row += sum(map(len, windows))


def around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What the tokenizer sets before and behind a text."""
    alone, whole = (list(tokenizer("a", add_special_tokens=add)["input_ids"]) for add in (False, True))
    at = next(n for n in range(len(whole)) if whole[n : n + len(alone)] == alone)
    return whole[:at], whole[at + len(alone) :]


def _facts(encoder: EncoderLM, plan: Plan, recording: Recording, windows: int) -> Facts:
    if unseen := [n for n in recording.layers if n not in recording.scaling]:
        kind = type(encoder.model).__name__
        raise ModelError(f"layer {unseen[0]} of {kind} never called attention through transformers' interface")
    keys = recording.parts[f"{recording.layers[0]}.keys"]
    return Facts(
        model=encoder.name,
        tokenizer=tokenizer_hash(encoder.tokenizer),
        source="windows",
        blocks=windows,
        tokens=plan.tokens,
        layers=recording.layers,
        scaling=tuple(recording.scaling[n] for n in recording.layers),
        heads=len(recording.parts[f"{recording.layers[0]}.queries"]),
        kv_heads=len(keys),
        d=keys.shape[2],
        dtype=plan.dtype,
    )
