"""LexSemBridge: numpy gives what torch gives, it starts as the identity, only queries change, nothing reverts in
silence, and it learns."""

import json
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sentence_transformers")

import torch
from sentence_transformers import SentenceTransformer

from fovea.rag import trained
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.remember import RememberingEncoder
from fovea.rag.retrieval import Retriever
from fovea.rag.testing.corpus import sample_corpus
from fovea.rag.testing.retrievers import check_retriever
from fovea.rag.trace import Trace
from fovea.rag.types import Query
from fovea.retrievers.lexsembridge import LexSemBridgeRetriever, Read, enhance, modulation, widened
from fovea.retrievers.modules.lexsembridge import LexSemBridge
from fovea.retrievers.training.lexsembridge import packed, word_vectors

VARIANTS = ("slr", "llr", "clr")
TEXTS = ["is tea brewed at 80 degrees", "the moon orbits the earth", "rivers flow, rivers", "", "月亮 ???", "zq qz zq"]
DIM = 32


@pytest.fixture(scope="module")
def encoder(tiny_folder):
    return SentenceTransformerEncoder(model=str(tiny_folder), device="cpu")


@pytest.fixture(scope="module")
def random(encoder):
    """A random module of each variant, far from the identity."""
    return {variant: random_bridge(variant, encoder) for variant in VARIANTS}


def random_bridge(variant, encoder, seed=0, spread=0.5):
    torch.manual_seed(seed)
    ids = set(range(5, encoder.tokenizer._tokenizer.get_vocab_size(), 2))
    words = torch.from_numpy(word_vectors(encoder))
    bridge = LexSemBridge.of(variant, sorted(ids), DIM, words=words)
    with torch.no_grad():
        for parameter in bridge.parameters():
            parameter.add_(torch.randn_like(parameter) * spread)
    return bridge.eval()


def numbers(bridge):
    return {name: value.numpy() for name, value in bridge.state_dict().items()}


def save(path, bridge, maker, **about):
    plain = {
        "method": "lexsembridge", "encoder": maker.space, "encoder_name": "tiny", "dim": maker.dim,
        "variant": bridge.variant, "tokenizer": maker.tokenizer.identity,
        "tokenizer_name": maker.tokenizer.label, **about,
    }  # fmt: skip
    trained.save(path, packed(numbers(bridge)), plain)
    return str(path)


@pytest.fixture(scope="module")
def retrievers(tmp_path_factory, encoder, random):
    home = tmp_path_factory.mktemp("weights")
    return {v: LexSemBridgeRetriever(weights=save(home / f"{v}.safetensors", b, encoder)) for v, b in random.items()}


def base(tiny_folder):
    return SentenceTransformer(str(tiny_folder), device="cpu")


def bridged(tiny_folder, bridge):
    transformer, pooling, normalize = list(base(tiny_folder).children())
    return SentenceTransformer(modules=[transformer, pooling, bridge, normalize], device="cpu")


# The formulas


@st.composite
def questions(draw):
    """Arrays of a variant, and a question of known and unknown tokens."""
    variant, seed = draw(st.sampled_from(VARIANTS)), draw(st.integers(0, 999))
    rng, dim, kept = np.random.default_rng(seed), draw(st.integers(2, 12)), draw(st.integers(1, 9))
    bridge = LexSemBridge(variant, kept, dim, width=dim)
    with torch.no_grad():
        for parameter in bridge.parameters():
            parameter.copy_(torch.from_numpy(rng.standard_normal(parameter.shape).astype(np.float32)))
        bridge.tokens.copy_(torch.from_numpy(np.sort(rng.choice(30, kept, replace=False))))
        if variant == "clr":
            bridge.words.copy_(torch.from_numpy(rng.standard_normal((kept, dim)).astype(np.float32)))
    ids = np.array(draw(st.lists(st.integers(0, 40), max_size=12)), np.int64)
    vector = rng.standard_normal(dim).astype(np.float32)
    states = rng.standard_normal((len(ids), dim)).astype(np.float32)
    return bridge, Read(vector / np.linalg.norm(vector), ids, states)


