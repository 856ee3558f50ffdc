"""Tiny random models, built and saved as sentence-transformers and transformers save theirs: real files, real code."""

from __future__ import annotations

import re
import string
from pathlib import Path

import numpy as np

WORDS = re.findall(
    r"\w+", "the moon orbits earth tea is brewed at degrees rivers flow and a of in days sentence that longer"
)


def vocabulary() -> list[str]:
    letters = [*string.ascii_lowercase, *string.digits, *".,:;!?'%()[]<>/"]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return list(dict.fromkeys([*special, *letters, *(f"##{c}" for c in letters), *WORDS]))


def save_bert(folder: Path, *, labels: int | None = None, positions: int = 64, seed: int = 0) -> None:
    """A BERT of two layers of width 32 with its WordPiece tokenizer; with `labels` a classifier on top."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary()), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=positions, initializer_range=0.4, **({"num_labels": labels} if labels else {}),
    )  # fmt: skip
    model = BertForSequenceClassification(config) if labels else BertModel(config)
    model.eval().save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary()))
    tokenizer = BertTokenizerFast(vocab={t: i for i, t in enumerate(vocabulary())}, model_max_length=positions)
    tokenizer.save_pretrained(folder)


def save_encoder(folder: Path, *, pooling="mean", window: int = 24, dense: int | None = None, normalize: bool = True,
                 seed: int = 0, prompts: dict[str, str] | None = None) -> Path:  # fmt: skip
    """A sentence-transformers folder: Transformer, Pooling, and on request Dense and Normalize."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Dense, Normalize, Pooling, Transformer

    save_bert(folder / "bert", seed=seed)
    modules = [Transformer(str(folder / "bert"), max_seq_length=window), Pooling(32, pooling)]
    if dense:
        modules.append(Dense(modules[-1].pooling_output_dimension, dense))
    if normalize:
        modules.append(Normalize())
    SentenceTransformer(modules=modules, device="cpu", prompts=prompts).save(str(folder / "model"))
    return folder / "model"


def save_cross_encoder(folder: Path, *, labels: int = 1, positions: int = 64, seed: int = 0) -> Path:
    """A cross-encoder folder as transformers saves it."""
    save_bert(folder, labels=labels, positions=positions, seed=seed)
    return folder


def reference(folder: Path, texts: list[str], **options) -> np.ndarray:
    """Unit vectors by sentence-transformers itself."""
    from fovea.rag.engines import load_torch

    vectors = load_torch(folder).encode(texts, show_progress_bar=False, **options)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
