"""A directed graph over rows, whose nodes have as many edges as they need.

Edges lie in blocks of four; a block's fifth number is the node's next block. So a node that nobody wants takes 4 bytes,
one that many want has room for its edges, and an edge is added without moving any.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

WIDTH = 4
"""Edges of a block."""
BLOCK = 4 * (WIDTH + 1)
"""Its bytes."""


class Graph(NamedTuple):
    """Edges of row `first + n`: blocks from `heads[n]` on, -1 ends; targets are rows too."""

    heads: np.ndarray
    """(nodes,) int32"""
    blocks: np.ndarray
    """(room, 5) int32: four targets, -1 where there is none, and the next block"""
    used: np.ndarray
    """(2,) int64: blocks that are taken, and `first`"""


def graph_of(first: int, nodes: int, room: int) -> Graph:
    """A graph without edges, with `room` blocks."""
    blocks = np.full((room, WIDTH + 1), -1, np.int32)
    return Graph(np.full(nodes, -1, np.int32), blocks, np.array([0, first], np.int64))


def with_room(graph: Graph, nodes: int, blocks: int) -> Graph:
    """The same graph in arrays of its own, for `nodes` nodes and `blocks` more blocks."""
    used, first = graph.used
    larger = graph_of(int(first), nodes, int(used) + blocks)
    larger.heads[: len(graph.heads)] = graph.heads
    larger.blocks[:used] = graph.blocks[:used]
    larger.used[0] = used
    return larger
