"""What every mixer keeps to: three forms with the same numbers, the past alone, a state of the size that is said."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fovea.rag import registry
from fovea.rag.errors import ConfigError
from fovea.rag.mixer import Mixer

torch = pytest.importorskip("torch")

from fovea.segmenters.mixing.module import Mixing  # noqa: E402

WIDTH = 16
SMALL = {
    "window": {"window": 5},
    "based": {"window": 5, "feature": 4},
    "rat": {"chunk_tokens": 4},
    "combiner": {"segment": 4},
    "power": {"block": 2, "near": 2},
    "s2": {"block": 2, "stride": 2, "near": 2},
    "titans": {"segment": 4, "memory": 4, "persistent": 2},
    "routing": {"clusters": 2, "window": 3},
    "bilevel": {"region": 4, "top": 2},
    "low_rank_pooling": {"rank": 4},
}
"""Settings under which a few tokens meet every edge."""
OTHERS = [{"use": "combiner", "segment": 4, "form": "axial"}, {"use": "softmax", "kv_heads": 4}]
ASKED = [{"use": name, **SMALL.get(name, {})} for name in registry.names("mixer")] + OTHERS


def built(asked, seed=0, depth=0.3):
    torch.manual_seed(seed)
    return Mixing(Mixer.model_validate(asked), WIDTH, depth).eval()


def drawn(seed, tokens, batch=2):
    return torch.randn(batch, tokens, WIDTH, generator=torch.Generator().manual_seed(seed))


def steps(net, x):
    made, state = [], None
    for t in range(x.shape[1]):
        y, state = net.step(x[:, t], state)
        made.append(y)
    return torch.stack(made, dim=1), state


every = pytest.mark.parametrize("asked", ASKED, ids=lambda asked: "-".join(map(str, asked.values())))


@every
@given(seed=st.integers(0, 99), tokens=st.integers(1, 24), batch=st.integers(1, 2), data=st.data())
@settings(max_examples=4)
@torch.no_grad()
def test_the_three_forms_agree_over_any_cuts(asked, seed, tokens, batch, data):
    net, x = built(asked, seed % 3), drawn(seed, tokens, batch)
    whole = net.parallel(x)
    assert whole.shape == x.shape
    one, last = steps(net, x)
    torch.testing.assert_close(one, whole, rtol=1e-4, atol=1e-4)
    cuts = sorted(data.draw(st.sets(st.integers(1, tokens), max_size=5)) | {tokens})
    made, state = [], None
    for a, b in zip([0, *cuts], cuts):
        y, state = net.chunk(x[:, a:b], state)
        made.append(y)
        assert state.seen == b
        assert state.numbers == net.state_size(b), f"{state.numbers} numbers after {b} tokens"
    torch.testing.assert_close(torch.cat(made, dim=1), whole, rtol=1e-4, atol=1e-4)
    for mine, other in zip(state.kept, last.kept):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


@every
@torch.no_grad()
def test_nothing_of_the_future_changes_the_past_and_the_past_counts(asked):
    net, x = built(asked), drawn(1, 37)
    y = net(x)
    for at in (0, 15, 16, 30):
        other = x.clone()
        other[:, at] += 3
        moved = (net(other) - y).abs().amax(dim=(0, 2))
        assert moved[:at].sum() == pytest.approx(0, abs=1e-5)
        assert moved[at] > 1e-4
        assert moved[at + 1 :].max() > 1e-5, "later tokens hear it"
    alone = torch.cat([net(row[None]) for row in x])
    torch.testing.assert_close(alone, y, rtol=1e-4, atol=1e-5)


@every
def test_every_weight_learns_and_seeds_differ(asked):
    net, x = built(asked), drawn(2, 40).requires_grad_()
    net.train()
    net(x).square().mean().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert x.grad.abs().sum(dim=-1).all()
    one, other, again = (built(asked, seed)(x.detach()) for seed in (0, 1, 0))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)


@every
@torch.no_grad()
def test_long_pieces_are_those_of_many(asked):
    """Longer than a piece of `parallel`, and than a block of a scan."""
    net = built(asked)
    x = drawn(3, 2 * min(net.mixer.piece, 150) + 7, 1)
    state, made = None, []
    for part in x.split(61, dim=1):
        y, state = net.chunk(part, state)
        made.append(y)
    torch.testing.assert_close(torch.cat(made, dim=1), net(x), rtol=1e-3, atol=1e-4)
    assert state.numbers == net.state_size(x.shape[1])


@every
@torch.no_grad()
def test_great_inputs_stay_numbers(asked):
    assert np.isfinite(built(asked)(30 * drawn(4, 50)).numpy()).all()


@pytest.mark.parametrize("asked", [a for a in ASKED if "heads" in Mixer.model_validate(a).settings()], ids=str)
def test_a_width_that_does_not_divide_is_refused(asked):
    with pytest.raises(ConfigError, match="a width of 10 has no 4 heads of even width"):
        Mixing(Mixer.model_validate({**asked, "heads": 4}), 10)


@pytest.mark.parametrize(
    ("use", "setting"),
    [("attention_experts", "experts"), ("rat", "chunk_tokens"), ("power", "near"), ("titans", "memory")],
)
def test_no_setting_asks_for_more_memory_than_there_is(use, setting):
    with pytest.raises(ValidationError, match=setting):
        Mixer.model_validate({"use": use, setting: 10**9})
