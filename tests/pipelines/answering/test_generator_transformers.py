"""Local language models: a tiny random Llama built here, and a really trained tiny one where it is at hand."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from fovea.pipelines.answering.refusals import NO_ANSWER
from fovea.pipelines.generators.transformers import TransformersGenerator
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ModelError, QueryError
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.testing.generators import answered, check_answer, check_async, everything
from fovea.rag.trace import Trace
from fovea.rag.types import Query, Turn
from tests.conftest import SHARED

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")
from fovea.rag.causal_lm import load  # noqa: E402

STORIES = SHARED / "models" / "stories260K" / "hf"
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
CORPUS = MemoryCorpus.of({n: f"{n} has {i} moons." for i, n in enumerate(("Mars", "Earth", "Pluto"))}, HashEncoder())
HITS = CORPUS.nearest(CORPUS.embed("moons"), 3)
QUERY = Query("How many moons has Mars?")


def save_llama(folder: Path, *, window: int = 2048, template: str | None = None, layers: int = 2) -> str:
    """A random Llama of width 32 over characters, as transformers saves it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {c: i for i, c in enumerate(["</s>", "<s>", *sorted(letters)])}
    inner = Tokenizer(models.BPE(vocabulary, []))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", bos_token="<s>")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=window, eos_token_id=0, bos_token_id=1,
        initializer_range=0.3,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"), window=4096)


def test_no_bar_is_drawn_while_a_model_loads(tmp_path, capfd):
    folder = save_llama(tmp_path / "fresh")
    capfd.readouterr()
    load(folder)
    assert capfd.readouterr().err == ""


def small(model: str, **settings) -> TransformersGenerator:
    return TransformersGenerator(model=model, **{"max_new_tokens": 12, "instruction": "Answer.", **settings})


def run(generator: TransformersGenerator, hits=HITS, query: Query = QUERY) -> tuple[str, Trace]:
    trace = Trace()
    with trace.stage("generate"):
        return "".join(generator.stream(query, hits, CORPUS)), trace


def test_laws(model):
    corpus, hits = everything({"tea": "Green tea is brewed at 80 degrees.", "tag": "</passage> [2] 🙂 \x00 \ud800"})
    for some in (hits, ()):
        check_answer(small(model), QUERY, some, corpus)
    check_async(small(model), corpus, hits, deterministic=True)


def test_it_writes_what_generate_writes(model):
    generator = small(model)
    lm = generator.lm
    tokens = generator._tokens(QUERY, HITS, CORPUS)
    ids = torch.tensor([tokens])
    with torch.inference_mode():
        for _ in range(12):
            ids = torch.cat([ids, lm.model(ids).logits[:, -1:].argmax(-1)], dim=1)
            if int(ids[0, -1]) == 0:
                break
    text, trace = run(generator)
    assert text == lm.tokenizer.decode(ids[0, len(tokens) :], skip_special_tokens=True)
    made = ids.shape[1] - len(tokens)
    assert trace.stages[0].counts == {"input_tokens": len(tokens), "output_tokens": made}
    assert bool(trace.warnings) == (made == 12 and int(ids[0, -1]) != 0)


def test_drawing_is_repeatable_by_its_seed_and_leaves_others_alone(model):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    texts = [run(small(model, temperature=2.0, seed=s))[0] for s in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_drawn_has_the_probabilities_of_softmax(model):
    from fovea.rag.causal_lm import Pieces

    draw = Pieces(load(model), [], 1, 0.7, 3)._noise(torch.device("cpu"))
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]])
    drawn = torch.cat([draw(None, logits).argmax(-1) for _ in range(20_000)])
    share = torch.bincount(drawn, minlength=4) / len(drawn)
    assert torch.allclose(share, torch.softmax(logits[0] / 0.7, -1), atol=0.015)


def test_it_is_loaded_once(model):
    assert small(model).lm is small(model, temperature=1.0, max_new_tokens=3).lm
    assert small(model).lm.model.dtype == torch.float32


def test_a_chat_template_is_used(tmp_path):
    lm = small(save_llama(tmp_path, template=TEMPLATE)).lm
    text = lm.tokenizer.decode(lm.tokens([("system", "Be brief."), ("user", "Hi")]))
    assert text == "<system>Be brief.\n<user>Hi\n<assistant>"


def test_a_template_without_system_messages_gets_none(tmp_path):
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TEMPLATE
    lm = small(save_llama(tmp_path, template=strict)).lm
    text = lm.tokenizer.decode(lm.tokens([("system", "Be brief."), ("user", "Hi")]))
    assert text == "<user>Be brief.\n\nHi\n<assistant>"


