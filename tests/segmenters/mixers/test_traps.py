"""Each mixer against its formula, one token and one number at a time, and the mistakes that are easily made."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fovea.segmenters.mixers.aaren import AarenMixer  # noqa: E402
from fovea.segmenters.mixers.based import BasedMixer, features, taylor  # noqa: E402
from fovea.segmenters.mixers.combiner import CombinerMixer  # noqa: E402
from fovea.segmenters.mixers.gated_convolution import GatedConvolutionMixer  # noqa: E402
from fovea.segmenters.mixers.lightning import LightningMixer  # noqa: E402
from fovea.segmenters.mixers.rat import RATMixer  # noqa: E402
from fovea.segmenters.mixers.softmax import SoftmaxMixer  # noqa: E402
from fovea.segmenters.mixers.window import WindowMixer  # noqa: E402
from fovea.segmenters.mixing.module import Mixing  # noqa: E402
from fovea.segmenters.mixing.prefix import Pool, merge, prefixes  # noqa: E402
from tests.segmenters.mixers.plain import TOKENS, WIDTH, heads, made, sigmoid, softmax, turned  # noqa: E402


@pytest.mark.parametrize("mixer", [SoftmaxMixer(), WindowMixer(window=6)], ids=["softmax", "window"])
def test_softmax_shares_keys_by_neighbouring_heads_and_a_window_counts_the_token_itself(mixer):
    x, y, w = made(mixer)
    d, reach = WIDTH // 4, getattr(mixer, "window", TOKENS)
    q, k, v = (heads(x @ w[name], d) for name in ("query", "key", "value"))
    for t in range(TOKENS):
        seen = range(max(0, t - reach + 1), t + 1)
        out = []
        for h in range(4):
            g = h // 2
            p = softmax([turned(q[t, h], t) @ turned(k[j, g], j) / math.sqrt(d) for j in seen])
            out.append(sum(each * v[j, g] for each, j in zip(p, seen)))
        np.testing.assert_allclose(y[t], np.concatenate(out) @ w["write"], atol=1e-4)


def test_a_convolution_sees_kernel_tokens():
    x, y, w = made(GatedConvolutionMixer(kernel=3))
    gate, value = np.split(x @ w["read"], 2, axis=1)
    for t in range(TOKENS):
        mixed = sum(w["taps"][:, 2 - i] * value[t - i] for i in range(3) if t >= i)
        np.testing.assert_allclose(y[t], (gate[t] * sigmoid(gate[t]) * mixed) @ w["write"], atol=1e-5)


@pytest.mark.parametrize("depth", [0.0, 0.5, 1.0])
def test_lightning_is_its_recurrence_and_the_last_layer_hardly_forgets(depth):
    mixer = LightningMixer()
    rates = mixer.rates(depth)
    assert rates[0] == pytest.approx(math.exp(-(2**-2) * (1 - depth + 1e-5)))
    assert (min(rates) > 0.99999) is (depth == 1.0)
    assert rates == sorted(rates)
    x, y, w = made(mixer, depth=depth)
    q, k, v = (heads(each * sigmoid(each), 4) for each in np.split(x @ w["read"], 3, axis=1))
    memory = np.zeros((4, 4, 4))
    for t in range(TOKENS):
        o = []
        for h in range(4):
            memory[h] = rates[h] * memory[h] + np.outer(k[t, h], v[t, h])
            o.append(q[t, h] @ memory[h])
        o = np.concatenate(o)
        normed = o / np.sqrt((o * o).mean() + np.finfo(np.float32).eps) * w["norm"]
        np.testing.assert_allclose(y[t], (normed * sigmoid(x[t] @ w["down"] @ w["up"])) @ w["write"], atol=1e-4)


def test_based_is_normalised_by_what_it_weighs_and_its_features_are_the_series():
    q, k = torch.randn(5, 4), torch.randn(6, 4)
    z = q @ k.T / 2
    torch.testing.assert_close(features(q) @ features(k).T, 1 + z + z * z / 2)
    torch.testing.assert_close(taylor(q, k), 1 + z + z * z / 2)
    mixer = BasedMixer(feature=4, window=5)
    x, y, w = made(mixer)
    q, k, v = heads(x @ w["query"], 4), heads(x @ w["key"], 4), heads(x @ w["value"], 4)
    near_q, near_k, near_v = (heads(x @ w[f"near_{name}"], 4) for name in ("query", "key", "value"))
    for t in range(TOKENS):
        out = []
        for h in range(2):
            z = np.array([q[t, h] @ k[j, h] / 2 for j in range(t + 1)])
            p = 1 + z + z * z / 2
            out.append(p @ v[: t + 1, h] / p.sum())
        for h in range(2):
            seen = range(max(0, t - 4), t + 1)
            p = softmax([turned(near_q[t, h], t) @ turned(near_k[j, h], j) / 2 for j in seen])
            out.append(sum(each * near_v[j, h] for each, j in zip(p, seen)))
        np.testing.assert_allclose(y[t], np.concatenate(out) @ w["write"], atol=1e-4)


def test_rat_starts_each_chunk_anew_and_lays_its_groups_side_by_side():
    size, d = 4, 4
    x, y, w = made(RATMixer(chunk_tokens=size))
    g = sigmoid(x @ w["gate"] + w["bias"])
    q, k = (np.tile(x @ w[name], 2) for name in ("query", "key"))  # heads 0 1 0 1, not 0 0 1 1
    v = x @ w["value"]
    ends = []
    for t in range(TOKENS):
        if t % size == 0:
            run_k, run_v = np.zeros(WIDTH), np.zeros(WIDTH)
        run_k, run_v = g[t] * run_k + (1 - g[t]) * k[t], g[t] * run_v + (1 - g[t]) * v[t]
        out = []
        for h in range(4):
            own, at = slice(h * d, h * d + d), t // size
            seen = [*ends, (at, run_k, run_v)]
            p = softmax([turned(q[t, own], at) @ turned(each[own], n) / math.sqrt(d) for n, each, _ in seen])
            out.append(sum(weight * each[own] for weight, (_, _, each) in zip(p, seen)))
        if t % size == size - 1:
            ends.append((t // size, run_k, run_v))
        np.testing.assert_allclose(y[t], (sigmoid(x[t] @ w["out"]) * np.concatenate(out)) @ w["write"], atol=1e-4)


def test_the_memory_of_rats_channels_reaches_over_its_chunk():
    torch.manual_seed(0)
    spans = Mixing(RATMixer(chunk_tokens=64), 256).bias.exp()
    assert 1 <= spans.min() < 4
    assert 56 < spans.max() <= 63


def test_aaren_rescales_what_it_has_when_a_maximum_grows():
    """A scan that takes cumulative maxima but leaves older terms as they were is far off here."""
    scores = torch.tensor([0.0, 5.0, 1.0, 40.0, 39.0, 90.0]).expand(1, 1, 6)
    values = torch.randn(1, 1, 6, 3, generator=torch.Generator().manual_seed(0))
    found = prefixes(scores, values).value
    for t in range(6):
        expected = scores[..., : t + 1].softmax(dim=-1) @ values[0, 0, : t + 1]
        torch.testing.assert_close(found[:, :, t], expected)
    maxima = scores.cummax(dim=-1).values
    wrong = ((scores - maxima).exp()[..., None] * values).cumsum(dim=2) / (scores - maxima).exp().cumsum(-1)[..., None]
    assert not torch.allclose(wrong, found, atol=1e-2)


def test_pools_merge_in_any_grouping():
    one, two, three = (Pool(*(torch.rand(2, 2) * 50, torch.rand(2, 2) + 1, torch.rand(2, 2, 3))) for _ in range(3))
    left, right = merge(merge(one, two), three), merge(one, merge(two, three))
    torch.testing.assert_close(left.value, right.value)


def test_aaren_asks_the_same_of_every_token():
    x, y, w = made(AarenMixer())
    k, v = heads(x @ w["key"], 4), heads(x @ w["value"], 4)
    for t in range(TOKENS):
        out = [softmax(k[: t + 1, h] @ w["query"][h] / 2) @ v[: t + 1, h] for h in range(4)]
        np.testing.assert_allclose(y[t], np.concatenate(out) @ w["write"], atol=1e-4)


def summary(q, k, v, tokens, h):
    ask = q[tokens, h].mean(axis=0)
    return k[tokens, h].mean(axis=0), softmax(k[tokens, h] @ ask / 2) @ v[tokens, h]


@pytest.mark.parametrize("form", ["fixed", "axial"])
def test_a_combiners_summary_counts_once_and_is_made_of_the_past(form):
    size = 4
    x, y, w = made(CombinerMixer(segment=size, form=form))
    q, k, v = (heads(x @ w[name], 4) for name in ("query", "key", "value"))
    for t in range(TOKENS):
        row, first = t // size, t // size * size
        if form == "fixed":
            groups = [list(range(n * size, n * size + size)) for n in range(row)]
        else:
            groups = [list(range(column, first, size)) for column in range(size)] if row else []
        assert sorted(j for group in groups for j in group) == list(range(first)), (
            "each earlier token is in one summary"
        )
        out = []
        for h in range(4):
            far = [summary(q, k, v, tokens, h) for tokens in groups]
            near = [turned(q[t, h], t - first) @ turned(k[j, h], j - first) for j in range(first, t + 1)]
            p = softmax(np.array([q[t, h] @ key for key, _ in far] + near) / 2)
            out.append(p @ np.array([value for _, value in far] + [v[j, h] for j in range(first, t + 1)]))
        np.testing.assert_allclose(y[t], np.concatenate(out) @ w["write"], atol=1e-4)
