"""Fine-tune the top layers of all-MiniLM-L6-v2 on keyword and part-of-passage queries, with LexSemBridge or without.

    python benchmarks/lexsembridge_finetune.py --data TIMEQA --out FOLDER [--steps 200] [--seed 0] [--runs plain slr]

Both runs see the same batches of the same passages (TimeQA's training articles), of like length so that little is
padded (`fovea.retrievers.training.batches`), with the same seed for dropout. Each
leaves a sentence-transformers model in FOLDER/RUN/model; the run `slr` also leaves the modulation that was trained with
it, as weights for the retriever `lexsembridge` (FOLDER/slr/weights.safetensors) and as a module of the whole model
(FOLDER/slr/whole). `benchmarks/lexsembridge.py --tuned FOLDER` measures them: without the modulation what the published
code evaluates, which does not save it, and with it.

    loss = cross-entropy of query . passage / 0.05 over the passages of the batch

AdamW, 2e-5 for layers 4 to 6 and 3e-3 for A, both falling linearly to zero. A batch holds passages of 3,072 tokens,
some 24 of them; 200 steps take some eight minutes of one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import batch_to_device

from fovea.rag import trained
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.engines import load_torch
from fovea.rag.models import locate
from fovea.rag.training.loop import seed_of
from fovea.retrievers.collections.read import read
from fovea.retrievers.modules.lexsembridge import LexSemBridge
from fovea.retrievers.training.batches import by_length
from fovea.retrievers.training.lexsembridge import packed
from fovea.retrievers.training.queries import LEAST_WORDS, Passages

BASE = "sentence-transformers/all-MiniLM-L6-v2"
TOKENS, TEMPERATURE, FROZEN = 3072, 0.05, 3
RATE, MATRIX_RATE = 2e-5, 3e-3
QUERY_TOKENS, PASSAGE_TOKENS = 64, 192
RUNS = ("plain", "slr")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="human_annotated_train.json of TimeQA")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    args = parser.parse_args()
    encoder = SentenceTransformerEncoder(model=BASE)
    passages = Passages.of(train_passages(args.data), encoder.tokenizer)
    print(f"{len(passages):,} passages", flush=True)
    for run in args.runs:
        torch.manual_seed(args.seed)
        model, bridge = tuned(passages, encoder, run, args.steps, args.seed)
        write(args.out / run, model, bridge)


def train_passages(path: Path) -> list[str]:
    """Paragraphs of at least 40 words of the training articles, each once."""
    chunks = read(path).part("train").chunks
    return list(dict.fromkeys(c.text for c in chunks if len(c.text.split()) >= LEAST_WORDS))


def tuned(
    passages: Passages, encoder: SentenceTransformerEncoder, run: str, steps: int, seed: int
) -> tuple[SentenceTransformer, LexSemBridge | None]:
    model = load_torch(locate(BASE).path)
    layers = model[0].auto_model.encoder.layer
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    top = [p for layer in layers[FROZEN:] for p in layer.parameters()]
    for parameter in top:
        parameter.requires_grad_(True)
    groups: list[dict[str, Any]] = [{"params": top, "lr": RATE}]
    bridge = None
    if run == "slr":
        ids = {i for row in encoder.tokenizer.ids(passages.texts) for i in row} - encoder.tokenizer.special_ids
        bridge = LexSemBridge.of("slr", sorted(ids), encoder.dim)
        groups.append({"params": list(bridge.parameters()), "lr": MATRIX_RATE})
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    began, losses = time.process_time(), []
    model.train()
    for step, drawn in enumerate(islice(batches(passages, seed), steps)):
        torch.manual_seed(seed_of(seed, step))
        loss = batch_loss(model, bridge, passages, drawn, np.random.default_rng(seed_of(seed, step)))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], 1.0)
        optimizer.step()
        falling.step()
        if bridge is not None:
            bridge.clip()
        losses.append(float(loss.detach()))
        if (step + 1) % 20 == 0:
            seconds = time.process_time() - began
            print(f"{run}: step {step + 1}, loss {np.mean(losses[-20:]):.4f}, {seconds:.0f} CPU seconds", flush=True)
    return model.eval(), bridge


def batches(passages: Passages, seed: int) -> Iterator[list[int]]:
    """Passages of like length, epoch after epoch; what is alone in its batch has nothing to be told from."""
    lengths = [min(len(places) + 2, PASSAGE_TOKENS) for places in passages.places]
    for epoch in count():
        yield from (rows.tolist() for rows in by_length(lengths, TOKENS, seed_of(seed, epoch)) if len(rows) > 1)


def batch_loss(
    model: SentenceTransformer,
    bridge: LexSemBridge | None,
    passages: Passages,
    drawn: list[int],
    rng: np.random.Generator,
) -> torch.Tensor:
    asked = encoded(model, bridge, [passages.draw(at, rng) for at in drawn], QUERY_TOKENS)
    found = encoded(model, None, [passages.texts[at] for at in drawn], PASSAGE_TOKENS)
    return torch.nn.functional.cross_entropy(asked @ found.T / TEMPERATURE, torch.arange(len(drawn)))


def encoded(model: SentenceTransformer, bridge: LexSemBridge | None, texts: list[str], tokens: int) -> torch.Tensor:
    """Unit vectors `(texts, dim)`, with a gradient; through the modulation where one is given."""
    model.max_seq_length = tokens
    features = batch_to_device(model.preprocess(texts), model.device)
    for module in list(model.children())[:-1]:
        features = module(features)
    if bridge is not None:
        features = bridge(features, task="query")
    return torch.nn.functional.normalize(features["sentence_embedding"], dim=-1)


def write(folder: Path, model: SentenceTransformer, bridge: LexSemBridge | None) -> None:
    model.max_seq_length = 256
    model.save(str(folder / "model"), create_model_card=False)
    if bridge is not None:
        transformer, pooling, normalize = list(model.children())
        whole = SentenceTransformer(modules=[transformer, pooling, bridge, normalize], device="cpu")
        whole.save(str(folder / "whole"), create_model_card=False)
        write_weights(folder, bridge)


def write_weights(folder: Path, bridge: LexSemBridge) -> None:
    """The modulation for the retriever, which applies it to vectors of the model beside it."""
    encoder = SentenceTransformerEncoder(model=str(folder / "model"))
    about = {
        "method": "lexsembridge",
        "encoder": encoder.space,
        "encoder_name": str(folder / "model"),
        "dim": encoder.dim,
        "variant": bridge.variant,
        "tokenizer": encoder.tokenizer.identity,
        "tokenizer_name": encoder.tokenizer.label,
    }
    arrays = {name: value.numpy() for name, value in bridge.state_dict().items()}
    trained.save(folder / "weights.safetensors", packed(arrays), about)


if __name__ == "__main__":
    main()
