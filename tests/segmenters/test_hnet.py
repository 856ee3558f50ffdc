"""Dynamic chunking: its equations against plain Python, numpy against torch, and the three segmenters made of it."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.rag.encoder import Encoder
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError
from fovea.rag.testing.segmenters import HOSTILE
from fovea.rag.trained import load, save
from fovea.rag.types import Document
from fovea.segmenters import routing
from fovea.segmenters.byte_chunks import byte_chunks
from fovea.segmenters.hnet_bytes import HNetBytesSegmenter, thin
from fovea.segmenters.hnet_rule import FEWEST, HNetRuleSegmenter, blocks, centred, means, rule
from fovea.segmenters.hnet_sentence import HNetSentenceSegmenter
from fovea.segmenters.sectioned import Sectioned
from fovea.segmenters.training import hnet_parts as parts
from fovea.segmenters.training.byte_network import ByteNetwork, Shape
from fovea.segmenters.training.hnet_bytes import HNetBytesRecipe, word_starts
from fovea.segmenters.training.hnet_sentence import HNetSentenceRecipe, following, pick
from fovea.segmenters.training.sentence_network import SentenceNetwork
from fovea.segmenters.units import Units
from tests.learned_weights import weights_of
from tests.segmenters.test_segmenters import TEXTS

HASH = HashEncoder(size=32)
SEEDS = st.integers(0, 2**32 - 1)
SMALL = Shape(outer=8, inner=32, kernel=3, dilations=(1, 2), layers=1)


class Given(Encoder):
    """An encoder whose vectors are given: the text of a unit is its number."""

    rows: object

    @property
    def dim(self):
        return self.rows.shape[1]

    @property
    def space(self):
        return "given"

    @property
    def window(self):
        return None

    @property
    def tokenizer(self):
        return HASH.tokenizer

    def encode(self, texts, role="document"):
        return self.rows[[int(t) for t in texts]]


def given_vectors(vectors):
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return Units.given([str(i) for i in range(len(rows))]), Given.model_construct(rows=rows.astype(np.float32))


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


# Routing


def plain_route(x, w_q, w_k):
    """The equations, one number at a time."""
    p = []
    for t in range(len(x)):
        if t == 0:
            p.append(1.0)
            continue
        q = [sum(x[t - 1][i] * w_q[i][j] for i in range(len(w_q))) for j in range(len(w_q))]
        k = [sum(x[t][i] * w_k[i][j] for i in range(len(w_k))) for j in range(len(w_k))]
        cos = sum(a * b for a, b in zip(q, k)) / math.sqrt(sum(a * a for a in q) * sum(b * b for b in k))
        p.append(min(max((1 - cos) / 2, 0.0), 1.0))
    b = [value > 0.5 for value in p]
    return p, b, [value if on else 1 - value for value, on in zip(p, b)]


def plain_dechunk(z, p, b):
    out, last, m = [], [0.0] * len(z[0]), -1
    for t in range(len(p)):
        if b[t]:
            m += 1
            weight = min(max(p[t], 1e-4), 1 - 1e-4)
            last = [weight * new + (1 - weight) * old for new, old in zip(z[m], last)]
        out.append(last)
    return out


def plain_ratio(p, b, n):
    chosen, expected = sum(b) / len(b), sum(p) / len(p)
    return n / (n - 1) * ((n - 1) * chosen * expected + (1 - chosen) * (1 - expected))


@given(SEEDS, st.integers(1, 24), st.integers(1, 6))
def test_the_equations_in_numpy_and_torch_are_those_of_plain_python(seed, length, dim):
    draw = np.random.default_rng(seed)
    x, w_q, w_k = draw.normal(size=(length, dim)), draw.normal(size=(dim, dim)), draw.normal(size=(dim, dim))
    p, b, c = plain_route(x, w_q, w_k)
    assert p[0] == 1
    ours = routing.route(x, w_q, w_k)
    np.testing.assert_allclose(ours.p, p, atol=1e-9)
    sure = np.abs(np.array(p) - 0.5) > 1e-9
    assert (ours.b == b)[sure].all()
    np.testing.assert_allclose(ours.c, c, atol=1e-9)

    router, mask = parts.Router(dim).double(), torch.ones(1, length, dtype=torch.bool)
    router.query.data, router.key.data = torch.from_numpy(w_q), torch.from_numpy(w_k)
    theirs = router(torch.from_numpy(x)[None], mask)
    np.testing.assert_allclose(theirs.p[0].detach(), p, atol=1e-9)

    z = draw.normal(size=(int(ours.b.sum()), dim))
    expected = plain_dechunk(z.tolist(), ours.p.tolist(), ours.b.tolist())
    np.testing.assert_allclose(routing.dechunk(z, ours.p, ours.b), expected, atol=1e-9)
    found = parts.dechunk(
        torch.from_numpy(z)[None], torch.from_numpy(ours.p[ours.b])[None], torch.from_numpy(ours.b)[None]
    )
    np.testing.assert_allclose(found[0], expected, atol=1e-6)

    for target in (2.0, 5.5):
        assert routing.ratio_loss(ours.p, ours.b, target) == pytest.approx(plain_ratio(p, ours.b.tolist(), target))
        found = parts.ratio_loss(theirs, mask, target).item()
        assert found == pytest.approx(routing.ratio_loss(ours.p, theirs.b[0].numpy(), target))


def test_an_identity_router_compares_neighbours():
    x = np.array([[1.0, 0], [1, 0], [0, 1], [0, -1]])
    routed = routing.route(x, np.eye(2), np.eye(2))
    assert routed.p.tolist() == [1, 0, 0.5, 1]
    assert routed.b.tolist() == [True, False, False, True]  # One half is no boundary.
    assert routed.c.tolist() == [1, 1, 0.5, 1]


def test_dechunk_needs_a_chunk_for_every_boundary():
    with pytest.raises(ValueError, match="as many boundaries"):
        routing.dechunk(np.ones((2, 3)), np.array([1.0, 0.2]), np.array([True, False]))
    with pytest.raises(ValueError, match="as many boundaries"):
        routing.dechunk(np.ones((1, 3)), np.array([0.2, 1.0]), np.array([False, True]))


@pytest.mark.parametrize("target", [2.0, 5.0, 7.5])
def test_the_ratio_loss_is_one_at_its_rate_and_pulls_towards_it(target):
    length = 3000
    at_rate = np.zeros(length)
    at_rate[: round(length / target)] = 1
    assert routing.ratio_loss(at_rate, at_rate > 0, target) == pytest.approx(1, abs=1e-3)
    for share, way in ((1.5, 1), (0.5, -1)):
        p = torch.full((1, length), 0.1, dtype=torch.double)
        p[0, : round(length * share / target)] = 0.9
        p.requires_grad_()
        b, mask = p > 0.5, torch.ones(1, length, dtype=torch.bool)
        parts.ratio_loss(parts.Routed(p, b, p), mask, target).backward()
        assert (p.grad * way > 0).all(), "a descent lowers every p where boundaries are too many, and raises it if few"


def test_straight_through_is_one_and_passes_the_gradient_on():
    c = torch.rand(64, dtype=torch.double).requires_grad_()
    factor = torch.rand(64, dtype=torch.double)
    out = parts.straight_through(c)
    assert (out == 1).all()
    (out * factor).sum().backward()
    assert torch.equal(c.grad, factor)


@given(SEEDS, st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_padding_is_never_a_boundary_and_changes_nothing(seed, sizes):
    torch.manual_seed(seed)
    x = torch.randn(len(sizes), max(sizes) + 3, 4)
    mask = torch.arange(x.shape[1]) < torch.tensor(sizes)[:, None]
    router = parts.Router(4)
    routed = router(x, mask)
    assert not routed.b[~mask].any()
    assert (routed.p[~mask] == 0).all()
    chunks, kept, p = parts.chunk(x, routed)
    out = parts.dechunk(chunks, p, routed.b)
    for row, size in enumerate(sizes):
        alone = router(x[row : row + 1, :size], mask[row : row + 1, :size])
        assert torch.equal(routed.b[row, :size], alone.b[0])
        own, _, own_p = parts.chunk(x[row : row + 1, :size], alone)
        assert torch.equal(chunks[row, kept[row]], own[0])
        torch.testing.assert_close(out[row, :size], parts.dechunk(own, own_p, alone.b)[0])


@pytest.fixture
def network():
    torch.manual_seed(4)
    net = ByteNetwork(SMALL).double().eval()
    for param in net.parameters():
        torch.nn.init.normal_(param, std=0.4)
    return net


@torch.no_grad()
def test_nothing_looks_ahead(network):
    data = torch.randint(0, 256, (1, 60))
    changed = data.clone()
    changed[0, 40] = (changed[0, 40] + 7) % 256
    one, two = network(data), network(changed)
    torch.testing.assert_close(one.logits[0, :40], two.logits[0, :40], rtol=0, atol=1e-9)
    assert not torch.allclose(one.logits[0, 40:], two.logits[0, 40:])
    (first, _), (second, _) = one.stages[0], two.stages[0]
    torch.testing.assert_close(first.p[0, :40], second.p[0, :40], rtol=0, atol=1e-9)


def test_every_parameter_of_the_byte_network_learns(network):
    data = torch.randint(0, 256, (3, 80))
    read = network(data)
    loss = read.logits.square().mean() + sum(parts.ratio_loss(r, m, 4.0) for r, m in read.stages)
    loss.backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


# Bytes in numpy


def arrays_of(network):
    return {name: value.float().numpy() for name, value in network.state_dict().items()}


@torch.no_grad()
@pytest.mark.parametrize("key", ["plain", "chinese", "emoji", "control characters"])
def test_byte_chunks_in_numpy_are_those_of_torch(network, key):
    data = HOSTILE[key].encode()[:1500]
    (words, _), (phrases, mask) = network.float()(torch.tensor([list(data)])).stages
    found = byte_chunks(data, arrays_of(network), SMALL.dilations)
    assert found.starts.tolist() == words.b[0].nonzero()[:, 0].tolist()
    np.testing.assert_allclose(found.phrase, phrases.p[0, mask[0]], atol=1e-4)
    assert 1 < len(found.starts) < len(data)


@given(SEEDS, st.integers(1, 70), st.binary(min_size=1, max_size=400))
@settings(max_examples=40)
def test_byte_chunks_do_not_depend_on_the_block(seed, block, data):
    torch.manual_seed(seed % 8)
    arrays = arrays_of(ByteNetwork(SMALL))
    whole, pieces = (byte_chunks(data, arrays, SMALL.dilations, size) for size in (4096, block))
    assert whole.starts[0] == 0
    assert whole.phrase[0] == 1
    assert np.array_equal(whole.starts, pieces.starts)
    np.testing.assert_allclose(whole.phrase, pieces.phrase, atol=1e-5)


def test_no_bytes_have_no_chunks(network):
    found = byte_chunks(b"", arrays_of(network), SMALL.dilations)
    assert len(found.starts) == len(found.phrase) == 0


# Segmenting by bytes


def random_bytes(target=40):
    return HNetBytesSegmenter(weights=weights_of("hnet_bytes", HASH), target=target)


@given(TEXTS | st.text(st.characters(), max_size=80))
def test_phrases_start_at_whole_characters(text):
    segmenter = random_bytes()
    phrases = segmenter.phrases(text)
    assert phrases.shape == (len(text),)
    data = text.encode("utf-8", "surrogatepass")
    starts, p = byte_chunks(data, segmenter.trained.arrays, segmenter.trained.about["dilations"])
    ends = np.cumsum([len(char.encode("utf-8", "surrogatepass")) for char in text])
    expected = np.zeros(len(text), np.float32)
    for at, probability in zip(starts.tolist(), p.tolist()):
        inside = int((ends <= at).sum())
        expected[inside] = max(expected[inside], probability)
    assert np.array_equal(phrases, expected)


@given(st.lists(st.integers(1, 30), max_size=60), SEEDS, st.integers(4, 60))
def test_thinning_keeps_sizes_where_places_allow(steps, seed, target):
    at = np.cumsum(np.array([0, *steps]))[1:]
    end = int(at[-1]) + 5 if len(at) else 5
    scores = np.random.default_rng(seed).random(len(at))
    kept = thin(at, scores, end, target)
    edges = [0, *at[kept].tolist(), end]
    assert kept == sorted(set(kept))
    for first, stop in pairwise(edges[:-1]):
        inside = (at >= first + target / 2) & (at < first + 1.5 * target)
        assert stop - first >= target / 2
        if inside.any():
            assert stop - first < 1.5 * target
            assert scores[list(at).index(stop)] == scores[inside].max()
    rest = (at >= edges[-2] + target / 2) & (at < end)
    assert end - edges[-2] <= 1.5 * target or not rest.any()


@pytest.mark.parametrize("key", ["plain", "chinese", "thai", "hindi", "right to left", "log", "long words"])
def test_segments_of_any_script_are_near_the_target(key):
    text = HOSTILE[key] * 12
    cuts = [c.at for c in random_bytes(300).cuts(text, Document("d", text), HASH) if c.score == 1]
    sizes = [len(text[a:b].encode()) for a, b in pairwise([0, *cuts, len(text)])]
    assert len(sizes) > 2
    assert np.mean(sizes) < 600
    assert all(size >= 150 for size in sizes[:-1])


def test_sentence_ends_come_before_phrases():
    text = HOSTILE["plain"] * 6
    starts = {span.start for span in Units.sentences(text).spans}
    cuts = list(random_bytes(120).cuts(text, Document("d", text), HASH))
    assert {c.at for c in cuts if c.score == 1} <= starts
    inside = [c.score for c in cuts if c.at not in starts]
    assert inside
    assert max(inside) <= 0.2


def test_byte_boundaries_between_given_units():
    units = Units.given(["The river rose in the night.", "The mill was gone.", "Who knew?", "Nobody did, then."] * 4)
    segmenter = random_bytes(60)
    assert segmenter.boundaries(units, HASH, 5).sum() == 5
    assert 2 <= segmenter.boundaries(units, HASH).sum() < 15
    assert not segmenter.boundaries(Units.given(["one"]), HASH).any()


def test_the_shipped_byte_network_finds_words_and_phrases():
    segmenter = HNetBytesSegmenter()
    text = (
        "The committee met on Tuesday to discuss the new bridge. Several members asked how long the work would take, "
        "and whether the old road could stay open until the autumn. Nobody had an answer yet.\n"
    )
    data = text.encode()
    starts, phrase = byte_chunks(data, segmenter.trained.arrays, segmenter.trained.about["dilations"])
    truth = word_starts(np.frombuffer(data, np.uint8))
    assert truth[starts].mean() > 1.5 * truth.mean()
    assert 3 < len(data) / len(starts) < 7
    assert 3 < len(starts) / (phrase > 0.5).sum() < 11


# The rule


def plain_rule(vectors, window):
    gaps, weights = len(vectors) - 1, [(window / (window + 1)) ** d for d in range(4 * window)]
    out = []
    for gap in range(gaps):
        left = sum(w * vectors[gap - d] for d, w in enumerate(weights) if gap - d >= 0)
        right = sum(w * vectors[gap + 1 + d] for d, w in enumerate(weights) if gap + 1 + d <= gaps)
        out.append((1 - left @ right / np.linalg.norm(left) / np.linalg.norm(right)) / 2)
    return np.array(out)


@given(SEEDS, st.integers(2, 40), st.integers(1, 4))
def test_the_rule_is_its_formula(seed, length, window):
    vectors = normal(seed, length, 5)
    np.testing.assert_allclose(
        rule(vectors, window, "document"), plain_rule(centred(vectors, "document"), window), atol=1e-6
    )


def test_blocks_of_long_texts_are_made_in_stretches():
    vectors, weights = normal(0, 2500, 3), np.array([1.0, 0.5, 0.25])
    stretches = list(blocks(vectors, weights))
    assert [len(left) for left, _ in stretches] == [1024, 1024, 451]
    left, right = (np.concatenate(side) for side in zip(*stretches))
    np.testing.assert_allclose(left[1023:1026], [vectors[[i, i - 1, i - 2]].T @ weights for i in (1023, 1024, 1025)])
    np.testing.assert_allclose(right[1023], vectors[[1024, 1025, 1026]].T @ weights)
    np.testing.assert_allclose(right[-1], vectors[-1])


def test_a_running_mean_follows_the_stream():
    stream = np.concatenate([normal(1, 300, 4) + 9, normal(2, 300, 4) - 9])
    rest = centred(stream, "running")
    assert np.abs(rest[100:200].mean(0)).max() < 0.3
    assert np.abs(rest[450:550].mean(0)).max() < 0.3
    short = normal(3, 40, 4)
    np.testing.assert_allclose(centred(short, "running"), centred(short, "document"))
    lengths = np.linalg.norm(centred(short, "none"), axis=1)
    np.testing.assert_allclose(lengths, 1)


def topics(seed, count=6, low=5, high=12, noise=0.6):
    """Vectors around topics of their own, with a share that all have in common, and where topics end."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(low, high, count)
    common = draw.normal(size=24) * 2
    rows = np.concatenate([common + draw.normal(size=24) + noise * draw.normal(size=(n, 24)) for n in sizes])
    ends = np.zeros(len(rows) - 1, bool)
    ends[np.cumsum(sizes)[:-1] - 1] = True
    return rows, ends