@given(questions())
def test_numpy_gives_what_the_module_gives(question):
    bridge, read = question
    features = {
        "sentence_embedding": torch.from_numpy(read.vector)[None] * 3,
        "input_ids": torch.from_numpy(np.append(read.ids, 7))[None],  # the last one is filling
        "attention_mask": torch.tensor([[1] * len(read.ids) + [0]]),
        "token_embeddings": torch.from_numpy(np.vstack([read.states, np.full(len(read.vector), 9, np.float32)]))[None],
    }
    shares = modulation(read, bridge.variant, numbers(bridge))
    with torch.no_grad():
        theirs = bridge.shares(features)[0].numpy()
        turned = torch.nn.functional.normalize(bridge(dict(features), task="query")["sentence_embedding"], dim=-1)
    np.testing.assert_allclose(shares, theirs, atol=2e-5)
    np.testing.assert_allclose(enhance(read.vector, shares), turned[0].numpy(), atol=2e-5)


@given(questions())
def test_shares_are_positive_of_sum_one_and_no_dimension_changes_its_sign(question):
    bridge, read = question
    shares = modulation(read, bridge.variant, numbers(bridge))
    assert (shares > 0).all()
    assert shares.sum() == pytest.approx(1, abs=1e-5)
    turned = enhance(read.vector, shares)
    assert turned.dtype == np.float32
    assert np.linalg.norm(turned) == pytest.approx(1, abs=1e-5)
    assert (np.sign(turned) == np.sign(read.vector)).all()


@given(questions())
def test_unknown_tokens_contribute_nothing(question):
    bridge, read = question
    arrays = numbers(bridge)
    known = np.isin(read.ids, arrays["tokens"])
    alone = Read(read.vector, read.ids[known], read.states[known])
    np.testing.assert_array_equal(modulation(read, bridge.variant, arrays), modulation(alone, bridge.variant, arrays))
    if bridge.variant != "clr":
        nothing = modulation(Read(read.vector, read.ids[:0], read.states[:0]), bridge.variant, arrays)
        np.testing.assert_allclose(nothing, np.exp(arrays["bias"]) / np.exp(arrays["bias"]).sum(), rtol=1e-5)


def by_hand(variant, read, arrays):
    """w by the definition, over a whole vocabulary of 41 tokens."""
    w = np.zeros(41)
    for token, row in zip(arrays["tokens"], range(len(arrays["tokens"]))):
        places = np.flatnonzero(read.ids == token)
        if variant == "slr" and len(places):
            w[token] = arrays["scale"][0]
        if variant == "llr" and len(places):
            w[token] = max(max(0, float(arrays["direction"] @ read.states[j] + arrays["floor"][0])) for j in places)
        if variant == "clr":
            x = arrays["hidden.weight"] @ (read.vector * len(read.vector) ** 0.5) + arrays["hidden.bias"]
            x = torch.nn.functional.gelu(torch.from_numpy(x)).numpy()
            x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
            w[token] = np.log(1 + max(0, float(arrays["words"][row] @ x)))
    return w


@given(questions())
def test_the_formula_by_hand(question):
    bridge, read = question
    arrays = numbers(bridge)
    matrix = np.zeros((41, len(read.vector)))
    matrix[arrays["tokens"]] = arrays["matrix"]
    logits = by_hand(bridge.variant, read, arrays) @ matrix + arrays["bias"]
    expected = np.exp(logits - logits.max())
    np.testing.assert_allclose(modulation(read, bridge.variant, arrays), expected / expected.sum(), atol=1e-5)


@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 99))
def test_eight_bits_keep_rows_to_a_hundredth_of_their_largest_number(kept, dim, seed):
    rng = np.random.default_rng(seed)
    matrix = (rng.standard_normal((kept, dim)) * rng.choice([0, 1e-3, 3], (kept, 1))).astype(np.float32)
    arrays = packed({"tokens": np.arange(kept), "matrix": matrix, "bias": rng.standard_normal(dim)})
    assert arrays["matrix"].dtype == np.int8
    again = widened(arrays)["matrix"]
    assert again.dtype == np.float32
    assert (np.abs(again - matrix) <= np.abs(matrix).max(1, keepdims=True) / 200 + 1e-7).all()


def test_long_rows_are_clipped():
    bridge = LexSemBridge("slr", 2, 4)
    with torch.no_grad():
        bridge.matrix[0], bridge.matrix[1] = 10, 0.1
    bridge.clip()
    assert torch.linalg.norm(bridge.matrix, dim=1).tolist() == pytest.approx([3, 0.2])