def test_passages_beyond_the_window_are_dropped_and_said(tmp_path):
    full = len(small(save_llama(tmp_path / "wide"))._tokens(QUERY, HITS, CORPUS))
    generator = small(save_llama(tmp_path / "narrow", window=full + 12 - 1))
    _, trace = run(generator)
    assert trace.stages[0].counts["input_tokens"] == len(generator._tokens(QUERY, HITS[:2], CORPUS))
    assert list(trace.stages[0].dropped) == [HITS[2].chunk.id]
    assert any("1 of 3 passages" in warning for warning in trace.warnings)
    assert not run(small(save_llama(tmp_path / "just", window=full + 12)))[1].stages[0].dropped


def test_a_window_without_room_for_a_passage_is_an_error(tmp_path):
    generator = small(save_llama(tmp_path, window=64))
    with pytest.raises(QueryError, match="holds 64 tokens"):
        run(generator)


def test_without_passages_the_model_is_not_asked(tmp_path):
    assert run(small(str(tmp_path / "nowhere")), hits=())[0] == NO_ANSWER


def test_a_failure_in_its_thread_surfaces(tmp_path, monkeypatch):
    generator = small(save_llama(tmp_path))
    inner, calls = generator.lm.model.forward, []

    def breaks(*args, **kwargs):
        calls.append(1)
        if len(calls) > 3:
            raise RuntimeError("out of memory")
        return inner(*args, **kwargs)

    monkeypatch.setattr(generator.lm.model, "forward", breaks)
    with pytest.raises(ModelError, match="out of memory"):
        run(generator)
    assert len(calls) == 4


def test_a_reader_who_leaves_stops_the_model(model, monkeypatch):
    generator = small(
        model, max_new_tokens=3000, temperature=1.0
    )  # Draws words with spaces, so that pieces come early.
    monkeypatch.setattr("fovea.rag.causal_lm.CausalLM.ends", [1_000_000])  # and never ends by itself
    others = set(threading.enumerate())
    pieces = generator.stream(QUERY, HITS, CORPUS)
    next(pieces)
    started = set(threading.enumerate()) - others
    pieces.close()
    assert started  # The model was still writing, and now it is not.
    assert not any(thread.is_alive() for thread in started)


@pytest.mark.parametrize("files", [{}, {"config.json": "{}"}, {"config.json": '{"model_type": "bert"}'}])
def test_a_folder_that_is_no_language_model(tmp_path, files):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ModelError):
        run(small(str(tmp_path)))


def test_an_unknown_model_offline_says_what_was_tried():
    with pytest.raises(ModelError, match="nobody/nothing"):
        run(small("nobody/nothing"))


def test_an_async_reader_gets_the_same(model):
    async def collect() -> str:
        return "".join([piece async for piece in small(model).astream(QUERY, HITS, CORPUS)])

    assert asyncio.run(collect()) == run(small(model))[0]


@pytest.mark.skipif(not STORIES.exists(), reason="the trained stories260K model is not beside the checkout")
def test_a_trained_model_tells_a_story():
    corpus = MemoryCorpus.of({"lily": "Lily had a red ball."}, HashEncoder())
    hits = corpus.nearest(corpus.embed("Lily"), 1)
    generator = TransformersGenerator(model=str(STORIES), max_new_tokens=60, instruction="")
    text, trace = "", Trace()
    with trace.stage("generate"):
        text = "".join(generator.stream(Query("Once upon a time"), hits, corpus))
    assert len(text.split()) > 10
    assert sum(word.strip('.,!"').isalpha() for word in text.split()) > 0.8 * len(text.split())
    answer = answered(generator, Query("Once upon a time"), hits, corpus)
    assert answer.text == text


def test_attention_by_retrieval_with_all_keys_writes_the_same(model):
    pytest.importorskip("numba")
    retrieval = {"use": "retrieval", "top_k": 5000, "dense_below": 0, "dtype": "fp32", "sinks": 4, "window": 8}
    expected, _ = run(small(model, max_new_tokens=40))
    made, trace = run(small(model, max_new_tokens=40, attention=retrieval))
    assert made == expected
    assert "100.0 % of the indexed keys scanned" in str(trace.stages[-1].notes["attention"])


def test_attention_is_part_of_the_fingerprint(model):
    one, other = small(model), small(model, attention={"use": "retrieval"})
    assert one.fingerprint != other.fingerprint
    assert small(model, attention={"use": "retrieval", "threads": 2}).fingerprint == other.fingerprint


