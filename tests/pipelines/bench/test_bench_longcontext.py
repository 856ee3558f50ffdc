"""`fovea bench longcontext`: handing equals reading, rows by hand, and the command on a tiny model."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from fovea.pipelines.bench.longcontext import front, memory, ratios, sizes
from fovea.pipelines.bench.longcontext.methods import Method, chosen
from fovea.pipelines.cli.main import main
from fovea.rag.errors import ConfigError, ModelError
from tests.pipelines.answering.test_generator_transformers import save_llama
from tests.pipelines.bench.test_bench_segmentation import KEYS, table

pytest.importorskip("numba")
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import DynamicCache  # noqa: E402

from fovea import Retrieval  # noqa: E402
from fovea.pipelines.bench.longcontext import answers, drawn, files, haystacks, speed  # noqa: E402
from fovea.pipelines.bench.longcontext.reading import Reader, extrapolated  # noqa: E402
from fovea.pipelines.bench.longcontext.steps import WARM, decode  # noqa: E402
from fovea.pipelines.bench.longcontext.twins import Twins, pieces, read, twin  # noqa: E402
from fovea.rag.causal_lm import load  # noqa: E402

SMALL = "dense_below: 0, sinks: 4, window: 24, threads: 1"
METHODS = ("{use: retrieval, engine: flat, correct: null, top_k: 8, dtype: fp32, " + SMALL + "}",
           "{use: retrieval, engine: query_ivf, dtype: fp32, " + SMALL + "}",
           "{use: streaming, window: 40, dtype: fp32}")  # fmt: skip
IDS = torch.randint(2, 250, (1400,), generator=torch.Generator().manual_seed(0)).tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_llama(tmp_path_factory.mktemp("llama"), window=4096)


@pytest.fixture(scope="module")
def twins(folder):
    return Twins(load(folder, device="cpu", attention="sdpa"))


def never(name, error):
    raise AssertionError(f"{name}: {error}")


def test_twins_share_their_weights(twins):
    model, other = twins.lm.model, twin(twins.lm.model, "eager")
    pointers = [[p.data_ptr() for p in one.parameters()] for one in (model, other)]
    assert pointers[0] == pointers[1]
    assert (model.config._attn_implementation, other.config._attn_implementation) == ("sdpa", "eager")
    assert other.model.layers[0].self_attn is not model.model.layers[0].self_attn


@pytest.mark.parametrize("chunk", [64, 130])
def test_what_is_handed_is_what_a_method_reads_by_itself(twins, chunk):
    methods = chosen(", ".join(METHODS), 1)
    found = {}
    for own in (False, True):
        reader = Reader(twins, methods, never, own=own)
        reader.read(IDS[:333], chunk)
        assert set(reader.seconds) == ({m.name for m in methods if m.name != "near"} if own else {"full"})
        logits = {}
        for method in methods:
            if method.name != "near":
                model, cache = method.model(twins), reader.caches[method.name]
                logits[method.name] = [read(model, cache, [token], 333 + n) for n, token in enumerate(IDS[333:340])]
                if method.spec is not None:
                    logits[method.name].append(torch.tensor([head.indexed for head in cache.report()]))
                    logits[method.name].append(torch.tensor([head.scanned or 0 for head in cache.report()]))
        found[own] = logits
    assert len(found[True]) == 4
    for name, mine in found[True].items():
        for handed, itself in zip(found[False][name], mine):
            torch.testing.assert_close(handed, itself, rtol=1e-5, atol=2e-5, msg=f"{name}: {handed} {itself}")
    full, streaming = found[True]["full"], found[True][methods[-1].name]
    assert not torch.allclose(full[0], streaming[0], atol=1e-2), "a method that reads less answers otherwise"


def test_keys_kept_as_bf16_differ_by_their_rounding_alone(twins):
    methods = chosen("{use: retrieval, dense_below: 100000}", 1)
    logits = []
    for own in (False, True):
        reader = Reader(twins, methods, never, own=own)
        reader.read(IDS[:200], 64)
        logits.append(read(methods[-1].model(twins), reader.caches[methods[-1].name], [7], 200))
    torch.testing.assert_close(*logits, rtol=0, atol=0.02 * float(logits[0].abs().max()))


def test_a_method_that_reads_otherwise_reads_by_itself(twins):
    methods = chosen("{use: streaming, prefill: {use: band, window: 16}}, {use: retrieval, exact_prompt: false}", 1)
    reader = Reader(twins, methods, never)
    reader.read(IDS[:100], 64)
    assert set(reader.seconds) == {"full", *(m.name for m in methods[2:])}


def test_near_is_sinks_and_window_of_full_attention(twins):
    methods = [*chosen(None, 1)[:2], *chosen("{use: streaming, sinks: 4, window: 997, dtype: fp32}", 1)[2:]]
    reader = Reader(twins, methods, never)
    reader.read(IDS[:1200], 512)
    reader.cut_near()
    assert reader.caches["near"].get_seq_length() == 1000
    near, streaming = (
        read(m.model(twins), reader.caches[m.name], [9], 1200) for m in (methods[1], methods[2])
    )  # its window counts the token itself
    torch.testing.assert_close(near, streaming, rtol=1e-4, atol=1e-4)
    short = Reader(twins, methods, never)
    short.read(IDS[:500], 512)
    short.cut_near()
    assert "near" not in short.caches, "all there is would be near"


def test_after_an_answer_all_is_as_before(twins):
    methods = chosen(", ".join(METHODS[::2]), 1)
    reader = Reader(twins, methods, never)
    reader.read(IDS[:1100], 512)
    reader.cut_near()
    marks, said = reader.marks(), []
    for _ in range(2):
        reader.read(IDS[1100:1130], 512)
        said.append({m.name: answers.answer(twins, m, reader, 5, 12) for m in methods})
        assert reader.length == 1130
        reader.back(marks, 1100)
        assert reader.marks() == marks
    assert said[0] == said[1]
    assert len(said[0]) == 4


def test_a_text_is_never_cut_into_a_piece_of_one_token():
    assert pieces(10, 4) == [(0, 4), (4, 8), (8, 10)]
    assert pieces(9, 4) == [(0, 4), (4, 9)]
    assert pieces(1, 4) == [(0, 1)]
    assert pieces(0, 4) == []


def test_ratios_by_hand():
    value, low, high = ratios.ratio([2.0, 4, 9], [1.0, 2, 4])
    assert value == 2
    assert 2 <= low <= high <= 2.25 + 1e-9
    assert ratios.share([10.0] * 4, [7.0] * 4, [4.0] * 4) == (0.5, 0.5, 0.5)
    slow, fast = ratios.ratio([1.0] * 9, [2.0] * 9), ratios.ratio([2.0] * 9, [1.0] * 9)
    assert (slow[0], fast[0]) == (0.5, 2)
    assert ratios.share([10.0] * 4, [12.0] * 4, [4.0] * 4)[0] < 0, "a loss is no gain"


def test_full_attention_agrees_with_itself_and_another_does_not(twins):
    methods = chosen("{use: streaming, sinks: 1, window: 2}, {use: retrieval, dtype: fp32, dense_below: 9999}", 1)
    reader = Reader(twins, methods, never)
    reader.read(IDS[:300], 128)
    found = decode(twins, methods, reader.caches, IDS[300:312], 300, never)
    full, streaming, exact = (found[methods[n].name] for n in (0, 2, 3))
    assert (full.same, max(full.kl)) == ([1.0] * 12, 0.0)
    assert np.mean(exact.kl) < 1e-6 < 1e-2 < np.mean(streaming.kl)
    assert len(full.steady) == 12 - WARM
    assert full.first >= 0


def test_drawn_keys_are_distributed_as_those_seen(twins):
    seen = drawn.probe(twins, IDS)
    assert [one.layer for one in seen] == [0, 1]
    assert all(one.keys.shape[2] == drawn.PROBE for one in seen)
    many = next(drawn.draw(seen[:1], 4000, 0, size=4000))
    for name in ("queries", "keys", "values"):
        of, like = getattr(seen[0], name)[0, :, drawn.FIRST :], getattr(many, name)[0]
        torch.testing.assert_close(like[:, : drawn.FIRST], getattr(seen[0], name)[0, :, : drawn.FIRST])
        scale = float(of.std())
        torch.testing.assert_close(like.mean(1), of.mean(1), rtol=0, atol=0.1 * scale)
        torch.testing.assert_close(*(torch.cov(one[1].T) for one in (like, of)), rtol=0, atol=0.15 * scale**2)
    reader = Reader(twins, chosen("streaming", 1), never)
    reader.fill(seen, 1100, 0)
    assert set(reader.marks().values()) == {1100}
    seconds = extrapolated(twins, reader.caches["full"], 1100, IDS[:100])
    assert seconds > 0
    assert set(reader.marks().values()) == {1100}, "what was read to measure is forgotten"


def test_bytes_by_hand(twins):
    methods = chosen("{use: streaming, dtype: fp32}", 1)
    reader = Reader(twins, methods, never)
    reader.read(IDS[:300], 300)
    full, ours = reader.caches["full"], reader.caches[methods[-1].name]
    assert sizes.held(full) == 2 * 2 * 2 * 300 * 8 * 4, "layers, keys and values, heads, tokens, width, bytes"
    assert sizes.numbers(full) == sizes.held(full) // 4
    assert sizes.kept(ours) == sizes.held(full)
    assert sizes.saved(ours) > sizes.held(full)


class Broken(Retrieval):
    """Fails as a method does that lacks something."""

    def cache(self, config):
        raise ModelError("it needs trained weights")


def test_a_method_that_cannot_run_is_missing_and_the_others_are_measured(twins):
    said = []
    methods = [*chosen("streaming", 1), Method("broken", Broken())]
    rows = list(speed.rows(twins, methods, IDS, 300, speed.Plan(decode=3, chunk=128), said.append))
    assert said == ["broken is missing: it needs trained weights"]
    (row,) = (row for row in rows if row.method == "broken")
    assert (row.metric, row.value) == ("decode_ratio", None)
    assert {"full", "streaming"} < {row.method for row in rows}
    asking = answers.Asking(files.load("multi_key"), 1000, 1, haystacks.of(None), 512, 0, False)
    rows = list(answers.rows(twins, methods, asking, said.append, {}))
    assert [row.value for row in rows if row.method == "broken"] == [None]
    assert {row.n for row in rows if row.metric == "needle" and row.value is not None} == {5}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("retreival", "no method 'retreival'"),
        ("{use: retrieval, topk: 3}", "no setting 'topk'"),
        ("streaming, streaming", "the same method twice: streaming"),
        ("[default]", "no method"),
        ("{use: retrieval, engine: nothing}", "nothing"),
    ],
)
def test_methods_that_do_not_exist(text, what):
    with pytest.raises(ConfigError, match=re.escape(what)):
        chosen(text, 1)


def test_methods_have_the_names_they_were_given():
    names = [m.name for m in chosen("default, near, {use: retrieval, engine: {use: ivf, nprobe: 4}}", 3)]
    assert names == ["full", "near", "default", "retrieval engine=ivf,nprobe=4"]
    (deep,) = chosen("{select: {use: recycled, of: {use: tokenselect, top_k: 9}}}", 1)[2:]
    assert deep.name == "retrieval select=recycled,of=tokenselect,top_k=9"
    default = chosen(None, 3)[-1]
    assert default.spec == Retrieval(threads=3), "the shipped settings"


def bench(capsys, folder, *args, code=0):
    assert main(["bench", "longcontext", "--model", folder, "--json", "--quiet", *map(str, args)]) == code
    out, err = capsys.readouterr()
    return ({}, out + err) if code else (table(json.loads(out)), err)


def test_the_command_on_a_tiny_model(folder, capsys):
    methods = "default, {use: streaming, window: 60}, {use: retrieval, engine: flat, " + SMALL.rsplit(",", 1)[0] + "}"
    for how in ("own", "drawn"):
        found, _ = bench(
            capsys, folder, "--methods", methods, "--read", how, "--lengths", 1200, "--decode", 4, "--tasks", "none"
        )
        assert all(set(row) == KEYS for row in found.values())
        (data,) = {key[0] for key in found}
        assert "1,200 tokens" in data
        for name in ("default", "streaming window=60"):
            row = {metric: found[data, name, metric] for key, method, metric in found if method == name}
            assert row["decode_ratio"]["low"] <= row["decode_ratio"]["value"] <= row["decode_ratio"]["high"]
            assert {"gain_share", "first_token_share", "bytes", "memory_ratio", "file_share", "wall ms"} <= set(row)
            assert ("prefill_ratio" in row) == (how == "own")
            assert ("kl" in row) == ("top1" in row) == (how == "own")
            assert row["bytes"]["value"] > 0.4
            assert row["decode_ratio"]["settings"]["read"] == how
        assert found[data, "default", "decode_ratio"]["settings"]["use"] == "retrieval"
        assert (data, "near", "decode_ratio") in found
        assert (data, "near", "gain_share") not in found


def test_what_the_command_refuses(folder, capsys):
    _, err = bench(capsys, folder, "--read", "drawn", "--tasks", "needle", code=2)
    assert "answers want a text that was read" in err
    _, err = bench(capsys, folder, "--plot", "a.png", code=2)
    assert "fix: --plot a.svg" in err
    _, err = bench(capsys, folder, "--decode", 0, "--tasks", "needle", "--lengths", 50, code=2)
    assert "the task needle does not fit 50 tokens" in err


def test_full_attentions_cache_is_transformers_own(twins):
    reader = Reader(twins, chosen(None, 1), never)
    assert type(reader.caches["full"]) is DynamicCache, "nothing of ours is in the rival's way"


def test_a_cache_that_drops_tokens_goes_back_to_the_text(twins):
    methods = chosen("{use: retrieval, dense_below: 0, evict: {use: snapkv, keep: 60, window: 8}}", 1)
    reader, logits = Reader(twins, methods, never), []
    reader.read(IDS[:300], 100)
    marks = reader.marks()
    name = methods[-1].name
    for _ in range(2):
        reader.read(IDS[300:340], 100)
        logits.append(read(methods[-1].model(twins), reader.caches[name], [IDS[340]], 340))
        assert len(reader.caches[name]._all_rows()[0]) < 70
        reader.back(marks, 300)
    assert reader.caches[name].get_seq_length() == 300
    torch.testing.assert_close(*logits)


def test_compositions_by_bytes(folder, capsys, tmp_path):
    methods = "int4, snapkv .25, snapkv .5"
    args = ["--methods", methods, "--lengths", "700", "--decode", "3", "--tasks", "none", "--memory", "--together", "2"]
    picture = tmp_path / "a.svg"
    assert main(["bench", "longcontext", "--model", str(folder), *args, "--plot", str(picture)]) == 0
    drawn_ = ElementTree.fromstring(picture.read_text("utf-8"))
    tips = [each.text for each in drawn_.iter("{http://www.w3.org/2000/svg}title")]
    assert [tip.partition(":")[0] for tip in tips] == 2 * ["int4", "snapkv .25", "snapkv .5"]
    shown = capsys.readouterr().out.split("bytes as a share of bf16")[1].splitlines()[2:]
    rows = [re.split(r"  +", line.strip()) for line in shown[1:] if line.strip()]
    assert [row[0] for row in rows] == ["snapkv .25", "int4", "snapkv .5", "full"], "what each set is beside, once"
    shares = [float(row[1]) for row in rows[:3]]
    assert shares == sorted(shares)
    assert 0.25 <= shares[0] < 0.35 < 0.5 <= shares[2] < 0.6


def test_the_front_is_what_no_other_beats():
    found = [
        front.Point(n, "", *each) for n, each in enumerate([(1, 1), (0.5, 2), (2, 1), (0.5, 3), (3, 0.5), (2, 0.9)])
    ]
    assert [point.number for point in front.front(found)] == [1, 0, 5, 4]
    with pytest.raises(ConfigError, match="nothing was decoded"):
        front.draw([])


def test_what_is_held_is_nothing_lost():
    full = {"needle": 0.8}
    assert memory.held({"needle": 0.8, "top1": 0.98, "kl": 0.02}, full, ["needle"])
    assert not memory.held({"needle": 0.7, "top1": 1.0, "kl": 0.0}, full, ["needle"])
    assert not memory.held({"needle": 0.8, "top1": 0.97, "kl": 0.0}, full, ["needle"])
    assert not memory.held({"needle": 0.8, "top1": 1.0, "kl": 0.021}, full, ["needle"])


def test_every_composition_is_one_that_can_be_read():
    for method in chosen("memory", 1)[2:]:
        assert method.spec is not None
        assert method.spec.select.name == "all"
