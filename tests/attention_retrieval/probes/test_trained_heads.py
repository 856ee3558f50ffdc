"""Heads that are learned: alphas that mix nothing at one, spans that lose what they leave out."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

from fovea.attention_retrieval.corrections.act import ActCorrection  # noqa: E402
from fovea.attention_retrieval.heads.duo import Duo  # noqa: E402
from fovea.attention_retrieval.heads.moa import MoA  # noqa: E402
from fovea.attention_retrieval.prefill.moa_bands import MoABands  # noqa: E402
from fovea.attention_retrieval.prefill.sale import SALE  # noqa: E402
from fovea.attention_retrieval.probes import spans  # noqa: E402
from fovea.attention_retrieval.probes.alphas import Alphas, AlphaTask, Mixed  # noqa: E402
from fovea.attention_retrieval.probes.passkeys import passkeys  # noqa: E402
from fovea.attention_retrieval.probes.taus import Halved, Taus, taus_of  # noqa: E402
from fovea.attention_retrieval.probes.through import through  # noqa: E402
from fovea.pipelines.cli.main import main  # noqa: E402
from fovea.rag.causal_lm import CausalLM, load  # noqa: E402
from fovea.rag.errors import ConfigError  # noqa: E402
from tests.pipelines.answering.test_generator_transformers import save_llama  # noqa: E402
from tests.tiny_lms import model, text  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
PROSE = ["The owl sleeps by day.", "The bat sleeps by night.", "Nobody knows why."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"), window=4096)


@pytest.fixture(scope="module")
def lm(folder) -> CausalLM:
    return load(folder)


def test_a_text_ends_in_the_numbers_that_are_hidden_in_it(lm):
    made = passkeys(lm.tokenizer, PROSE, tokens=500, keys=3, digits=8, seed=[1, 2])
    assert len(made.ids) == 500
    before, answer = (
        lm.tokenizer.decode(made.ids[part]) for part in (slice(made.answer.start), slice(made.answer.start, 500))
    )
    numbers = answer.strip(" .").split(", ")
    assert [len(number) for number in numbers] == [8, 8, 8]
    for name, number in zip(("first", "second", "third"), numbers):
        assert f"The {name} pass key is {number}. Remember it." in before
    assert passkeys(lm.tokenizer, PROSE, tokens=500, keys=3, digits=8, seed=[1, 2]) == made
    assert passkeys(lm.tokenizer, PROSE, tokens=500, keys=3, digits=8, seed=[1, 3]) != made
    with pytest.raises(ConfigError, match="3 pass keys of 8 digits are longer than 100 tokens"):
        passkeys(lm.tokenizer, PROSE, tokens=100, keys=3, digits=8, seed=[1])


@pytest.mark.parametrize("name", ["llama, 4 to 1", "qwen2, 7 to 1"])
def test_alphas_mix_full_attention_with_sinks_and_window(name):
    lm, ids = model(name, "sdpa"), text(40)
    shape = lm.config.num_hidden_layers, lm.config.num_key_value_heads
    with torch.inference_mode():
        plain = lm(ids).logits
        for alphas, sinks, window in (
            (torch.ones(shape), 2, 5),
            (torch.zeros(shape), 2, 40),
            (torch.zeros(shape), 40, 1),
        ):
            with through(lm, Mixed(alphas, sinks, window)):
                torch.testing.assert_close(lm(ids).logits, plain, atol=1e-4, rtol=1e-4)
        with through(lm, Mixed(torch.zeros(shape), 2, 5)):
            assert not torch.allclose(lm(ids).logits[0, 7:], plain[0, 7:], atol=1e-3)
            torch.testing.assert_close(lm(ids).logits[0, :7], plain[0, :7], atol=1e-4, rtol=1e-4)


def test_the_loss_of_full_attention_is_what_alphas_cost_and_its_gradient_reaches_them(lm):
    recipe = Alphas(lengths=(260,), texts=1, digits=3, keys=2, sinks=4, window=16)
    task = AlphaTask(lm, PROSE, recipe, 0)
    loss = task.loss(0)
    assert float(loss.detach()) == pytest.approx(0.05, abs=1e-6)
    with torch.no_grad():
        task.model.alphas.fill_(0.5)
    loss = task.loss(0)
    assert float(loss.detach()) > 0.025
    loss.backward()
    assert task.model.alphas.grad.shape == (2, 2)
    assert (task.model.alphas.grad != 0.05 / 4).all()
    assert all(parameter.grad is None for parameter in lm.model.parameters())


def test_alphas_mix_an_answer_alone(lm):
    """The loss is that of the whole text read at once, its answer's attention mixed and the rest's not."""
    recipe = Alphas(lengths=(260,), texts=1, digits=3, keys=2, sinks=4, window=16)
    task, alphas = AlphaTask(lm, PROSE, recipe, 0), torch.rand(2, 2, generator=torch.Generator().manual_seed(0))
    text = task._text(0)
    asked = slice(text.answer.start - 1, text.answer.stop - 1)

    def mixed(called, out):
        own = out.clone()
        own[:, asked] = Mixed(alphas, 4, 16)(called, out)[:, asked]
        return own

    def states():
        return lm.model.base_model(torch.tensor([text.ids])).last_hidden_state[0, asked]

    with torch.no_grad():
        task.model.alphas.copy_(alphas)
        full = states()
        with through(lm.model, mixed):
            far = (full - states()).square().mean()
    for _ in range(2):  # what is kept of the text is left as it was
        assert float(task.loss(0).detach()) == pytest.approx(float(far + 0.05 * alphas.mean()), rel=1e-4)
    assert float(far) > 1e-3


SET = ["--set", "lengths=[260]", "--set", "digits=3", "--set", "keys=2", "--set", "texts=1", "--quiet"]


def test_alphas_are_trained_go_on_and_are_read(folder, tmp_path, capsys):
    short = [*SET, "--set", "steps=6", "--set", "every=3", "--set", "sinks=4", "--set", "window=16"]
    train = ["train", "heads", "duo", "--model", folder, "--out"]
    assert main([*train, str(tmp_path / "whole"), *short]) == 0
    assert "6 steps, ended by steps" in capsys.readouterr().out
    assert main([*train, str(tmp_path / "parts"), *short, "--max-seconds", "0"]) == 0
    assert "the same command goes on" in capsys.readouterr().out
    assert main([*train, str(tmp_path / "parts"), *short]) == 0
    whole, parts = ((tmp_path / name / "full_attention_heads.tsv").read_text() for name in ("whole", "parts"))
    assert whole == parts
    policy = Duo(scores=str(tmp_path / "whole"))
    policy.check(2, 4, 2)
    assert np.array(policy.scores).min() < 1, "they cost something, so they fall"
    assert "# Weights of the heads `duo`" in (tmp_path / "whole" / "README.md").read_text()


def test_what_a_span_is_worth_is_what_the_loss_gains_without_its_pairs():
    """To first order: the gradient of the loss where a pair's weight goes to the others of its row."""
    rng = torch.Generator().manual_seed(0)
    a = torch.rand(6, generator=rng).softmax(0).double().requires_grad_(True)
    target = torch.rand(6, generator=rng).double()
    (a.pow(2) * target).sum().backward()
    for key in range(6):
        gone = a.detach().clone()
        gone[key] = 0
        change = (gone / gone.sum() - a.detach()) @ a.grad
        got = -a[key] * (a.grad[key] - (a * a.grad).sum()) / (1 - a[key])
        assert float(got.detach()) == pytest.approx(float(change.detach()), rel=1e-5)


