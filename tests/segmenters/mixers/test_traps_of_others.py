"""Patterns, experts, memories and clusters against their rules, one token at a time."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fovea.rag.errors import ConfigError  # noqa: E402
from fovea.segmenters.mixers.attention_experts import AttentionExpertsMixer  # noqa: E402
from fovea.segmenters.mixers.bilevel import BilevelMixer  # noqa: E402
from fovea.segmenters.mixers.diff_qkv import DiffQKVMixer  # noqa: E402
from fovea.segmenters.mixers.low_rank_pooling import LowRankPoolingMixer  # noqa: E402
from fovea.segmenters.mixers.power import PowerMixer  # noqa: E402
from fovea.segmenters.mixers.routing import RoutingMixer  # noqa: E402
from fovea.segmenters.mixers.s2 import S2Mixer  # noqa: E402
from fovea.segmenters.mixers.titans import TitansMixer  # noqa: E402
from fovea.segmenters.mixing.module import Mixing  # noqa: E402
from tests.segmenters.mixers.plain import TOKENS, WIDTH, heads, made, sigmoid, softmax, turned  # noqa: E402


def attended(mixer, seen):
    """Plain attention of which token t and query head h read the tokens `seen(t, h)`, keys shared by neighbours."""
    x, y, w = made(mixer)
    q, k, v = (heads(x @ w[name], 4) for name in ("query", "key", "value"))
    share = 4 // k.shape[1]
    for t in range(TOKENS):
        out = []
        for h in range(4):
            rows = [j for j in range(t + 1) if seen(t, j, h // share)]
            p = softmax([turned(q[t, h], t) @ turned(k[j, h // share], j) / 2 for j in rows])
            out.append(sum(each * v[j, h // share] for each, j in zip(p, rows)))
        np.testing.assert_allclose(y[t], np.concatenate(out) @ w["write"], atol=1e-4)


def test_power_reads_the_first_block_the_near_ones_and_doubling_distances():
    mixer = PowerMixer(block=1, near=3)
    assert mixer.blocks(21) == [0, 5, 13, 17, 19, 20, 21]
    attended(mixer, lambda t, j, h: j == 0 or t - j < 3 or (t - j) & (t - j - 1) == 0)
    assert PowerMixer(block=16, near=1).blocks(0) == [0]


def test_s2_strides_by_the_place_in_the_text_and_heads_cover_all_of_it():
    mixer = S2Mixer(block=2, stride=4, near=2)
    seen = lambda t, j, h: (j // 2 + h) % 4 == 0 or t // 2 - j // 2 < 2  # noqa: E731
    attended(mixer, seen)
    assert {j for h in range(4) for j in range(TOKENS) if seen(TOKENS - 1, j, h)} == set(range(TOKENS))
    full = 2 * 4 * 4 * 1000
    assert full / 4 < mixer.state_size(16, 1000) < full / 3.8


def test_diff_qkv_counts_key_and_value_heads_by_themselves():
    x, y, w = made(DiffQKVMixer())
    inner = x @ w["widen"]
    q = heads((inner * sigmoid(inner)) @ w["query"], 4)
    k, v = heads(x @ w["key"], 4), heads(x @ w["value"], 4)
    for t in range(TOKENS):
        out = []
        for h in range(4):
            p = softmax([turned(q[t, h], t) @ turned(k[j, 0], j) / 2 for j in range(t + 1)])
            out.append(sum(each * v[j, h * 2 // 4] for j, each in enumerate(p)))
        np.testing.assert_allclose(y[t], np.concatenate(out) @ w["write"], atol=1e-4)
    with pytest.raises(ConfigError, match=r"mixer\.key_heads: 4 heads do not share 3 evenly\n  allowed: 1, 2, 4"):
        Mixing(DiffQKVMixer(key_heads=3), WIDTH)


def test_experts_are_weighed_each_with_an_output_of_its_own():
    x, y, w = made(AttentionExpertsMixer(experts=3))
    q = (x @ w["query"]).reshape(TOKENS, 3, 4, 4)
    k, v = heads(x @ w["key"], 4), heads(x @ w["value"], 4)
    for t in range(TOKENS):
        expected = 0
        for e, share in enumerate(softmax(x[t] @ w["route"])):
            out = []
            for h in range(4):
                p = softmax([turned(q[t, e, h], t) @ turned(k[j, h // 2], j) / 2 for j in range(t + 1)])
                out.append(sum(each * v[j, h // 2] for j, each in enumerate(p)))
            expected = expected + share * np.concatenate(out) @ w["write"][e]
        np.testing.assert_allclose(y[t], expected, atol=1e-4)


def test_low_rank_pooling_asks_by_the_mean_so_far():
    x, y, w = made(LowRankPoolingMixer(rank=4))
    k, v = x @ w["key"], heads(x @ w["value"], 4)
    for t in range(TOKENS):
        ask = x[: t + 1].mean(axis=0) @ w["context"]
        out = [softmax((k[: t + 1] * w["scale"][m]) @ ask / 2) @ v[: t + 1, m] for m in range(4)]
        np.testing.assert_allclose(y[t], np.concatenate(out) @ w["write"], atol=1e-4)


@torch.no_grad()
def test_titans_reads_the_memory_of_before_its_segment_and_updates_by_the_recurrence():
    torch.manual_seed(3)
    net, size = Mixing(TitansMixer(segment=5, memory=4), WIDTH).double(), 5
    net.rates.weight.normal_(std=0.3)
    x = torch.randn(1, 15, WIDTH, dtype=torch.double)
    memory = [net.first.clone(), net.second.clone()]
    surprise = [torch.zeros_like(each) for each in memory]
    for n in range(3):
        part = x[:, n * size : n * size + size]
        _, state = net.chunk(x[:, : n * size + size])
        before = net.chunk(x[:, : n * size])[1].kept[:4] if n else None
        if before:
            torch.testing.assert_close(
                net.chunk(x)[0][:, n * size : n * size + size], net.mixer.read(net, part, before)
            )
            for mine, other in zip(memory + surprise, before):
                torch.testing.assert_close(mine, other[0])
        theta = net.rates(part)[0, :, 0].sigmoid()
        eta, alpha = net.rates(part.mean(dim=1))[0, 1:].sigmoid()
        start = [each.clone() for each in memory]
        for t in range(size):
            with torch.enable_grad():
                one, two = (each.clone().requires_grad_() for each in start)
                key = torch.nn.functional.normalize(net.learn(part[0, t]), dim=-1)
                value = torch.nn.functional.rms_norm(net.what(part[0, t]), (4,), eps=1e-6)
                miss = key + torch.nn.functional.silu(key @ one) @ two - value
                miss.square().mean().backward()
            surprise = [eta * s - theta[t] * w.grad for s, w in zip(surprise, (one, two))]
            memory = [(1 - alpha) * m + s for m, s in zip(memory, surprise)]
        for mine, other in zip(memory + surprise, state.kept):
            torch.testing.assert_close(mine, other[0])
    assert not torch.allclose(memory[0], net.first), "it has learned"


def test_titans_recalls_what_its_segments_cannot_see():
    net = Mixing(TitansMixer(segment=4), WIDTH)
    x = torch.randn(1, 12, WIDTH)
    other = x.clone()
    other[:, 1] += 1
    with torch.no_grad():
        moved = (net(other) - net(x)).abs().amax(dim=(0, 2))
    assert moved[0] == 0
    assert moved[4:].min() > 1e-5


@torch.no_grad()
def test_routing_sees_the_last_of_its_own_cluster_and_itself_only_where_there_is_none():
    torch.manual_seed(1)
    net = Mixing(RoutingMixer(clusters=3, window=2), WIDTH).eval()
    x = torch.randn(1, TOKENS, WIDTH)
    y = net(x)[0].numpy()
    q, v = (heads(part(x)[0].numpy(), 4) for part in (net.look, net.value))
    k = q / np.linalg.norm(q, axis=-1, keepdims=True)
    cluster = np.einsum("thd,hcd->thc", k, net.centroids.numpy()).argmax(axis=-1)
    assert len(np.unique(cluster)) == 3
    for t in range(TOKENS):
        out = []
        for h in range(4):
            rows = [j for j in range(t) if cluster[j, h] == cluster[t, h]][-2:] or [t]
            out.append(softmax(k[rows, h] @ q[t, h] / 2) @ v[rows, h])
        np.testing.assert_allclose(y[t], np.concatenate(out) @ net.write.weight.numpy().T, atol=1e-4)


def test_centroids_move_in_training_alone():
    net, x = Mixing(RoutingMixer(decay=0.5), WIDTH), torch.randn(2, 30, WIDTH)
    first = net.centroids.clone()
    net.eval()(x)
    assert torch.equal(net.centroids, first)
    net.train()(x)
    assert not torch.allclose(net.centroids, first)
    torch.testing.assert_close(net.centroids.norm(dim=-1), torch.ones(4, 4))


def test_regions_are_chosen_by_what_was_read_and_hold_what_they_held():
    size, top = 4, 2
    x, y, w = made(BilevelMixer(region=size, top=top))
    q, k, v = (x @ w[name] for name in ("query", "key", "value"))
    for t in range(TOKENS):
        own = t // size
        ask = q[own * size : t + 1].mean(axis=0)
        scores = [ask @ k[r * size : r * size + size].mean(axis=0) for r in range(own)]
        chosen = np.argsort(scores)[::-1][:top] if own else []
        rows = sorted(j for r in chosen for j in range(r * size, r * size + size)) + list(range(own * size, t + 1))
        out = []
        for h in range(4):
            part = slice(4 * h, 4 * h + 4)
            out.append(softmax(k[rows, part] @ q[t, part] / math.sqrt(4)) @ v[rows, part])
        local = sum(w["taps"][:, 2 - i] * v[t - i] for i in range(3) if t >= i)
        np.testing.assert_allclose(y[t], (np.concatenate(out) + local) @ w["write"], atol=1e-4)