@pytest.mark.parametrize("seed", range(5))
def test_planted_topics_are_found(seed):
    rows, ends = topics(seed)
    units, encoder = given_vectors(rows)
    segmenter = HNetRuleSegmenter()
    found = segmenter.boundaries(units, encoder)
    assert (found & ends).sum() >= ends.sum() - 1
    assert found.sum() <= ends.sum() + 1
    assert np.array_equal(segmenter.boundaries(units, encoder, int(ends.sum())), ends)
    bare = HNetRuleSegmenter(centre="none").boundaries(units, encoder)
    assert bare.sum() < found.sum(), "uncentred cosines are hardly ever negative"


def test_what_has_no_topics_has_no_boundary():
    units, encoder = given_vectors(np.ones((30, 4)))
    segmenter = HNetRuleSegmenter()
    assert (segmenter.scores(units, encoder) == 0.5).all()
    assert not segmenter.boundaries(units, encoder).any()
    for size in range(2, FEWEST):
        units, encoder = given_vectors(normal(size, size, 3))
        assert not segmenter.boundaries(units, encoder).any()
        assert segmenter.boundaries(units, encoder, 1).sum() == 1


@given(SEEDS, st.integers(8, 60), st.floats(1.5, 12))
def test_a_target_sets_the_number_of_segments(seed, length, target):
    units, encoder = given_vectors(normal(seed, length, 4))
    found = HNetRuleSegmenter(target=target).boundaries(units, encoder)
    assert found.sum() == max(0, round(length / target) - 1)


