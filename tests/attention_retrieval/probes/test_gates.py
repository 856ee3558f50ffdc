"""Gates that are learned: from attention as it is, to scores as a selection computes them, killed and gone on with."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval.heads.table import identity  # noqa: E402
from fovea.attention_retrieval.probes.gates import RECIPES, GateTask, Texts  # noqa: E402
from fovea.attention_retrieval.selection.selection import Selection  # noqa: E402
from fovea.attention_retrieval.vectors import Vectors  # noqa: E402
from fovea.pipelines.cli.main import main  # noqa: E402
from fovea.pipelines.generators.transformers import TransformersGenerator  # noqa: E402
from fovea.rag.causal_lm import CausalLM, load  # noqa: E402
from fovea.rag.errors import ConfigError  # noqa: E402
from fovea.rag.trained import save  # noqa: E402
from tests.pipelines.answering.test_generator_transformers import save_llama  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
PROSE = ["The owl sleeps by day.", "The bat sleeps by night.", "Nobody knows why."]
FEW = {"tokens": 320, "size": 16, "queries": 40, "values": 48, "keys": 1, "digits": 3, "texts": 4, "measured": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"), window=4096)


@pytest.fixture(scope="module")
def lm(folder) -> CausalLM:
    return load(folder)


def task(lm: CausalLM, method: str, out, **settings) -> GateTask:
    recipe = RECIPES[method](**{**FEW, **({"width": 8} if method == "seer" else {}), **settings})
    return GateTask(lm, Texts([" ".join(PROSE * 40)], PROSE), recipe, 0, out, {"model": "m", "data": "d"})


def test_what_is_read_is_the_models_own_attention(lm, tmp_path):
    """Against eager attention: mass and largest weight of each block before a query's own, and what rows are given."""
    made = task(lm, "seer", tmp_path)
    text = made._read(1)
    ids, _ = made.texts.ids(lm.tokenizer, made.recipe, [0, 1])
    lm.model.set_attn_implementation("eager")
    with torch.inference_mode():
        whole = lm.model(torch.tensor([ids]), output_attentions=True).attentions
    lm.model.set_attn_implementation("sdpa")
    rows, late = text["rows"], text["rows"] >= 240
    assert rows[0] >= 64
    for layer, each in enumerate(whole):
        weights = each[0].numpy()[:, rows]
        blocks = weights.reshape(4, len(rows), 20, 16) * (np.arange(20) < rows[:, None] // 16)[..., None]
        np.testing.assert_allclose(text["mass"][layer], blocks.sum(-1), atol=2e-3)
        most = blocks.max(-1).reshape(2, 2, len(rows), 20).max(1)
        np.testing.assert_allclose(text["most"][layer], most, atol=2e-3)
        given = weights[:, late][..., text["picked"]].mean(1).reshape(2, 2, -1).mean(1)
        np.testing.assert_allclose(text["given"][layer], given, atol=1e-5)


def test_a_text_is_read_once_and_a_torn_file_anew(lm, tmp_path):
    made = task(lm, "seer", tmp_path)
    first = made._read(3)
    (path,) = tmp_path.iterdir()
    written = path.read_bytes()
    path.write_bytes(written[:100])
    again = task(lm, "landmark", tmp_path)._read(3)
    assert path.read_bytes() == written, "other methods learn from the same"
    assert all(np.array_equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("method", sorted(RECIPES))
def test_a_selection_scores_as_the_module_does_and_the_loss_falls(method, lm, tmp_path):
    made = task(lm, method, tmp_path, learning_rate=0.02)
    before = made.scores()["KL"]
    optimizer = torch.optim.AdamW(made.model.parameters(), 0.02, weight_decay=0)
    for step in range(12):
        optimizer.zero_grad()
        made.loss(step).backward()
        optimizer.step()
    with torch.no_grad():
        assert made.scores()["KL"] < before
    save(tmp_path / "g" / "weights.safetensors", made.arrays(), {"method": method, "model": "m", **made.about()})
    selection = Selection.model_validate({"use": method, "gates": str(tmp_path / "g"), "size": 16, "top_k": 64})
    text, recorded = made._read(0), keys_and_values(lm, made)
    with torch.no_grad():
        scores = made.gate.scores(text).numpy()
    for layer, (keys, values, queries) in enumerate(recorded):
        selected = selection.in_layer(layer).over(keys, values, 0, 320)
        if method == "value_gate":
            np.testing.assert_allclose(selected.worth[:, text["picked"]], scores[layer], rtol=0.02, atol=0.02)
            continue
        for n in (5, 30):
            selected.now = int(text["rows"][n])
            got = selected.scores(queries[:, :, text["rows"][n]])
            wanted = scores[layer]
            wanted = wanted[:, n] if method == "seer" else np.exp(wanted - logsumexp(wanted)).max(axis=1)[:, n]
            np.testing.assert_allclose(got, wanted, rtol=0.03, atol=0.03)


def logsumexp(x: np.ndarray) -> np.ndarray:
    return np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)) + x.max(-1, keepdims=True)


