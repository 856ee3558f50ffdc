"""InfoNCE: a question's vector is drawn to the passages that answer it and away from the others.

    loss = mean over questions of -log( sum over answers p of exp(q . p / t) / sum over candidates c of exp(q . c / t) )

(A. van den Oord, Y. Li, O. Vinyals, "Representation learning with contrastive predictive coding", 2018.) The candidates
of a batch are the answers and hard negatives of all its questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from fovea.retrievers.training.asked import Asked


def info_nce(
    questions: torch.Tensor,
    candidates: torch.Tensor,
    answers: torch.Tensor,
    temperature: float,
    apart: torch.Tensor | None = None,
) -> torch.Tensor:
    """The loss of unit vectors `(questions, dim)` and `(candidates, dim)`; `answers` bool `(questions, candidates)`
    says which answer, `apart` which are no candidates of a question.
    """
    logits = questions @ candidates.T / temperature
    if apart is not None:
        logits = logits.masked_fill(apart, -torch.inf)
    right = logits.masked_fill(~answers, -torch.inf)
    return (logits.logsumexp(1) - right.logsumexp(1)).mean()


def candidates_of(asked: Asked, batch: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The rows of all candidates of a batch, rising, and which of them answer: bool `(batch, candidates)`."""
    rows = np.unique(np.concatenate([np.concatenate([asked.relevant[i], asked.negatives[i]]) for i in batch]))
    return rows, np.stack([np.isin(rows, asked.relevant[i]) for i in batch])