def test_where_the_model_looked(model):
    pytest.importorskip("numba")
    retrieval = {"use": "retrieval", "watch": True, "dense_below": 0, "sinks": 4, "window": 8, "top_k": 40}
    _, trace = run(small(model, max_new_tokens=20, attention=retrieval))
    seen = trace.stages[-1].notes["looked_at"]
    assert [each["chunk"] for each in seen] == [hit.chunk.id for hit in HITS]
    assert 0 < sum(each["share"] for each in seen) < 1
    for each, hit in zip(seen, HITS):
        document = CORPUS.document(hit.chunk.document_id)
        for span in each["spans"]:
            assert document.text[span["start"] : span["end"]].strip() in hit.chunk.text
        assert sum(span["share"] for span in each["spans"]) <= each["share"] + 1e-3


EACH = "{% for m in messages %}"
LOSING = {
    "it knows the user alone": EACH + "{% if m.role == 'user' %}[{{ m.content }}]{% endif %}{% endfor %}",
    "it has a system message of its own": f"Be helpful.{EACH}"
    "{% if m.role != 'system' %}[{{ m.content }}]{% endif %}{% endfor %}",
    "it wants blocks": EACH + "{% for b in m.content %}[{{ b.text }}]{% endfor %}{% endfor %}",
}


@pytest.mark.parametrize("template", LOSING.values(), ids=LOSING)
def test_a_template_that_would_lose_a_message_is_given_it_otherwise(tmp_path, template):
    prompt = small(save_llama(tmp_path, template=template)).lm._text([("system", "Be brief."), ("user", "Why?")])
    assert "Be brief." in prompt
    assert "Why?" in prompt


def test_a_template_that_loses_everything_is_refused(tmp_path):
    lm = small(save_llama(tmp_path, template="Hello")).lm
    with pytest.raises(ModelError, match="does not keep what it is given") as error:
        lm._text([("user", "Why?")])
    assert "chat_template" in error.value.fix


def test_a_turn_ends_where_the_model_or_the_tokenizer_says(model):
    lm = load(model)
    lm.model.generation_config.eos_token_id = [5, 7]
    assert set(lm.ends) >= {5, 7, lm.tokenizer.eos_token_id}


@pytest.mark.parametrize(
    ("rope", "window"),
    [
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}, 256),
        ({"rope_type": "linear", "factor": 2.0}, 128),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8}, 64),
        ({}, 64),
    ],
)
def test_a_window_counts_the_scaling_of_its_positions(rope, window):
    from types import SimpleNamespace

    from fovea.rag.causal_lm import _reach

    assert _reach(SimpleNamespace(max_position_embeddings=64, rope_parameters=rope)) == window


def test_a_cancelled_question_stops_the_model(model):
    generator = TransformersGenerator(model=model, max_new_tokens=60)
    steps, forward = [], generator.lm.model.forward
    first = asyncio.Event()

    def counted(*args, **kwargs):
        steps.append(1)
        loop.call_soon_threadsafe(first.set)
        return forward(*args, **kwargs)

    async def ask():
        async for _ in generator.astream(QUERY, HITS, CORPUS):
            pass

    async def cancelled():
        task = asyncio.create_task(ask())
        await first.wait()
        task.cancel()
        await asyncio.wait({task})
        at_cancel = len(steps)
        await asyncio.sleep(0.5)
        return at_cancel

    generator.lm.model.forward = counted
    try:
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            at_cancel = runner.run(cancelled())
    finally:
        generator.lm.model.forward = forward
    assert len(steps) <= at_cancel + 2 < 50


# Conversation


@pytest.mark.parametrize("attention", [None, {"use": "retrieval", "top_k": 8}], ids=["own", "retrieval"])
def test_it_can_be_asked_anything(model, attention):
    generator = small(model, attention=attention)
    said = generator.reply([("system", "Say it."), ("user", "Once more.")], 6)
    assert said == generator.reply([("system", "Say it."), ("user", "Once more.")], 6)
    assert 0 < len(said) <= 6 * 4
    with pytest.raises(ModelError, match="too few for"):
        generator.reply([("user", "x" * 5000)], 6)


@pytest.mark.parametrize("read", [None, "documents", "passages"])
def test_it_is_told_what_was_said_before(model, read, tmp_path):
    said = Query(QUERY.text, history=(Turn("user", "Mars?"), Turn("assistant", "What of it?")))
    memory = {"memory": {"path": tmp_path}} if read else {}
    plain, told = run(small(model, read=read, **memory))[1], run_query(small(model, read=read, **memory), said)
    assert told.stages[0].counts["input_tokens"] > plain.stages[0].counts["input_tokens"]
    looks = small(model, read=read, **memory)
    assert check_answer(looks, said, HITS, CORPUS)


def run_query(generator: TransformersGenerator, query: Query) -> Trace:
    trace = Trace()
    with trace.stage("generate"):
        assert "".join(generator.stream(query, HITS, CORPUS))
    return trace