def test_gains_are_summed_by_distance():
    gains = np.random.default_rng(0).normal(size=(2, 7, 7)) * np.tri(7)
    worth = spans.by_distance(gains)
    for span in (1, 3, 7):
        far = np.subtract.outer(np.arange(7), np.arange(7)) >= span
        np.testing.assert_allclose(spans.lost(worth, span), (gains * far).sum(axis=(1, 2)), atol=1e-12)


def test_the_cheapest_rules_within_the_density_are_those_of_trying_all():
    rng = np.random.default_rng(0)
    costs, density = rng.random((4, 5)), np.array([[0.1, 0.4, 0.7, 1.0], [0.2, 0.3, 0.9, 0.6]])
    every = np.stack(np.meshgrid(*[np.arange(4)] * 5), -1).reshape(-1, 5)
    fits = (density[:, every].mean(axis=2) <= 0.5).all(axis=0)
    sums = costs[every, np.arange(5)].sum(axis=1)
    chosen = spans.cheapest(costs, density, 0.5)
    assert (density[:, chosen].mean(axis=1) <= 0.5 + 1e-9).all()
    assert costs[chosen, np.arange(5)].sum() == pytest.approx(sums[fits].min(), rel=2e-3)
    with pytest.raises(ConfigError, match="no rules have a mean span of 0.05"):
        spans.cheapest(costs, density, 0.05)