@given(SEEDS, st.integers(2, 120), st.sampled_from([1, 3]), st.sampled_from([0.4, 0.5, 0.6]))
def test_sections_end_where_chunks_do(seed, length, window, threshold):
    units, encoder = given_vectors(normal(seed, length, 6))
    fine, coarse = (
        HNetRuleSegmenter(level=n, window=window, threshold=threshold).boundaries(units, encoder) for n in (1, 2)
    )
    assert not (coarse & ~fine).any()
    if fine.sum() > 8 and threshold == 0.5:
        assert 0 < coarse.sum() < fine.sum()


def test_means_of_segments():
    found = means(np.arange(10.0).reshape(5, 2), np.array([False, True, False, False]))
    assert found.tolist() == [[1, 2], [6, 7]]


# Sentences


@pytest.fixture
def sentence_network():
    torch.manual_seed(1)
    net = SentenceNetwork(6, 4, 5)
    for param in net.parameters():
        torch.nn.init.normal_(param, std=0.5)
    return net


@torch.no_grad()
@pytest.mark.parametrize("length", [2, 7, 8, 50])
def test_sentences_in_numpy_are_those_of_torch(sentence_network, tmp_path, length):
    units, encoder = given_vectors(normal(length, length, 6))
    names = ("weights", "shift_back", "shift_ahead", "query", "key")
    save(
        tmp_path / "w.safetensors",
        {name: getattr(sentence_network, name).numpy() for name in names},
        {"method": "hnet_sentence", "encoder": "given", "encoder_name": "given", "dim": 6},
    )
    vectors = torch.from_numpy(centred(encoder.rows, "document").astype(np.float32))
    padded = torch.cat([vectors, torch.zeros(4, 6)])[None]
    read = sentence_network(padded, torch.arange(length + 4)[None] < length)
    found = HNetSentenceSegmenter(weights=str(tmp_path / "w.safetensors")).scores(units, encoder)
    expected = read.routed.p[0, 1:length].numpy()
    np.testing.assert_allclose(found, expected if length >= FEWEST else expected / 2, atol=1e-4)