# The module in a sentence-transformers model


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_starts_as_the_identity(tiny_folder, encoder, variant):
    words = torch.from_numpy(word_vectors(encoder))
    model = bridged(tiny_folder, LexSemBridge.of(variant, range(5, 60), DIM, words=words))
    np.testing.assert_allclose(model.encode_query(TEXTS), base(tiny_folder).encode(TEXTS), atol=1e-3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_queries_alone_are_changed_and_by_the_modulation_alone(tiny_folder, random, variant):
    plain, model = base(tiny_folder), bridged(tiny_folder, random[variant])
    expected = plain.encode(TEXTS)
    np.testing.assert_array_equal(model.encode_document(TEXTS), expected)
    np.testing.assert_array_equal(model.encode(TEXTS), expected)
    turned = model.encode_query(TEXTS)
    np.testing.assert_array_equal(model.encode(TEXTS, task="query"), turned)
    assert np.abs(turned - expected).max() > 0.05
    for text, query in zip(TEXTS, turned):
        with torch.no_grad():
            one = plain(plain.tokenize([text]))
        found = (one[name][0].numpy() for name in ("sentence_embedding", "input_ids", "token_embeddings"))
        seen = Read(*found)
        shares = modulation(seen, variant, numbers(random[variant]))
        np.testing.assert_allclose(query, enhance(seen.vector, shares), atol=1e-5)


def test_the_trainer_says_which_column_holds_queries(tiny_folder, random):
    collator = pytest.importorskip("sentence_transformers.sentence_transformer.data_collator")
    model = bridged(tiny_folder, random["slr"])
    collate = collator.SentenceTransformerDataCollator(
        preprocess_fn=model.preprocess, router_mapping={"anchor": "query", "positive": "document"}
    )
    batch = collate([{"anchor": TEXTS[0], "positive": TEXTS[1]}])
    for column, expected in (("anchor", model.encode_query(TEXTS[0])), ("positive", model.encode_document(TEXTS[1]))):
        features = {k.removeprefix(f"{column}_"): v for k, v in batch.items() if k.startswith(f"{column}_")}
        with torch.no_grad():
            found = model(features)["sentence_embedding"][0].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_saved_model_is_the_same_to_the_bit(tiny_folder, random, variant, tmp_path):
    model = bridged(tiny_folder, random[variant])
    model.save(str(tmp_path / "m"), create_model_card=False)
    again = SentenceTransformer(str(tmp_path / "m"), device="cpu", trust_remote_code=True)
    assert [type(m).__name__ for m in again.children()] == ["Transformer", "Pooling", "LexSemBridge", "Normalize"]
    before, after = random[variant].state_dict(), again[2].state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    np.testing.assert_array_equal(again.encode_query(TEXTS), model.encode_query(TEXTS))
    again.save(str(tmp_path / "n"), create_model_card=False)
    files = [(tmp_path / name / "2_LexSemBridge" / "model.safetensors").read_bytes() for name in "mn"]
    assert files[0] == files[1]


@pytest.mark.skipif(int(version("sentence-transformers")[0]) < 6, reason="version 5 trusts local folders")
def test_foreign_code_is_asked_for(tiny_folder, random, tmp_path):
    bridged(tiny_folder, random["slr"]).save(str(tmp_path / "m"), create_model_card=False)
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        SentenceTransformer(str(tmp_path / "m"), device="cpu")
    with pytest.raises(ModelError, match="trust_remote_code"):
        SentenceTransformerEncoder(model=str(tmp_path / "m"), device="cpu").encode(["tea"])


@pytest.mark.parametrize("damage", ["gone", "cut", "another", "settings"])
def test_a_model_saved_without_its_modulation_is_refused(tiny_folder, random, tmp_path, damage):
    bridged(tiny_folder, random["slr"]).save(str(tmp_path / "m"), create_model_card=False)
    home = tmp_path / "m" / "2_LexSemBridge"
    path = home / "model.safetensors"
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "another":
        settings = json.loads((home / "config.json").read_text())
        (home / "config.json").write_text(json.dumps({**settings, "variant": "clr"}))
    else:
        (home / "config.json").unlink()
    with pytest.raises(ModelError, match="not saved with its model" if damage == "gone" else "cannot be read"):
        SentenceTransformer(str(tmp_path / "m"), device="cpu", trust_remote_code=True)


def test_it_is_pushed_like_any_other(tiny_folder, random, tmp_path, monkeypatch):
    import shutil

    import huggingface_hub

    class Hub(huggingface_hub.HfApi):
        """A hub that is a folder."""

        def create_repo(self, repo_id, **_):
            return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

        def upload_folder(self, *, folder_path, **_):
            shutil.copytree(folder_path, tmp_path / "hub")
            return SimpleNamespace(commit_url="https://huggingface.co/me/bridged/commit/1")

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr("sentence_transformers.base.model.HfApi", Hub, raising=False)
    model = bridged(tiny_folder, random["llr"])
    model.push_to_hub("me/bridged", replace_model_card=True)
    again = SentenceTransformer(str(tmp_path / "hub"), device="cpu", trust_remote_code=True)
    np.testing.assert_array_equal(again.encode_query(TEXTS), model.encode_query(TEXTS))


def test_weights_become_a_module(tiny_folder, random, retrievers):
    for variant, retriever in retrievers.items():
        model = bridged(tiny_folder, LexSemBridge.read(variant, retriever.arrays))
        theirs, ours = model.encode_query(TEXTS), bridged(tiny_folder, random[variant]).encode_query(TEXTS)
        np.testing.assert_allclose(theirs, ours, atol=0.05)  # 8 bits


# The retriever


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_keeps_the_laws_of_retrievers(retrievers, encoder, variant):
    check_retriever(retrievers[variant], sample_corpus(encoder))


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_searches_with_the_vector_of_the_whole_model(tiny_folder, retrievers, encoder, variant):
    corpus, retriever = sample_corpus(encoder), retrievers[variant]
    model = bridged(tiny_folder, LexSemBridge.read(variant, retriever.arrays))
    moved = 0
    for text in TEXTS[:3]:
        vector = model.encode_query(text)
        hits = retriever.search(Query(text), 5, corpus)
        expected = corpus.nearest(vector, 5)
        assert [h.score for h in hits] == pytest.approx([h.score for h in expected], abs=1e-4)
        moved += [h.chunk.id for h in hits] != [h.chunk.id for h in corpus.nearest(corpus.embed(text), 5)]
        np.testing.assert_array_equal(retriever.vector(Query(text), corpus), retriever.vector(Query(text), corpus))
    assert moved, "random weights change the order"


@pytest.mark.parametrize("text", ["", "   ", "🙂", "月亮", "zq " * 300])
def test_odd_questions_have_a_vector(retrievers, encoder, text):
    corpus = sample_corpus(encoder)
    for retriever in retrievers.values():
        vector = retriever.vector(Query(text), corpus)
        assert vector.shape == (DIM,)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_another_encoder_is_refused_with_both_names(retrievers):
    with pytest.raises(ConfigError, match=r"read vectors of tiny \(32 numbers\), the encoder here is hash \(256\)"):
        retrievers["slr"].search(Query("tea"), 3, sample_corpus(HashEncoder()))


def test_another_tokenizer_is_refused_with_both_names(encoder, random, tmp_path):
    foreign = save(
        tmp_path / "w.safetensors", random["slr"], encoder, tokenizer="x", tokenizer_name="BPE with 9 tokens"
    )
    with pytest.raises(ConfigError, match=r"tokens of BPE with 9 tokens, the encoder here has WordPiece with \d+ tok"):
        LexSemBridgeRetriever(weights=foreign).search(Query("tea"), 3, sample_corpus(encoder))
    hashed = save(tmp_path / "h.safetensors", random["slr"], encoder, encoder=HashEncoder().space)
    with pytest.raises(ConfigError, match=r"WordPiece with \d+ tokens, the encoder here has WordTokenizer"):
        LexSemBridgeRetriever(weights=hashed).search(Query("tea"), 3, sample_corpus(HashEncoder()))


def test_llr_needs_an_encoder_that_shows_states(random, encoder, tmp_path):
    class Shy(SentenceTransformerEncoder):
        token_states = SentenceTransformerEncoder.__mro__[1].token_states

    path = save(tmp_path / "w.safetensors", random["llr"], encoder)
    with pytest.raises(ConfigError, match="no states of their tokens"):
        LexSemBridgeRetriever(weights=path).search(Query("tea"), 3, sample_corpus(Shy(model=encoder.model)))


def test_a_dimension_that_takes_over_is_warned_of(encoder, tmp_path):
    bridge = random_bridge("slr", encoder, spread=0.01)
    calm = LexSemBridgeRetriever(weights=save(tmp_path / "a.safetensors", bridge, encoder))
    with torch.no_grad():
        bridge.bias[3] = 9
    loud = LexSemBridgeRetriever(weights=save(tmp_path / "b.safetensors", bridge, encoder))
    for retriever, expected in ((calm, 0), (loud, 1)):
        trace = Trace()
        with trace.stage("retrieve"):
            retriever.search(Query("tea"), 3, sample_corpus(encoder))
        assert sum("took over 20 times its share" in message for message in trace.warnings) == expected


def test_weights_of_another_method_and_names_there_are_not(tmp_path, encoder, random):
    with pytest.raises(ModelError, match="no weights called 'lexsembrige'"):
        LexSemBridgeRetriever(weights="lexsembrige").search(Query("x"), 1, sample_corpus(encoder))
    other = save(tmp_path / "w.safetensors", random["slr"], encoder, method="other")
    with pytest.raises(ModelError, match="belong to other"):
        LexSemBridgeRetriever(weights=other).search(Query("x"), 1, sample_corpus(encoder))


def test_the_fingerprint_follows_the_weights(retrievers, encoder, tmp_path):
    prints = {r.fingerprint for r in retrievers.values()}
    assert len(prints) == 3
    one = random_bridge("slr", encoder, seed=1)
    path = save(tmp_path / "w.safetensors", one, encoder)
    before = LexSemBridgeRetriever(weights=path).fingerprint
    with torch.no_grad():
        one.bias[0] += 1
    assert LexSemBridgeRetriever(weights=save(tmp_path / "w.safetensors", one, encoder)).fingerprint != before


def test_in_a_pipeline_from_plain_settings(retrievers, make, docs, tiny_folder):
    stages = {"use": "lexsembridge", "weights": retrievers["slr"].weights}
    pipeline = make(
        encoder={"use": "sentence_transformer", "model": str(tiny_folder), "device": "cpu"}, retrieve=[stages]
    )
    pipeline.ingest([docs])
    hits = pipeline.retrieve("how hot is tea?", 3)
    assert [h.scores["lexsembridge"] for h in hits] == [h.score for h in hits]
    assert Retriever.model_validate(stages) == LexSemBridgeRetriever(weights=stages["weights"])


# States of tokens


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_states_are_those_of_sentence_transformers(tiny_folder, backend):
    encoder = SentenceTransformerEncoder(model=str(tiny_folder), device="cpu", backend=backend)
    model = base(tiny_folder)
    found = RememberingEncoder.of(encoder).token_states(TEXTS, "query")
    for one, text, states in zip(found, TEXTS, model.encode(TEXTS, output_value="token_embeddings")):
        assert one.ids.tolist() == encoder.tokenizer.ids([text])[0]
        np.testing.assert_allclose(one.states, states[1:-1].numpy(), atol=1e-5)
    np.testing.assert_allclose([one.vector for one in found], encoder.encode(TEXTS), atol=1e-6)
    assert encoder.token_states([]) == []


def test_states_of_a_text_in_windows_and_behind_a_prompt(tiny_folder):
    encoder = SentenceTransformerEncoder(model=str(tiny_folder), device="cpu", query_prompt="tea: ")
    long = "the moon orbits earth " * 30
    [plain, cut] = encoder.token_states(["the moon", long], "query")
    assert cut.ids.tolist() == encoder.tokenizer.ids([long])[0]
    assert len(cut.states) == len(cut.ids) == 120
    np.testing.assert_allclose(cut.vector, encoder.encode([long], "query")[0], atol=1e-6)
    expected = base(tiny_folder).encode("tea: the moon", output_value="token_embeddings")[3:-1]
    np.testing.assert_allclose(plain.states, expected.numpy(), atol=1e-5)


def test_an_encoder_without_a_model_shows_no_states():
    with pytest.raises(ConfigError, match="the encoder hash shows vectors of texts"):
        HashEncoder().token_states(["tea"])
