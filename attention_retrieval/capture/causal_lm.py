"""Capture: read a text with a causal language model, and dump its queries, keys and values.

The text is prefilled in chunks, so that memory is that of the cache and of one chunk's mask. Then each question, or the
text's own continuation, is read on the same cache, the model speaks on, and the cache goes back to the text's end.
Queries that engines may learn from are a share of all the prefill's, one drawn from each stretch of 1 / share tokens,
and all of its last part; those of questions, continuation and the model's own words are held out.

In blocks: parts of the text are prefilled by themselves, each at its own positions in the whole, and their keys put
side by side, which is how key sets come about that are longer than what can be prefilled. Questions see all blocks.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fovea.attention_retrieval.capture.dump import Facts, Run, write
from fovea.attention_retrieval.capture.recording import Recording, recorded
from fovea.rag.causal_lm import CausalLM, cache_argument
from fovea.rag.errors import ConfigError, FoveaError, ModelError
from fovea.rag.progress import bar
from fovea.rag.trace import warn


@dataclass(frozen=True)
class Plan:
    """What is read, and what of it is kept."""

    tokens: int = 32768
    """Rows of the text, or fewer if it is shorter."""
    layers: tuple[int, ...] | None = None
    """None for at most six, spread evenly."""
    chunk: int = 512
    """Tokens prefilled at a time."""
    decode: int = 32
    """Tokens the model says after each question or continuation, unless it ends before."""
    held_out: int = 512
    """Tokens of the continuation where there are no questions."""
    share: float = 0.02
    """Of the prefill's queries, spread over all of it."""
    last: float = 0.25
    """The part at the prefill's end of which all queries are kept."""
    blocks: int = 1
    dtype: Literal["bf16", "fp32"] = "bf16"
    seed: int = 0

    def kept(self, tokens: int) -> np.ndarray:
        """Which of the prefill's queries are kept, (tokens,) bool."""
        keep = np.zeros(tokens, bool)
        if self.share > 0:
            rng = np.random.default_rng(self.seed)
            edges = np.unique(np.linspace(0, tokens, max(1, round(tokens * self.share)) + 1).astype(int))
            keep[rng.integers(edges[:-1], edges[1:])] = True
        keep[tokens - round(tokens * self.last) :] = True
        return keep


def capture(lm: CausalLM, text: str, out: Path, plan: Plan, questions: Sequence[str] = ()) -> Facts:
    """Write the dump of `text` to `out`.

    Raises ConfigError for a text that is too short or layers that are not there, ModelError for a model that cannot be
    captured. A text longer than the model was made for is read, with a warning.
    """
    ids = list(lm.tokenizer(text, verbose=False)["input_ids"])
    asked = [list(lm.tokenizer(q, add_special_tokens=False)["input_ids"]) for q in questions]
    tokens = _tokens(ids, plan, held_out=0 if asked else plan.held_out)
    runs = asked or [ids[tokens : tokens + plan.held_out]]
    layers = _layers(lm.model, plan)
    most = tokens + sum(len(run) + plan.decode for run in runs)
    if lm.window and tokens + max(map(len, runs)) + plan.decode > lm.window:
        warn(f"{lm.name} was made for {lm.window:,} tokens and reads more: its vectors beyond are not as in training")
    recording = Recording(layers, np.concatenate([plan.kept(tokens), np.ones(most - tokens, bool)]), plan.dtype)
    reader = _Reader(lm.model, recording, plan.chunk, np.zeros(most, np.int32))
    with recorded(lm.model, recording), bar("prefill", tokens) as progress:
        reader.text(ids[:tokens], plan.blocks, progress)
        found = [reader.run(run, plan.decode, "question" if asked else "continuation") for run in runs]
    facts = _facts(lm, plan, tokens, recording, found)
    rows, kept = recording.row, recording.before[recording.row]
    parts = {n: a[:, : kept if n.endswith("queries") else rows] for n, a in recording.parts.items()}
    parts |= {"tokens": reader.ids[:rows], "query_rows": np.flatnonzero(recording.keep)[:kept]}
    write(out, facts, parts)
    return facts


def _tokens(ids: list[int], plan: Plan, held_out: int) -> int:
    """How many tokens are prefilled: as asked, or what the text has besides the continuation."""
    there = len(ids) - held_out
    if there < max(plan.blocks, 2):
        what = f"the text has {len(ids):,} tokens, and {held_out:,} are held out as its continuation"
        raise ConfigError(what, where="--text", fix="a longer text, a smaller --held-out, or questions with --ask")
    if there < plan.tokens:
        warn(f"the text is short: {there:,} tokens are prefilled, not {plan.tokens:,}")
    return min(there, plan.tokens)


