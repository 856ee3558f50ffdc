"""What the kernels compute, in plain NumPy: tests compare every kernel to its namesake here."""

from __future__ import annotations

from typing import Any

import numpy as np


def top_k(keys: np.ndarray, q: np.ndarray, k: int, bias: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of `keys` (tokens, d) with the largest q . key + bias, best first: ids and logits, (queries, k)."""
    logits = (q @ keys.T).astype(np.float32) + (0 if bias is None else bias)
    ids = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(logits, ids, axis=1)
    short = ((0, 0), (0, k - ids.shape[1]))
    return np.pad(ids, short, constant_values=-1).astype(np.int32), np.pad(found, short, constant_values=-np.inf)


def attend(values: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """softmax(logits) . values and log-sum-exp; logits (queries, tokens), values (tokens, d), an empty set allowed."""
    if not logits.shape[1]:
        return np.zeros((len(logits), values.shape[1]), np.float32), np.full(len(logits), -np.inf, np.float32)
    most = logits.max(axis=1, keepdims=True)
    weights = np.exp(logits - most, where=logits > -np.inf, out=np.zeros_like(logits))
    total = weights.sum(axis=1, keepdims=True)
    return (weights @ values) / total, (most + np.log(total))[:, 0]


def wanted_rows(centroids: np.ndarray, q: np.ndarray, probes: int, least: int, cells: np.ndarray) -> np.ndarray:
    """Rows of the `probes` best cells of each query, and of twice as many until they hold `least`."""
    scores = q @ centroids[:, : q.shape[1]].T + (centroids[:, q.shape[1] :].T if centroids.shape[1] > q.shape[1] else 0)
    chosen = set()
    for mine in scores:
        wanted = min(probes, len(mine))
        while np.isin(cells, best := np.argsort(-mine, kind="stable")[:wanted]).sum() < least and wanted < len(mine):
            wanted = min(2 * wanted, len(mine))
        chosen.update(best.tolist())
    return np.concatenate([np.flatnonzero(cells == c) for c in sorted(chosen)]).astype(np.int32)


def attend_rest(
    values: np.ndarray,
    clusters: Any,
    q: np.ndarray,
    variances: np.ndarray,
    lean: np.ndarray,
    ids: np.ndarray,
    logits: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Found rows, and each cluster's rest as so many tokens of one weight and one value; in float64."""
    outs, lses = [], []
    for g, query in enumerate(q.astype(np.float64)):
        mine, known = ids[g][ids[g] >= 0], logits[g][ids[g] >= 0].astype(np.float64)
        weights, points = [np.exp(known)], [values[mine].astype(np.float64)]
        owner = clusters.cells[mine - clusters.first]
        for c, size in enumerate(clusters.sizes):
            here, left = owner == c, size - (owner == c).sum()
            if left < 0.5:
                continue
            mean, whole = query @ clusters.keys[c], float(variances[g] * clusters.spread[c])
            delta = known[here] - mean
            variance = (size * whole - (delta**2).sum()) / left - (delta.sum() / left) ** 2
            half = np.clip(variance, 0, whole) / 2
            log = mean - delta.sum() / left + (np.log1p(half) if clusters.taylor else half)
            weights.append([left * np.exp(min(log, known.min(initial=np.inf)))])
            value = (size * clusters.values[c].astype(np.float64) - points[0][here].sum(axis=0)) / left
            value = value + lean[g] / (1 + half if clusters.taylor else 1)
            points.append(value[None])
        weight = np.concatenate(weights)
        outs.append(weight @ np.concatenate(points) / weight.sum())
        lses.append(np.log(weight.sum()))
    return np.array(outs), np.array(lses)


def walk(rows: np.ndarray, bias: np.ndarray, q: np.ndarray, graph: Any, ef: int) -> tuple[np.ndarray, int, int]:
    """For one query (d,): the `ef` best rows met, best first, how many rows were scored, and how many nodes left."""

    def logit(node: int) -> float:
        row = graph.first + node
        return float(rows[row] @ q + (bias[row] if len(bias) else 0))

    met = {int(node): logit(node) for node in graph.entries}
    waiting, left = dict(met), 0
    while waiting:
        best = sorted(met.values(), reverse=True)[:ef]
        node = max(waiting, key=lambda one: waiting[one])
        if len(best) == ef and waiting.pop(node) < best[-1]:
            break
        waiting.pop(node, None)
        left += 1
        begin = graph.offsets[node]
        links = graph.links[begin : begin + graph.width]
        for other in (int(one) for one in links[: np.argmax(np.append(links, -1) < 0)] if one not in met):
            met[other] = logit(other)
            if len(best) < ef or met[other] > best[-1]:
                waiting[other] = met[other]
    order = sorted(met, key=lambda one: -met[one])[:ef]
    return graph.first + np.array(order), len(met), left


def attend_waves(
    table: tuple[np.ndarray, np.ndarray], waves: Any, head: int, q: np.ndarray, near: Any, rest: float, most_rows: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """One head's: output (queries, d), log-sum-exp (queries,), and rows read; `table` is all its keys and values."""
    from fovea.attention_retrieval.rounding import decode, decode_codes

    (keys, values), d = table, q.shape[1]
    mine = range(waves.first[head], waves.first[head + 1])
    rows = [waves.low[c] + waves.members[waves.starts[c] : waves.starts[c + 1]].astype(int) for c in mine]
    segments = range(waves.segments[head], waves.segments[head + 1])
    scales = decode(np.repeat(waves.key_scales[segments], waves.clusters[segments], axis=0))
    own = decode(waves.value_scales[mine])
    sizes, means = (
        np.array([len(each) for each in rows]),
        decode_codes(waves.keys[mine], scales[:, 0], scales[:, 1], 8, d),
    )
    middle = decode_codes(waves.values[mine], own[:, :1], own[:, 1:], 8, d)
    around = np.zeros((d, d), np.float32)
    around[np.triu_indices(d)] = waves.around[head] * waves.factor[head]
    wide = np.maximum((q @ (around + np.triu(around, 1).T) * q).sum(axis=1), 0) / 2
    logs = q @ means.T + wide[:, None] * decode(waves.spread[mine])
    chosen, room = np.zeros(len(rows), bool), np.full(len(q), float(most_rows))
    for _ in range(4):
        read = np.flatnonzero(np.isin(np.arange(len(keys)), np.concatenate([np.zeros(0, int), *_of(rows, chosen)])))
        so_far = np.logaddexp(near.lse, attend(values[read], (q @ keys[read].T))[1])
        more = chosen.copy()
        for g, (log, lse) in enumerate(zip(np.where(chosen, -np.inf, logs), so_far)):
            if not np.isfinite(log.max()):
                continue
            weight = np.exp(log - log.max()) * sizes
            bins = np.minimum(np.where(chosen, 99, (log.max() - logs[g]) * 4).astype(int), 63)
            left, taken = weight.sum() if rest else np.inf, 0.0
            allowed = rest * (weight.sum() + np.exp(lse - log.max()))
            for cut in range(64):
                here = (bins == cut) & ~chosen
                if left <= allowed or taken + sizes[here].sum() > room[g]:
                    break
                left, taken, more = left - weight[here].sum(), taken + sizes[here].sum(), more | here
            room[g] -= taken
        chosen = more
    read = np.concatenate([np.zeros(0, int), *_of(rows, chosen)])
    logits = np.concatenate([q @ keys[read].T, logs[:, ~chosen] + np.log(sizes[~chosen]), near.lse[:, None]], axis=1)
    most = logits.max(axis=1, keepdims=True)
    weights = np.exp(logits - most)
    known = len(read) + (~chosen).sum()
    out = weights[:, :known] @ np.concatenate([values[read], middle[~chosen]]) + weights[:, known:] * near.out
    total = weights.sum(axis=1, keepdims=True)
    return out / total, (most + np.log(total))[:, 0], len(read)


def _of(rows: list[np.ndarray], chosen: np.ndarray) -> list[np.ndarray]:
    return [each for each, taken in zip(rows, chosen) if taken]


def attend_rows(
    keys: np.ndarray, values: np.ndarray, q: np.ndarray, ids: np.ndarray, near: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all heads, keys and values (heads, rows, d): a head's ids, and what was attended to before as one row more."""
    out, lse = np.empty_like(q), np.empty(q.shape[:2], np.float32)
    logits = np.full((*q.shape[:2], ids.shape[1]), -np.inf, np.float32)
    for head, mine in enumerate(ids):
        mine = mine[mine >= 0]
        logits[head, :, : len(mine)] = q[head] @ keys[head, mine].T
        for g, known in enumerate(logits[head, :, : len(mine)]):
            rows = np.concatenate([values[head, mine], near.out[head, g][None]])
            part = attend(rows, np.append(known, near.lse[head, g])[None].astype(np.float32))
            out[head, g], lse[head, g] = part[0][0], part[1][0]
    return out, lse, logits