def keys_and_values(lm: CausalLM, made: GateTask):
    """Of text 0, each layer's keys and values as a cache holds them, and its queries times the scaling."""
    from fovea.attention_retrieval.probes.through import through

    ids, _ = made.texts.ids(lm.tokenizer, made.recipe, [0, 0])
    found = []

    def seen(called, out):
        held = [Vectors(2, 8, "fp32"), Vectors(2, 8, "fp32")]
        for vectors, rows in zip(held, (called.key, called.value)):
            vectors.append(rows[0].numpy())
        found.append((*held, (called.query[0] * called.scaling).unflatten(0, (2, 2)).numpy()))
        return out

    with torch.inference_mode(), through(lm.model, seen):
        lm.model(torch.tensor([ids]))
    return found


def test_gates_are_trained_go_on_and_are_read(folder, tmp_path, capsys):
    words = [f"{name}={value}" for name, value in {**FEW, "steps": 6, "every": 3, "width": 8}.items()]
    few = [word for each in words for word in ("--set", each)] + ["--quiet", "--cache", str(tmp_path / "reads")]
    train = ["train", "gates", "seer", "--model", folder, "--out"]
    assert main([*train, str(tmp_path / "whole"), *few]) == 0
    assert "6 steps, ended by steps" in capsys.readouterr().out
    assert main([*train, str(tmp_path / "parts"), *few, "--max-seconds", "0"]) == 0
    assert "the same command goes on" in capsys.readouterr().out
    assert main([*train, str(tmp_path / "parts"), *few]) == 0
    whole, parts = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == parts
    assert "# Weights of the selection `seer`" in (tmp_path / "whole" / "README.md").read_text()
    selection = Selection.model_validate({"use": "seer", "gates": str(tmp_path / "whole"), "size": 16, "top_k": 64})
    selection.check(2, 4, 2)
    selection.check_model(folder, identity)
    other, reading = save_llama(tmp_path / "other", window=2048), {"select": selection.settings()}
    assert TransformersGenerator(model=folder, attention=reading).attending.select == selection
    with pytest.raises(ConfigError, match=rf"were learned on .*, and this is {other}"):
        TransformersGenerator(model=other, attention=reading).attending  # noqa: B018
    assert main([*train, str(tmp_path / "parts"), *few, "--seed", "1"]) == 2
    assert "begun with other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seer"], "gates are learned from a model"),
        (["quest", "--model", "x"], "no gates called 'quest' can be trained"),
        (["seer", "--model", "x", "--encoder", "hash"], "--encoder: gates are learned without it"),
        (["seer", "--model", "x", "--set", "width=3"], "--set width"),
    ],
)
def test_what_is_missing_is_said(tmp_path, capsys, words, said):
    assert main(["train", "gates", *words, "--out", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
