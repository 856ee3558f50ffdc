"""Where segments end if they could end anywhere, by how long segments are: a semi-Markov chain over gaps.

A way to segment has the weight exp(sum of the gains at its boundaries + sum of log P(length) of its segments). Of one
prior on lengths, forward and backward sums give P(boundary at a gap) and the evidence, the sum over all ways. Of
several, each with gains of its own, each prior counts by its evidence, so that a text says by itself how long its
segments are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Posterior(NamedTuple):
    """What is known of boundaries once all gains are read."""

    boundary: np.ndarray
    """P(boundary) at each gap: float64 `(gaps,)`."""
    prior: np.ndarray
    """P(prior) of each prior on lengths: float64 `(priors,)`."""


def posterior(gains: np.ndarray, log_lengths: np.ndarray, log_priors: np.ndarray, trust: float = 1.0) -> Posterior:
    """Of `gains` `(priors, gaps)`, log P(length) `(priors, longest)` and log P(prior) `(priors,)`.

    The log of the evidence counts `trust` times: under 1 where gains of neighbouring gaps say the same again and again.
    No segment is longer than `longest`. O(gaps * priors * longest).
    """
    n = gains.shape[1] + 1
    log_lengths = log_lengths[:, :n]
    before, after = _sums(gains, log_lengths), _sums(gains[:, ::-1], log_lengths)[:, ::-1]
    evidence = trust * before[:, n] + log_priors
    weights = np.exp(evidence - evidence.max())
    weights /= weights.sum()
    # What stands before a gap and after it both hold the gain there.
    each = np.exp(before[:, 1:n] + after[:, 1:n] - gains - before[:, n:])
    return Posterior(np.minimum(weights @ each, 1), weights)


def _sums(gains: np.ndarray, log_lengths: np.ndarray) -> np.ndarray:
    """Log of the sum over the ways to segment the first j units, the gain of a boundary after them in it: `(priors,
    units + 1)`; -inf where there is no way.
    """
    (priors, longest), n = log_lengths.shape, gains.shape[1] + 1
    found = np.full((priors, longest + n + 1), -np.inf)
    found[:, longest] = 0
    backwards, padded = log_lengths[:, ::-1], np.pad(gains, [(0, 0), (0, 1)])
    for end in range(1, n + 1):
        ways = found[:, end : end + longest] + backwards
        most = ways.max(1)
        found[:, longest + end] = most + np.log(np.exp(ways - most[:, None]).sum(1)) + padded[:, end - 1]
    return found[:, longest:]