def _layers(model: Any, plan: Plan) -> tuple[int, ...]:
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    count = int(getattr(model.config.get_text_config(), "num_hidden_layers", 0))
    whole = [n for n in range(count) if n >= len(cache.layers) or not getattr(cache.layers[n], "is_sliding", False)]
    if not whole:
        raise ModelError(f"every layer of {type(model).__name__} looks at a sliding window only: nothing to search")
    if plan.blocks > 1 and len(whole) < count:
        raise ModelError("layers with sliding windows cannot be read in blocks", fix="leave --blocks out")
    if plan.layers is None:
        return tuple(whole[i] for i in np.unique(np.linspace(0, len(whole) - 1, min(6, len(whole))).astype(int)))
    if odd := [n for n in plan.layers if n not in whole]:
        why = "looks at a sliding window only" if odd[0] < count and odd[0] >= 0 else "is not in the model"
        raise ConfigError(f"layer {odd[0]} {why}", where="--layers", allowed=[str(n) for n in whole])
    return tuple(plan.layers)


def _facts(lm: CausalLM, plan: Plan, tokens: int, recording: Recording, runs: list[Run]) -> Facts:
    unseen = [n for n in recording.layers if n not in recording.scaling]
    if unseen:
        raise ModelError(
            f"layer {unseen[0]} of {type(lm.model).__name__} never called attention through transformers' interface",
            fix="--layers with those that do, or a model of another architecture",
        )
    first = recording.layers[0]
    queries, keys = recording.parts[f"{first}.queries"], recording.parts[f"{first}.keys"]
    return Facts(
        model=lm.name,
        tokenizer=tokenizer_hash(lm.tokenizer),
        source="block-prefill" if plan.blocks > 1 else "prefill",
        blocks=plan.blocks,
        tokens=tokens,
        layers=recording.layers,
        scaling=tuple(recording.scaling[n] for n in recording.layers),
        heads=len(queries),
        kv_heads=len(keys),
        d=keys.shape[2],
        dtype=plan.dtype,
        runs=tuple(runs),
    )


def tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 of what the tokenizer does, as its own serialisation says it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    said = backend.to_str() if backend is not None else repr(sorted(tokenizer.get_vocab().items()))
    return sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass
class _Reader:
    """The model, reading; `ids` are the tokens of the rows, as they are read."""

    model: Any
    recording: Recording
    chunk: int
    ids: np.ndarray
    cache: Any = None

    def text(self, ids: list[int], blocks: int, progress: Any) -> None:
        """Prefill; in blocks each on a cache of its own, joined afterwards."""
        from transformers import DynamicCache

        edges = np.linspace(0, len(ids), blocks + 1).astype(int)
        for start, stop in pairwise(edges.tolist()):
            cache = DynamicCache(config=self.model.config)
            for at in range(start, stop, self.chunk):
                part = ids[at : min(at + self.chunk, stop)]
                self.read(part, cache)
                progress.advance(len(part))
            self.cache = cache if self.cache is None else _joined(self.cache, cache)

    def run(self, ids: list[int], decode: int, kind: Literal["question", "continuation"]) -> Run:
        """Read on, let the model speak, and put the cache back to where it was."""
        start, sliding = self.recording.row, any(getattr(x, "is_sliding", False) for x in self.cache.layers)
        cache, length = deepcopy(self.cache) if sliding else self.cache, self.cache.get_seq_length()
        logits = None
        for at in range(0, len(ids), self.chunk):
            logits = self.read(ids[at : at + self.chunk], cache, position=length + at)
        decoded, ends = self.recording.row, _ends(self.model)
        for n in range(decode if logits is not None else 0):
            token = int(logits.argmax())  # type: ignore[union-attr]
            if token in ends:
                break
            logits = self.read([token], cache, position=length + len(ids) + n)
        if not sliding:
            cache.crop(-(cache.get_seq_length() - length))
        return Run(kind=kind, start=start, decoded=decoded, stop=self.recording.row)

    def read(self, ids: list[int], cache: Any, position: int | None = None) -> Any:
        """One call of the model; the logits of what follows the last token."""
        import torch

        at, row = self.recording.row if position is None else position, self.recording.row
        device = self.model.device
        takes = inspect.signature(self.model.forward).parameters
        given = {**cache_argument(self.model, cache), "use_cache": True}
        given |= {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        positions = torch.arange(at, at + len(ids), device=device)[None]
        tokens = torch.tensor([ids], device=device)
        try:
            with torch.inference_mode():
                made = self.model(tokens, position_ids=positions, **given)
        except FoveaError:
            raise
        except Exception as error:  # models fail in many kinds
            words = " ".join(str(error).split())[:400]
            raise ModelError(f"the model failed at token {at:,}: {type(error).__name__}: {words}") from error
        self.ids[row : row + len(ids)] = ids
        self.recording.row += len(ids)
        return made.logits[0, -1]


def _joined(whole: Any, block: Any) -> Any:
    """The block's keys and values behind those of the blocks before."""
    for layer, more in zip(whole.layers, block.layers):
        layer.update(more.keys, more.values)
    return whole


def _ends(model: Any) -> tuple[int, ...]:
    ends = getattr(model.generation_config, "eos_token_id", None)
    return tuple(ends) if isinstance(ends, (list, tuple)) else (ends,) if ends is not None else ()