@torch.no_grad()
def test_an_untrained_sentence_router_is_nearly_the_rule_on_single_sentences():
    net = SentenceNetwork(6, 4, 12)
    rest = centred(normal(0, 30, 6), "document")
    p = net(torch.from_numpy(rest.astype(np.float32))[None], torch.ones(1, 30, dtype=torch.bool)).routed.p[0, 1:]
    assert np.corrcoef(p, routing.opposition(rest[:-1], rest[1:]))[0, 1] > 0.95


def test_every_parameter_of_the_sentence_network_learns(sentence_network):
    read = sentence_network(torch.randn(3, 20, 6), torch.ones(3, 20, dtype=torch.bool))
    loss = read.predicted.square().mean() + (read.queries * read.keys).mean() + read.routed.p.mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in sentence_network.parameters())


def test_what_follows_is_a_mean_of_what_is_there():
    vectors = torch.eye(4)[None]
    found = following(vectors, 2)[0]
    np.testing.assert_allclose(found[0], [0.5**0.5, 0.5**0.5, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found[3], [0, 0, 0, 1], atol=1e-6)


def test_others_of_its_own_row_do_not_count():
    same = torch.eye(3)[[0, 0, 1, 2]]
    rows = torch.tensor([0, 0, 1, 2])
    assert pick(same, same, rows, 0.01).item() < 1e-6
    assert pick(same, same, torch.arange(4), 0.01).item() > 0.3


def sectioned(seed, count):
    made = []
    for number in range(count):
        words = [f"w{seed + number * 7 + i}" for i in range(5)]
        draw = np.random.default_rng(seed + number)
        texts = [" ".join(draw.choice(words, 6)) + "." for _ in range(30)]
        made.append(Sectioned(str(number), Units.given(texts), np.zeros(29, bool)))
    return made


def trained_steps(task, steps):
    optimizer = torch.optim.AdamW(task.model.parameters(), 5e-3)
    for step in range(steps):
        optimizer.zero_grad()
        loss = task.loss(step)
        loss.backward()
        optimizer.step()
    return task


def test_the_sentence_network_learns_without_labels(tmp_path):
    recipe = HNetSentenceRecipe(batch=6, length=24, width=8, reach=6)
    task = recipe.prepare(sectioned(0, 12), sectioned(500, 4), HASH, seed=3)
    again = recipe.prepare(sectioned(0, 12), sectioned(500, 4), HASH, seed=3)
    assert task.loss(5).item() == again.loss(5).item()
    before = task.scores()["loss"]
    trained_steps(task, 40)
    after = task.scores()
    assert after["loss"] < before - 0.5
    assert after["sentences a chunk"] > 1
    save(tmp_path / "w.safetensors", task.arrays(), {**about_hash(), "method": "hnet_sentence", **task.about()})
    segmenter = HNetSentenceSegmenter(weights=str(tmp_path / "w.safetensors"))
    joined = Units.given([t for one in sectioned(0, 4) for t in one.units.texts[:12]])
    ends = np.flatnonzero(segmenter.boundaries(joined, HASH, 3))
    assert np.abs(ends - [11, 23, 35]).max() <= 1
    with pytest.raises(ConfigError, match="the encoder here is"):
        segmenter.scores(joined, HashEncoder(size=16))


def about_hash():
    return {"encoder": HASH.space, "encoder_name": "hash", "dim": HASH.dim}


def test_texts_that_are_too_few_or_too_short_are_refused():
    with pytest.raises(ConfigError, match="the development part"):
        HNetSentenceRecipe().prepare(sectioned(0, 3), sectioned(0, 1), HASH, 0)
    with pytest.raises(ConfigError, match="the training text has"):
        HNetBytesRecipe(window=4096).prepare(sectioned(0, 1), sectioned(0, 1), HASH, 0)


def test_the_byte_network_learns(tmp_path):
    recipe = HNetBytesRecipe(batch=2, window=128)
    task = recipe.prepare(sectioned(0, 6), sectioned(0, 2), HASH, seed=1)
    before = task.scores()
    trained_steps(task, 15)
    after = task.scores()
    assert after["bits per byte"] < before["bits per byte"] - 2
    assert set(after) >= {"bytes a chunk", "chunks a phrase", "word-start precision"}
    save(tmp_path / "w.safetensors", task.arrays(), {**about_hash(), "method": "hnet_bytes", **task.about()})
    arrays = load(str(tmp_path / "w.safetensors"), "hnet_bytes").arrays
    assert sum(a.nbytes for a in arrays.values()) < 3_000_000
    assert not any(name.startswith(("middle", "head", "outer_out")) for name in arrays), "only what segmenting needs"
    text = HOSTILE["plain"]
    assert list(
        HNetBytesSegmenter(weights=str(tmp_path) + "/w.safetensors", target=80).cuts(text, Document("d", text), HASH)
    )


def test_word_starts():
    assert word_starts(np.frombuffer(b" ab  c\nd", np.uint8)).tolist() == [0, 1, 0, 0, 0, 1, 0, 1]