def test_a_head_that_looks_far_gets_the_longer_span():
    worth = np.zeros((1, 4, 100))
    worth[0, 1, 90], worth[0, :, 3] = 5.0, 1.0
    plan = spans.plan({100: worth}, 2, spans.Spans(least=5, density=0.6, alphas=(0,), betas=(0.0, 0.1, 1.0)))
    assert plan.betas[0][:2] == [1.0, 1.0], "its group with it"
    assert max(plan.betas[0][2:]) < 1


def test_a_plan_is_made_goes_on_and_is_read(folder, tmp_path, capsys):
    few = [*SET, "--set", "answer_tokens=4"]
    two = [word.replace("texts=1", "texts=2") for word in few]
    train = ["train", "heads", "moa", "--model", folder, "--out", str(tmp_path / "moa")]
    assert main([*train, *two, "--max-seconds", "0.001"]) == 0
    assert "profiled: 1 text; the same command goes on" in capsys.readouterr().out
    assert main([*train, *two]) == 0
    assert "mean span at 260, share 0.5" in capsys.readouterr().out.replace("0.4", "0.5")
    MoA(plan=str(tmp_path / "moa")).check(2, 4, 2)
    MoABands(plan=str(tmp_path / "moa")).check(2, 4, 2)
    assert set(json.loads((tmp_path / "moa" / "moa_alpha_beta.json").read_text())) == {"alphas", "betas"}
    assert main([*train, *few, "--seed", "1"]) == 2
    assert "other settings" in capsys.readouterr().err
    (tmp_path / "moa" / "profiles.npz").write_bytes(b"torn")
    assert main([*train, *two]) == 1
    assert "--restart" in capsys.readouterr().err


def test_heads_that_gain_are_found_go_on_and_are_read(tmp_path, capsys):
    """Heads of the third layer and later alone are tried, so the model has three."""
    folder = save_llama(tmp_path / "llama", window=4096, layers=3)
    rows = [{"prompt": f"Which owl is {n}?", "answer": "The one that sleeps by day."} for n in range(2)]
    data = tmp_path / "examples.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "act"
    train = ["train", "heads", "act", "--model", folder, "--out", str(out), "--quiet"]
    assert main([*train, "--data", str(data), "--max-seconds", "0.001"]) == 0
    assert "profiled: 1 text; the same command goes on" in capsys.readouterr().out
    assert not (out / "act_heads.json").exists()
    assert main([*train, "--data", str(data)]) == 0
    assert "heads that gain, share" in capsys.readouterr().out
    read = ActCorrection(heads=str(out)).heads
    assert read == tuple(map(tuple, json.loads((out / "act_heads.json").read_text())["heads"]))
    assert {layer for layer, _ in read} == {2}
    data.write_text('{"prompt": "Who?", "answer": 7}\n')
    assert main([*train, "--data", str(data), "--restart"]) == 1
    assert f"{data}:1: no prompt and answer, both texts" in capsys.readouterr().err
    assert main(train) == 2
    assert "--data FILE.jsonl" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[1]", "{}", '{"heads": [[1]]}', '{"heads": [[1, -2]]}', "no JSON", None])
