"""Natural text for the testbed, split by document, and the tokenizer made of it.

Trained on: SQuALITY stories (public domain), TimeQA pages, XQuAD paragraphs and QMSum meetings. Never read here, so
that prompts filled with them are new to the model: the essays, NIAH, kv_retrieval, SciFact, MS MARCO,
chunking_evaluation.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.testbed_tasks.page import Page
from fovea.rag.errors import FoveaError

END = "<|end|>"


def documents(data: Path) -> list[str]:
    """Every text below `data`: the four sets where it is the shared data folder, else all of its .txt files."""
    if not (data / "stories").is_dir():
        return [path.read_text("utf-8") for path in sorted(data.glob("**/*.txt"))]
    return list(dict.fromkeys([*_stories(data), *_pages(data), *_paragraphs(data), *_meetings(data)]))


def _stories(data: Path) -> Iterator[str]:
    for path in sorted((data / "stories" / "squality").glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            yield json.loads(line)["document"]


def _pages(data: Path) -> Iterator[str]:
    folder = data / "temporal" / "timeqa"
    for page in json.loads((folder / "human_annotated_train.json").read_text("utf-8")):
        yield "\n".join(page["paras"])
    for line in gzip.decompress((folder / "human_train.easy.json.gzip").read_bytes()).decode().splitlines():
        yield json.loads(line)["context"]


def _paragraphs(data: Path) -> Iterator[str]:
    found = json.loads((data / "qa" / "xquad_en" / "xquad.en.json").read_text("utf-8"))
    for article in found["data"]:
        yield "\n".join(p["context"] for p in article["paragraphs"])


def _meetings(data: Path) -> Iterator[str]:
    for path in sorted((data / "segmentation" / "qmsum").glob("*/*.json")):
        turns: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["meeting_transcripts"]
        yield "\n".join(f"{turn['speaker']}: {turn['content']}" for turn in turns)


def split(texts: list[str], seed: int = 0, held_out: float = 0.04) -> tuple[list[str], list[str]]:
    """Training and held-out documents; a document is whole on one side."""
    if len(texts) < 2:
        raise FoveaError(
            f"the testbed needs two documents or more, got {len(texts)}",
            fix="pass --data: the data folder, or a folder of .txt files",
        )
    order = random.Random(seed).sample(texts, len(texts))
    kept = max(1, round(held_out * len(order)))
    return order[kept:], order[:kept]


def train_tokenizer(texts: Iterable[str], size: int) -> Any:
    """Byte-level BPE of `size` tokens; every digit is a token of its own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    parts = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    bpe.pre_tokenizer = pre_tokenizers.Sequence(parts)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=size, special_tokens=[END], initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=END, pad_token=END, clean_up_tokenization_spaces=False
    )


def page(tokenizer: Any, haystack: Iterable[str]) -> Page:
    """A page to write prompts on, filled with `haystack`."""
    return Page(tokenizer, encode(haystack, tokenizer))


def encode(texts: Iterable[str], tokenizer: Any) -> np.ndarray:
    """All texts as one row of token ids, uint16, each text ended by the end token."""
    rows = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return np.concatenate([np.array([*row, tokenizer.eos_token_id], dtype=np.uint16) for row in rows])
