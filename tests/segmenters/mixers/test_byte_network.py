"""The byte network with each mixer in the place of its convolutions: as large, trained, saved, loaded, cut alike."""

import numpy as np
import pytest

from fovea.rag import registry, requirements
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ModelError
from fovea.rag.mixer import Mixer
from fovea.rag.testing.segmenters import HOSTILE
from fovea.rag.trained import load, save
from fovea.rag.types import Document

torch = pytest.importorskip("torch")

from fovea.pipelines.cli.train import recipe_of  # noqa: E402
from fovea.pipelines.spec.lacks import lacks_of  # noqa: E402
from fovea.segmenters.byte_chunks import byte_chunks  # noqa: E402
from fovea.segmenters.hnet_bytes import HNetBytesSegmenter  # noqa: E402
from fovea.segmenters.training import hnet_bytes as training  # noqa: E402
from fovea.segmenters.training.byte_network import ByteNetwork, Shape  # noqa: E402
from tests.segmenters.test_hnet import sectioned  # noqa: E402

HASH, TEXT = HashEncoder(size=8), HOSTILE["plain"]
SMALL = Shape(outer=16, inner=32, kernel=3, dilations=(1, 2), layers=1)
NAMES = registry.names("mixer")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(training, "Shape", lambda: SMALL)
    monkeypatch.setattr(training, "DEV_WINDOWS", 2)


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_is_saved_and_cuts_alike_in_any_blocks(name, small, tmp_path):
    recipe = recipe_of(training.HNetBytesRecipe, [f"mixer={{use: {name}}}", "batch=2", "window=48"])
    task = recipe.prepare(sectioned(0, 3), sectioned(0, 2), HASH, seed=1)
    optimizer, before = torch.optim.AdamW(task.model.parameters(), 1e-2), task.loss(0).item()
    for step in range(3):
        optimizer.zero_grad()
        task.loss(step).backward()
        optimizer.step()
    assert task.loss(0).item() < before
    task.model.eval()
    about = {"method": "hnet_bytes", **task.about()}
    save(tmp_path / "w.safetensors", task.arrays(), about)
    trained = load(str(tmp_path / "w.safetensors"), "hnet_bytes")
    assert Mixer.model_validate(trained.about["mixer"]) == recipe.mixer
    data, dilations = TEXT.encode()[:160], trained.about["dilations"]
    drawn = torch.get_rng_state()
    whole, pieces = (
        byte_chunks(data, trained.arrays, dilations, block, trained.about["mixer"]) for block in (4096, 37)
    )
    assert torch.equal(torch.get_rng_state(), drawn), "reading draws nothing"
    assert np.array_equal(whole.starts, pieces.starts)
    np.testing.assert_allclose(whole.phrase, pieces.phrase, atol=1e-3)
    task.model.half().float()  # what was saved
    with torch.no_grad():
        (words, _), (phrases, mask) = task.model(torch.tensor([list(data)])).stages
    assert whole.starts.tolist() == words.b[0].nonzero()[:, 0].tolist()
    np.testing.assert_allclose(whole.phrase, phrases.p[0, mask[0]], atol=1e-3)
    segmenter = HNetBytesSegmenter(weights=str(tmp_path / "w.safetensors"), target=20)
    assert any(cut.score == 1 for cut in segmenter.cuts(TEXT, Document("d", TEXT), HASH))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_as_large_as_with_convolutions(name):
    with torch.device("meta"):
        networks = [ByteNetwork(Shape(), mixer) for mixer in (None, Mixer.model_validate({"use": name}))]
    today, other = (sum(p.numel() for p in network.parameters()) for network in networks)
    assert other == pytest.approx(today, rel=0.02)


def test_without_a_mixer_it_is_what_it_was():
    shipped = HNetBytesSegmenter().trained
    assert "mixer" not in shipped.about
    own = ByteNetwork(Shape()).state_dict()
    assert {name: tuple(array.shape) for name, array in shipped.arrays.items()} == {
        name: tuple(own[name].shape) for name in shipped.arrays
    }
    assert {name.partition(".")[0] for name in own if name not in shipped.arrays} == {
        "middle", "inner_skip", "outer_skip", "inner_out", "outer_out", "head",
    }  # fmt: skip


def test_weights_without_the_stages_of_their_mixer_are_refused():
    shipped = HNetBytesSegmenter().trained
    with pytest.raises(ModelError, match="the weights hold no stage 'outer' of the mixer 'rat'"):
        byte_chunks(b"text", shipped.arrays, [1, 8], mixer={"use": "rat"})


@pytest.fixture
def mixed(tmp_path):
    """Weights with a mixer in them, as they are saved: the path, the arrays, and what is said of them."""
    network = ByteNetwork(SMALL, Mixer.model_validate({"use": "rat"}))
    arrays = {name: each.detach().numpy() for name, each in network.state_dict().items()}
    about = {"method": "hnet_bytes", "encoder": "", "dim": 8, "dilations": [1, 2], "mixer": {"use": "rat"}}
    save(tmp_path / "w.safetensors", arrays, about)
    return tmp_path / "w.safetensors", arrays, about


@pytest.mark.parametrize(
    ("mixer", "lost", "said"),
    [
        ({"use": "rat"}, "outer.mixing", "do not fit the mixer 'rat' that they name: .*Missing key"),
        ({"use": "rat"}, "embed.weight", "hold no 'embed.weight'"),
        ({"use": "rat"}, "inner_router.key", "hold no 'inner_router.key'"),
        ({"use": "aaren"}, "none", "do not fit the mixer 'aaren'"),
        ({"use": "nonsense"}, "none", "do not fit the mixer 'nonsense'"),
        ({"use": "rat", "chunk_tokens": 0}, "none", "do not fit the mixer 'rat'"),
    ],
)
def test_weights_that_do_not_fit_their_mixer_are_refused(mixed, mixer, lost, said):
    path, arrays, about = mixed
    left = {name: each for name, each in arrays.items() if not name.startswith(lost)}
    save(path, left, {**about, "mixer": mixer})
    with pytest.raises(ModelError, match=said):
        HNetBytesSegmenter(weights=str(path)).phrases(TEXT)


def test_check_says_that_weights_with_a_mixer_need_torch(mixed, monkeypatch):
    there = requirements.has
    monkeypatch.setattr(requirements, "has", lambda module: module != "torch" and there(module))
    lacking = lacks_of(HNetBytesSegmenter(weights=str(mixed[0])), HASH)
    assert [(error.what, error.fix) for error in lacking] == [
        (
            "hnet_bytes with the mixer 'rat' needs the package 'torch', which is not installed",
            'pip install "fovea-rag[models]"',
        )
    ]
    assert lacks_of(HNetBytesSegmenter(), HASH) == [], "convolutions need none"