def test_a_file_that_names_no_heads(tmp_path, text):
    if text is not None:
        (tmp_path / "odd.json").write_text(text)
    with pytest.raises(ValueError, match=r"no JSON of heads|fovea train heads act|heads\.0"):
        ActCorrection(heads=str(tmp_path / "odd.json"))


def test_a_threshold_is_halved_until_its_head_moves_little_enough():
    lm, ids = CausalLM("tiny", model("llama, 4 to 1", "sdpa"), None), text(300)[0].tolist()
    sizes = {"sinks": 4, "window": 16, "block": 32, "key_block": 4, "dense_below": 64, "first": 1.0}
    moved: list[float] = []
    for error in (1e-9, 0.01, 1e9):
        recipe = Taus(**sizes, error=error)
        taus = taus_of(lm, ids, recipe)
        assert set(taus.ravel()) <= {0.0, *(1 / 2**n for n in range(14))}
        moved.append(taus.mean())

        def judged(called, out, recipe=recipe, taus=taus, error=error):
            exact, mine = out[0].transpose(0, 1), taus[called.layer]
            by = Halved(recipe)._read(called, mine)
            far = (by - exact).abs().sum(dim=(1, 2)).numpy()
            assert ((far < error * len(ids)) | (mine == 0)).all()
            return out

        with torch.inference_mode(), through(lm.model, judged):
            lm.model(torch.tensor([ids]))
    assert moved[0] < moved[1] < moved[2] == 1
    with pytest.raises(ConfigError, match="a text of 300 tokens is read as a whole"):
        taus_of(lm, ids, Taus(dense_below=300))


def test_thresholds_are_made_and_read(folder, tmp_path, capsys):
    few = ["--set", "tokens=300", "--set", "texts=1", "--set", "digits=3", "--set", "keys=2", "--set", "window=16"]
    few += ["--set", "sinks=4", "--set", "dense_below=64", "--set", "error=0.05", "--quiet"]
    assert main(["train", "heads", "sale", "--model", folder, "--out", str(tmp_path), *few]) == 0
    assert "mean tau" in capsys.readouterr().out
    policy = SALE(tau=str(tmp_path))
    policy.check(2, 4, 2)
    assert max(map(max, policy.tau)) <= 0.008
    with pytest.raises(ConfigError, match="of 2 layers of 4 heads, the model has 3 of 4") as refused:
        policy.check(3, 4, 2)
    assert "fovea train heads sale" in str(refused.value)
    with pytest.raises(ValueError, match="fovea train heads sale"):
        SALE(tau=str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["heads", "duo"], "heads are learned from a model"),
        (["heads", "razor", "--model", "x"], "no heads called 'razor' can be trained"),
        (["heads", "duo", "--model", "x", "--cache", "y"], "--cache: heads are learned without it"),
        (["heads", "moa", "--model", "x", "--encoder", "hash"], "--encoder: heads are learned without it"),
        (["heads", "act", "--model", "x", "--keep", "0.2"], "--keep: heads are learned without it"),
        (["retriever", "reranker", "--data", "x", "--keep", "0.2"], "--keep: --keep is of the documents that"),
        (["segmenter", "pointer"], "nothing to learn a segmenter from"),
        (["segmenter", "pointer", "--model", "x"], "--model is for heads"),
    ],
)
def test_what_is_missing_is_said(tmp_path, capsys, words, said):
    assert main(["train", *words, "--out", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("method", ["duo", "moa"])
def test_no_lengths_to_read_are_refused_before_a_model_is(method, tmp_path, capsys):
    asked = ["--model", "nowhere", "--out", str(tmp_path / "out"), "--set", "lengths=[]"]
    assert main(["train", "heads", method, *asked]) == 2
    assert "lengths" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
