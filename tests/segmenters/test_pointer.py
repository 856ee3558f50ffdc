"""The pointer network: NumPy equals torch, blocks do not matter, probabilities are what they say, and it learns."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError
from fovea.rag.remember import RememberingEncoder
from fovea.rag.trained import save
from fovea.segmenters import blocks, pointer_network
from fovea.segmenters.blocks import block_cosines, centred
from fovea.segmenters.pointer import PointerSegmenter
from fovea.segmenters.sectioned import Sectioned
from fovea.segmenters.training.measure import offered, pk
from fovea.segmenters.training.pointer import PointerRecipe, inputs, offsets
from fovea.segmenters.training.pointer_net import PointerNet
from fovea.segmenters.training.sampling import Example, cropped, shaken, spliced, unmarked
from fovea.segmenters.units import Units

DIM, REACH = 12, 7


def example(seed: int, units: int, dim: int = DIM) -> Example:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((units, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    boundaries, breaks = (rng.random((2, units - 1)) < 0.3).astype(np.float32)
    return Example(vectors, boundaries, breaks)


@pytest.fixture(scope="module")
def net() -> PointerNet:
    torch.manual_seed(0)
    made = PointerNet(DIM, 11, 10, REACH, drop=0.3).eval()
    with torch.no_grad():
        made.length.copy_(torch.linspace(-1, 1, REACH))
    return made


def arrays(net: PointerNet) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in net.state_dict().items()}


def by_torch(net: PointerNet, batch: list[Example]) -> list[np.ndarray]:
    with torch.no_grad():
        gaps, ends = net(*inputs(batch))
    found = []
    for row, e in enumerate(batch):
        n = len(e.vectors)
        marginals = pointer_network.marginals(torch.softmax(ends[row, :n], -1).numpy())
        found.append((torch.sigmoid(gaps[row, : n - 1]).numpy() + marginals) / 2)
    return found


def test_numpy_gives_what_torch_gives_padding_or_not(net):
    batch = [example(seed, units) for seed, units in enumerate((2, 3, 9, 40, 75))]
    for e, wanted in zip(batch, by_torch(net, batch)):
        found = pointer_network.scores(e.vectors, e.breaks, arrays(net))
        assert found.shape == (len(e.vectors) - 1,)
        assert np.allclose(found, wanted, atol=1e-5)


def test_blocks_do_not_matter(net, monkeypatch):
    e = example(3, 150)
    whole = pointer_network.scores(e.vectors, e.breaks, arrays(net))
    for block in (1, 7, 64, 149):
        monkeypatch.setattr(pointer_network, "BLOCK", block)
        assert np.allclose(pointer_network.scores(e.vectors, e.breaks, arrays(net)), whole, atol=1e-6)


def test_a_state_sees_no_further_than_it_says(net):
    e = example(5, 120)
    both, known, _ = (t.numpy()[0] if t.ndim > 1 else t for t in inputs([e]))
    moved = both.copy()
    moved[0] += 5
    a, b = (pointer_network.states(x, known, arrays(net)) for x in (both, moved))
    far = np.abs(a - b).max(axis=1) > 1e-6
    assert far[: pointer_network.SEEN + 1].any()
    assert not far[pointer_network.SEEN + 1 :].any()


@given(st.integers(2, 7), st.integers(1, 4), st.integers(0, 99))
def test_marginals_are_the_sum_over_all_ways_to_segment(units, reach, seed):
    ends = np.random.default_rng(seed).random((units, reach)) + 0.01
    for m in range(units):
        ends[m, units - m :] = 0
    ends /= ends.sum(axis=1, keepdims=True)
    wanted = np.zeros(units - 1)
    for count in range(units):
        for inside in itertools.combinations(range(1, units), count):
            edges = [0, *inside, units]
            steps = list(itertools.pairwise(edges))
            if all(b - a <= reach for a, b in steps):
                p = np.prod([ends[a, b - a - 1] for a, b in steps])
                wanted[[at - 1 for at in inside]] += p
    assert np.allclose(pointer_network.marginals(ends), wanted)


def test_offsets_say_where_the_segment_of_each_unit_ends():
    e = Example(np.zeros((6, 2), np.float32), np.array([0, 1, 0, 0, 0], np.float32), np.zeros(5, np.float32))
    assert offsets([e], 8, 3).tolist() == [[1, 0, -1, 2, 1, 0, -1, -1]]


@given(st.integers(2, 40), st.integers(0, 50), st.sampled_from([1, 2, 3, 5, 8]))
def test_block_cosines_by_their_definition(units, seed, window):
    v = example(seed, units).vectors
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "STRETCH", 9)
        found = block_cosines(v, (window,))[:, 0]
    for gap in range(1, units):
        left, right = v[max(0, gap - window) : gap].mean(0), v[gap : gap + window].mean(0)
        assert found[gap - 1] == pytest.approx(left @ right / np.linalg.norm(left) / np.linalg.norm(right), abs=1e-4)


def test_centred_vectors_of_equal_units_say_nothing():
    same = np.tile(np.array([[0.6, 0.8]], np.float32), (5, 1))
    assert not centred(same).any()
    assert not block_cosines(same, mean=same.mean(axis=0, keepdims=True)).any()
    moving = example(0, 30).vectors
    mean = moving.mean(axis=0, keepdims=True)
    assert np.allclose(block_cosines(moving, mean=mean), block_cosines(centred(moving)), atol=1e-6)


@given(st.integers(0, 200))
def test_samples_are_parts_of_texts_with_their_boundaries(seed):
    rng, pool = np.random.default_rng(seed), [example(s, 5 + 9 * s) for s in range(4)]
    part = cropped(rng, pool[3], 4, 12)
    n = len(part.vectors)
    assert len(part.boundaries) == len(part.breaks) == n - 1
    assert n == 32 or 4 <= n <= 12
    mixed = spliced(rng, pool, marked=0)
    assert len(mixed.boundaries) == len(mixed.vectors) - 1
    assert 2 <= mixed.boundaries.sum() <= 10
    assert not mixed.breaks.any()
    assert not unmarked(pool[1]).breaks.any()
    moved = shaken(rng, mixed, 0.5)
    assert np.allclose(np.linalg.norm(moved.vectors, axis=1), 1, atol=1e-4)
    assert np.array_equal(moved.boundaries, mixed.boundaries)


def test_scores_are_offered_at_paragraphs_only_where_a_text_has_them():
    e = example(1, 10)
    e.breaks[4] = 1
    scores = np.linspace(0.1, 0.9, 9)
    assert np.array_equal(offered(unmarked(e), scores), scores)
    assert (offered(e, scores) > 0).tolist() == (e.breaks > 0).tolist()


WORDS = ("river boat water flood bridge", "bread oven flour baker dough", "star moon comet orbit sky")


def topical(seed: int, split: str) -> Sectioned:
    """Sections of three kinds of words."""
    rng = np.random.default_rng(seed)
    texts, ends, last = [], [], -1
    for _ in range(6):
        last = (last + int(rng.integers(1, 3))) % 3
        size = int(rng.integers(3, 7))
        texts += [" ".join(rng.choice(WORDS[last].split(), 4)) + "." for _ in range(size)]
        ends.append(len(texts) - 1)
    boundaries = np.zeros(len(texts) - 1, bool)
    boundaries[ends[:-1]] = True
    return Sectioned(f"t{seed}", Units.given(texts), boundaries, "made", split)


def test_it_learns_where_words_change_and_is_used_as_a_segmenter(tmp_path):
    torch.manual_seed(0)
    encoder = HashEncoder(size=32)
    recipe = PointerRecipe(width=16, reach=12, batch=8, spliced=0.2, noise=0.2)
    task = recipe.prepare(
        [topical(s, "train") for s in range(30)], [topical(s, "dev") for s in range(90, 96)], encoder, 0
    )
    assert np.array_equal(task.loss(3).shape, ())
    optimizer = torch.optim.AdamW(task.model.parameters(), 5e-3)
    before = task.scores()["Pk % made"]
    for step in range(60):
        optimizer.zero_grad()
        task.loss(step).backward()
        optimizer.step()
    task.model.eval()
    after = task.scores()["Pk % made"]
    assert after < min(12, before)
    about = {"method": "pointer", "encoder": encoder.space, "encoder_name": "hash", "dim": 32, **task.about()}
    save(tmp_path / "weights.safetensors", task.arrays(), about)
    segmenter, text = PointerSegmenter(weights=str(tmp_path)), topical(200, "test")
    found = segmenter.boundaries(text.units, encoder)
    e = Example(text.units.vectors(encoder), text.boundaries.astype(np.float32), text.units.breaks.astype(np.float32))
    assert pk(e, found) < 0.15
    assert segmenter.boundaries(text.units, encoder, count=4).sum() == 4
    with pytest.raises(ConfigError, match=r"read vectors of hash .* the encoder here is hash \(64\)"):
        segmenter.boundaries(text.units, RememberingEncoder.of(HashEncoder(size=64)))


def test_the_loss_of_a_step_does_not_depend_on_the_steps_before():
    encoder, recipe = HashEncoder(size=16), PointerRecipe(width=8, reach=5, batch=4, drop=0.0)
    torch.manual_seed(0)
    task = recipe.prepare([topical(s, "train") for s in range(4)], [topical(9, "dev")], encoder, 0)
    first = task.loss(7).item()
    task.loss(1), task.loss(2)
    assert task.loss(7).item() == first
