"""A tree of clusters over a head's keys, and the cut through it that costs least.

A level's clusters are k-means of what is a level below, rows at first, so that each lies in one of the next. A cut
takes every row once: itself, or in one of the clusters above it. Of all cuts it is the one with the least

    sum of the errors of its clusters + price * (its clusters and rows)

found from below: a cluster stands if that is no more than the best of what it is made of (pruning of trees by cost,
Breiman et al., 1984). Everything is batched over kv heads; a cluster may be empty, and is then in no cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch


class Level(NamedTuple):
    """Clusters of all heads' rows."""

    keys: torch.Tensor
    """Mean keys, (heads, clusters, d) float32."""
    values: torch.Tensor
    """Mean values, likewise."""
    sizes: torch.Tensor
    """Rows of each, (heads, clusters) float32."""
    spread: torch.Tensor
    """Mean square distance of its keys from their mean, (heads, clusters)."""
    above: torch.Tensor
    """The cluster that each row, or each cluster of the level below, lies in: (heads, those)."""


class Tree(NamedTuple):
    """Levels, the finest first, and how rows lie around the means of its clusters."""

    levels: list[Level]
    around: torch.Tensor
    """Sum of (k - mean)(k - mean)' over all rows, (heads, d, d)."""
    cross: torch.Tensor
    """Sum of (v - mean)(k - mean)', likewise."""


def grown(
    keys: torch.Tensor, values: torch.Tensor, points: torch.Tensor, sizes: Sequence[int], alone: int, steps: int
) -> Tree:
    """Of a segment's rows (heads, rows, d), as `points` (heads, rows, d) lie together."""
    heads, rows, d = keys.shape
    levels: list[Level] = []
    whole, below, cell = torch.cat([keys, values, points], dim=2), points, torch.arange(rows, device=keys.device)
    cell = cell.expand(heads, -1)
    for size in sizes:
        above, count = kmeans(below, max(rows // size, 1), steps, 0 if levels else min(alone, rows - 1))
        cell = above.gather(1, cell)
        means, many = averages(whole, cell, count)
        apart = whole[..., : 2 * d] - of_each(means[..., : 2 * d], cell)
        mean, middle, below = means.split(d, dim=2)
        off = apart[..., :d]
        spread = averages(off.square().sum(dim=2, keepdim=True), cell, count)[0][..., 0]
        if not levels:
            around, cross = (each.transpose(1, 2) @ off for each in apart.split(d, dim=2))
        levels.append(Level(mean.contiguous(), middle.contiguous(), many, spread, above))
    return Tree(levels, around, cross)


def averages(points: torch.Tensor, cells: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Means (heads, count, d) of the points (heads, rows, d) of each cell, and their number; 0 where there are none."""
    heads, _, d = points.shape
    flat = (cells + count * torch.arange(heads, device=cells.device)[:, None]).flatten()
    sums = points.new_zeros(heads * count, d).index_add_(0, flat, points.flatten(0, 1)).view(heads, count, d)
    many = torch.bincount(flat, minlength=heads * count).view(heads, count).to(points.dtype)
    return sums / many.clamp(1)[..., None], many


def of_each(means: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """The mean of each row's cell, (heads, rows, d)."""
    heads, count, d = means.shape
    flat = (cells + count * torch.arange(heads, device=cells.device)[:, None]).flatten()
    return means.reshape(heads * count, d)[flat].view(heads, -1, d)


def kmeans(points: torch.Tensor, count: int, steps: int, alone: int) -> tuple[torch.Tensor, int]:
    """Cells of (heads, rows, d) and their number: k-means from evenly spaced rows, then the `alone` rows that are
    furthest from their mean, each a cell of its own."""
    heads, rows, _ = points.shape
    centres = points[:, torch.arange(count, device=points.device) * rows // count]
    for step in range(steps + 1):
        cells = torch.baddbmm(centres.square().sum(2)[:, None] / -2, points, centres.transpose(1, 2)).argmax(dim=2)
        if step < steps or alone:
            means, many = averages(points, cells, count)
            centres = torch.where(many[..., None] > 0, means, centres)
    if alone:
        away = (points - of_each(centres, cells)).square().sum(dim=2)
        own = torch.arange(count, count + alone, device=cells.device).expand(heads, -1)
        cells = cells.scatter(1, away.topk(alone, dim=1).indices, own)
    return cells, count + alone


def joined(parts: Sequence[Tree]) -> Tree:
    """Of segments that follow each other."""
    levels = [_joined(those) for those in zip(*(part.levels for part in parts))]
    return Tree(levels, *(torch.stack(each).sum(dim=0) for each in zip(*(part[1:] for part in parts))))


def _joined(parts: Sequence[Level]) -> Level:
    columns, before = list(zip(*parts)), np.cumsum([0, *(part.keys.shape[1] for part in parts)]).tolist()
    keys, values, sizes, spread = (torch.cat(each, dim=1) for each in columns[:4])
    above = torch.cat([part.above + first for part, first in zip(parts, before)], dim=1)
    return Level(keys, values, sizes, spread, above)


def cut(levels: Sequence[Level], errors: Sequence[torch.Tensor], price: float) -> list[torch.Tensor]:
    """Which rows, and which clusters of each level, are in the best cut: (heads, those) bool, rows first.

    `errors` are (heads, clusters) by level; a row has none.
    """
    stands, best = [], errors[0].new_full(levels[0].above.shape, price)
    for level, error in zip(levels, errors):
        parts = torch.zeros_like(error).scatter_add_(1, level.above, best)
        stands.append((error + price <= parts) & (level.sizes > 0))
        best = torch.minimum(error + price, parts)
    taken, free = [], torch.ones_like(stands[-1])
    for level, stand in zip(reversed(levels), reversed(stands)):
        taken.append(free & stand)
        free = (free & ~stand).gather(1, level.above)
    return [free, *reversed(taken)]
