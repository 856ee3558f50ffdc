"""The model of the testbed and what it takes to train it on a few CPU cores: bf16 copy, fp32 master, two optimizers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.testbed_tasks.prompts import ANSWER, TEXT
from benchmarks.testbed_tasks.tasks import TASKS
from benchmarks.testbed_tasks.trunk import fused

WINDOW = 131072
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Token ids, what each is learnt as, and positions, `(rows, length)` each."""
FEW = 64
"""Answers that weigh as much as all text of a step; fewer weigh less, so that one answer alone is no whole step."""
EMBEDDING = 0.4
"""Share of the learning rate for what AdamW trains: embeddings, tied to the output, and norms."""
SHAPE = {"hidden_size": 384, "intermediate_size": 768, "num_hidden_layers": 4}


def new_model(vocab: int, end: int, seed: int, **shape: int) -> LlamaForCausalLM:
    """A Llama with 8 query heads on 2 key heads of 64, tied embeddings, and RoPE slow enough for `WINDOW` tokens."""
    torch.manual_seed(seed)
    heads = {"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64}
    config = LlamaConfig(
        vocab_size=vocab,
        max_position_embeddings=WINDOW,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        **{**heads, **SHAPE, **shape},
    )
    return LlamaForCausalLM(config)


def losses(
    model: LlamaForCausalLM, ids: torch.Tensor, kinds: torch.Tensor, positions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cross-entropy summed over the text and over the answers of a batch `(batch, length)`; right answers by task."""
    states = fused(ids.shape[1])(model, ids, positions)[:, :-1]
    kind, target = kinds[:, 1:], ids[:, 1:]
    learnt = kind > 0
    logits = model.lm_head(states[learnt]).float()
    kind, target = kind[learnt], target[learnt]
    each = cross_entropy(logits, target, reduction="none")
    answer = kind >= ANSWER
    right = (logits.detach().argmax(1) == target) & answer
    by_task = torch.bincount(kind[right] - ANSWER, minlength=len(TASKS)).float()
    return each[kind == TEXT].sum(), each[answer].sum(), by_task


class Learner:
    """Weights in fp32 and the bf16 copy that computes; Muon for the layers' matrices, AdamW for the rest."""

    def __init__(self, model: LlamaForCausalLM, rate: float) -> None:
        self.model, self.rate, self.done = (
            model.to(torch.bfloat16).train(),
            rate,
            {"step": 0, "tokens": 0, "seconds": 0.0},
        )
        self.master = {n: p.detach().float().clone().requires_grad_() for n, p in model.named_parameters()}
        sizes = [p.numel() for p in self.master.values()]
        self.sums = torch.zeros(sum(sizes) + 3 + 2 * len(TASKS))
        """All gradients, and behind them what else processes add up, in one piece: one exchange a step."""
        for parameter, grad in zip(self.master.values(), self.sums[: sum(sizes)].split(sizes)):
            parameter.grad = grad.view_as(parameter)
        self.rest = self.sums[sum(sizes) :]
        matrices = [p for n, p in self.master.items() if p.ndim == 2 and "layers" in n]
        rest = [p for n, p in self.master.items() if not (p.ndim == 2 and "layers" in n)]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=rate * EMBEDDING, weight_decay=0.0, betas=(0.9, 0.98), fused=True),
        ]
        self.copy_down()

    def copy_down(self) -> None:
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(self.master[name])

    def step(self, batches: list[Batch], share: float, seconds: float = 0) -> dict[str, Any]:
        """One update on the mean loss of text plus that of answers; `share` is the share of the peak learning rate.

        `seconds` comes back added over processes, so that what one of them counts is known to all.
        """
        asked = torch.stack(
            [torch.bincount(b[1][:, 1:].flatten(), minlength=ANSWER + len(TASKS)) for b in batches]
        ).sum(0)
        text, answers = asked[TEXT].clamp(min=1), asked[ANSWER:].sum().clamp(min=FEW)
        self.sums.zero_()
        for batch in batches:
            of_text, of_answers, right = losses(self.model, *batch)
            loss = of_text / text + of_answers / answers
            loss.backward()
            self._collect()
            self.rest[:2] += torch.stack([of_text.detach() / text, of_answers.detach() / answers])
            self.rest[3 : 3 + len(TASKS)] += right
        self.rest[2] = seconds
        self.rest[3 + len(TASKS) :] = asked[ANSWER:]
        processes = dist.get_world_size() if dist.is_initialized() else 1
        if processes > 1:
            dist.all_reduce(self.sums)
        norm = float(torch.linalg.vector_norm(self.sums[: -len(self.rest)])) / processes
        self.sums[: -len(self.rest)].mul_(min(1.0, 1 / (norm + 1e-6)) / processes)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate * share * (EMBEDDING if isinstance(optimizer, torch.optim.AdamW) else 1)
            optimizer.step()
        self.copy_down()
        means, (right, asked) = (self.rest[:2] / processes).tolist(), self.rest[3:].clone().view(2, -1)
        found = {"text": means[0], "answer": means[1], "norm": norm, "seconds": float(self.rest[2])}
        return {**found, "right": right.numpy(), "asked": asked.numpy()}

    def _collect(self) -> None:
        for name, parameter in self.model.named_parameters():
            grad = self.master[name].grad
            if parameter.grad is not None and grad is not None:
                grad += parameter.grad
            parameter.grad = None

    def save(self, folder: Path) -> None:
        """Everything needed to go on, in one file that is replaced whole."""
        tensors = {f"weight/{name}": p.detach() for name, p in self.master.items()}
        for i, optimizer in enumerate(self.optimizers):
            for j, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer/{i}/{j}/{key}": value for key, value in state.items()}
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / "checkpoint.part"
        save_file(tensors, part, metadata={"done": json.dumps(self.done)})
        os.replace(part, folder / "checkpoint.safetensors")

    def load(self, folder: Path) -> bool:
        """Go on from `folder`, if there is a checkpoint."""
        path = folder / "checkpoint.safetensors"
        if not path.exists():
            return False
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            self.done = json.loads(file.metadata()["done"])
        tensors = load_file(path)
        with torch.no_grad():
            for name, parameter in self.master.items():
                parameter.copy_(tensors[f"weight/{name}"])
        for i, optimizer in enumerate(self.optimizers):
            state: dict[int, dict[str, Any]] = {}
            for name, value in tensors.items():
                if name.startswith(f"optimizer/{i}/"):
                    _, _, j, key = name.split("/")
                    state.setdefault(int(j), {})[key] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        self.copy_down()
        return True

    def publish(self, folder: Path, tokenizer: Any) -> None:
        """The model in bf16 and its tokenizer, as `from_pretrained` reads them."""
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
