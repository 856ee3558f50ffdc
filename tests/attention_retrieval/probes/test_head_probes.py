"""What policies of heads ask of a model: who finds random tokens again, who looks far, who is missed."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fovea.attention_retrieval.heads.table import ROWS  # noqa: E402
from fovea.attention_retrieval.probes.far import Sums, far, far_scores  # noqa: E402
from fovea.attention_retrieval.probes.influence import Blurred, Each, head_influences, loss  # noqa: E402
from fovea.attention_retrieval.probes.repeats import Copies, repeat_scores  # noqa: E402
from fovea.attention_retrieval.probes.through import through  # noqa: E402
from fovea.attention_retrieval.rotation import Rotation  # noqa: E402
from fovea.pipelines.cli.heads import KINDS  # noqa: E402
from fovea.rag.causal_lm import load  # noqa: E402
from tests.pipelines.answering.test_generator_transformers import save_llama  # noqa: E402
from tests.tiny_lms import model, text  # noqa: E402


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return load(save_llama(tmp_path_factory.mktemp("llama"), window=4096))


def seen(ids: torch.Tensor, period: int, start: int = 0) -> Copies:
    lm, copies = model("llama, 4 to 1", "sdpa"), Copies(period, start)
    with torch.inference_mode(), through(lm, copies):
        lm(ids, use_cache=False)
    return copies


def test_echo_and_induction_are_eagers_weights_at_earlier_copies_and_behind_them():
    ids = torch.cat([text(3), text(20, seed=1).repeat(1, 4)], dim=1)
    with torch.inference_mode():
        weights = model("llama, 4 to 1", "eager")(ids, output_attentions=True).attentions
    got = seen(ids, 20, 3)
    for layer in range(3):
        a = weights[layer][0].numpy()
        for row in (3, 22, 23, 42, 43, 61, 82):
            back = [row - m * 20 for m in range(1, 4) if row - m * 20 >= 3]
            np.testing.assert_allclose(got.echo[layer][:, row], a[:, row, back].sum(1), atol=1e-5)
            behind = [place + 1 for place in back]
            np.testing.assert_allclose(got.induction[layer][:, row], a[:, row, behind].sum(1), atol=1e-5)


def test_what_comes_later_changes_nothing_for_earlier_rows():
    ids = text(20, seed=1).repeat(1, 4)
    later = ids.clone()
    later[:, 40:] = 5
    one, other = seen(ids, 20), seen(later, 20)
    for layer in range(3):
        for name in ("echo", "induction"):
            here, there = getattr(one, name)[layer], getattr(other, name)[layer]
            np.testing.assert_allclose(here[:, :40], there[:, :40], atol=1e-6)
            assert not np.allclose(here[:, 40:], there[:, 40:])


def test_scores_of_repeats_are_shares_of_attention(lm):
    scores = repeat_scores(lm, probes=1, period=20)
    assert set(scores) == ROWS["repeats"]
    for each in scores.values():
        assert each.shape == (2, 4)
        assert ((each > 0) & (each < 1)).all()
    again = repeat_scores(lm, probes=1, period=20)
    np.testing.assert_array_equal(again["echo"], scores["echo"])


@pytest.mark.parametrize("name", ["llama, 4 to 1", "qwen3"])
def test_the_rotation_of_mean_queries_and_keys_is_taken_off_behind_norms(name):
    """One token over and over has the same keys everywhere, but for its place."""
    lm = model(name, "sdpa")
    sums = Sums(Rotation.of(lm))
    with torch.inference_mode(), through(lm, sums):
        lm(torch.full((1, 30), 7), use_cache=False)
        many = {layer: keys / 30 for layer, keys in sums.keys.items()}
        sums.queries.clear()
        sums.keys.clear()
        lm(torch.full((1, 1), 7), use_cache=False)
    np.testing.assert_allclose(many[0], sums.keys[0], rtol=1e-3, atol=1e-5)


def test_a_head_that_looks_far_scores_more_than_one_that_looks_near():
    rotation = Rotation(1.0 / 10 ** (np.arange(8) / 2), interleaved=False)
    ones = np.ones((1, 16), np.float32)
    away = rotation.moved(ones[:, None], np.array([-12]))[:, 0]
    near, flat, distant = far(np.concatenate([3 * ones, 0 * ones, 3 * away]), ones, rotation, 13)
    assert flat == pytest.approx(7 / 13, abs=1e-5), "attention to all alike"
    assert near < 0.1
    assert distant > 0.99
    assert near == pytest.approx(1 / 13, abs=0.02)


def test_scores_of_far_heads(lm):
    scores = far_scores(lm, ["The owl of the hill sleeps by day.", "The bat sleeps too."], tokens=30)
    assert scores.shape == (2, 4)
    assert ((scores >= 1 / 30) & (scores <= 1)).all()


def test_the_influence_of_each_head_is_what_the_loss_gains_without_it(lm):
    texts = ["The owl of the hill sleeps by day.", "The bat of the vale sleeps by day, too."]
    got = head_influences(lm, texts, tokens=24)
    assert got.shape == (2, 4)
    for layer, head in ((0, 0), (0, 3), (1, 2)):
        wanted = []
        for each in texts:
            ids = list(lm.tokenizer(each, truncation=True, max_length=24)["input_ids"])
            plain = loss(lm, ids)
            with through(lm.model, Blurred({layer: [head]})):
                wanted.append((loss(lm, ids) - plain) / plain)
        assert got[layer, head] == pytest.approx(np.mean(wanted), abs=1e-5)
    assert len(np.unique(got.round(7))) > 4
    assert Each(5)(type("Called", (), {"layer": 4})(), "as it came") == "as it came"


def test_every_kind_of_table_can_be_asked_for():
    assert set(KINDS) == set(ROWS)
