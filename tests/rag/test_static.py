"""Static encoders: what sentence-transformers makes of the same folders, and tables that are distilled."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

from safetensors.numpy import load_file, save_file

from fovea.pipelines.cli.main import main
from fovea.pipelines.training.encoder import pieces
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.encoders.static import StaticEncoder
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.testing.encoders import PLAIN, check_encoder
from tests.tiny import save_encoder, vocabulary

SIZE, DIM = len(vocabulary()), 16


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def saved(teacher, tmp_path_factory):
    """A folder as sentence-transformers saves it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
    from tokenizers import Tokenizer

    rows = np.random.default_rng(0).standard_normal((SIZE, DIM)).astype(np.float32)
    tokenizer = Tokenizer.from_file(str(next(teacher.rglob("tokenizer.json"))))
    prompts = {"query": "the moon ", "document": ""}
    modules = [StaticEmbedding(tokenizer, embedding_weights=rows), Normalize()]
    folder = tmp_path_factory.mktemp("saved") / "model"
    SentenceTransformer(modules=modules, device="cpu", prompts=prompts, truncate_dim=12).save(str(folder))
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy to be changed."""
    return shutil.copytree(saved, tmp_path / "model")


def by_sentence_transformers(folder):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return model.encode_document(PLAIN, normalize_embeddings=True), model.encode_query(PLAIN, normalize_embeddings=True)


def assert_alike(folder):
    mine = StaticEncoder(model=str(folder))
    for wanted, role in zip(by_sentence_transformers(folder), ("document", "query")):
        np.testing.assert_allclose(mine.encode(PLAIN, role), wanted, atol=1e-6)


def test_it_conforms(saved):
    check_encoder(StaticEncoder(model=str(saved)))


def test_vectors_are_those_of_sentence_transformers_with_prompts_and_a_cut(saved):
    assert StaticEncoder(model=str(saved)).dim == 12
    assert_alike(saved)


def test_a_table_of_model2vec_whose_rows_serve_many_tokens_is_read_as_sentence_transformers_does(folder):
    draw = np.random.default_rng(1)
    mapping, weights = draw.integers(0, 9, SIZE), draw.random(SIZE)
    rows = draw.standard_normal((9, DIM)).astype(np.float16)
    save_file({"embeddings": rows, "mapping": mapping, "weights": weights}, folder / "model.safetensors")
    assert_alike(folder)


def test_a_text_is_read_to_its_end_whatever_the_length_of_its_words(saved):
    """model2vec 0.10.0 keeps 512 times the median length of a token in characters, and counts tokens after that
    (`findings/model2vec_cut_by_characters.sh`).
    """
    encoder, text = StaticEncoder(model=str(saved)), "sentence " * 800
    assert np.abs(encoder.encode([text + "moon"]) - encoder.encode([text + "tea"])).max() > 1e-4


def test_states_are_the_rows_of_a_texts_tokens(saved):
    encoder = StaticEncoder(model=str(saved))
    for text, found in zip(PLAIN, encoder.token_states(PLAIN)):
        assert len(found.ids) == len(found.states) == encoder.tokenizer.count(text)
        sum_ = found.states.sum(0)
        np.testing.assert_allclose(found.vector, sum_ / np.linalg.norm(sum_), atol=1e-6)


def test_the_fingerprint_is_of_the_content(saved, folder):
    same, other = StaticEncoder(model=str(saved)), StaticEncoder(model=str(folder))
    assert same.fingerprint == other.fingerprint
    rows = load_file(folder / "model.safetensors")["embedding.weight"]
    save_file({"embedding.weight": rows + 1}, folder / "model.safetensors")
    assert StaticEncoder(model=str(folder)).fingerprint != same.fingerprint


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"rows": np.zeros((4, 4), np.float32)}, "holds no table of token vectors, but rows float32"),
        ({"embeddings": np.zeros((SIZE, 0), np.float32)}, "holds no table of token vectors, but embeddings"),
        (
            {"embeddings": np.zeros((SIZE, 4), np.complex64)},
            "holds no table of token vectors, but embeddings complex64",
        ),
        ({"embeddings": np.ones((9, 4)), "mapping": np.full(SIZE, 9)}, "mapping.* one of the 9 rows"),
        ({"embeddings": np.ones((9, 4)), "mapping": np.full(SIZE, -1)}, "mapping.* one of the 9 rows"),
        ({"embeddings": np.ones((9, 4)), "mapping": np.zeros(SIZE)}, "mapping.* one of the 9 rows"),
        ({"embeddings": np.ones((SIZE, 4)), "weights": np.ones(3)}, r"weights.* are \(3,\), not a number for each"),
        ({"embeddings": np.full((SIZE, 4), 3e38)}, "numbers that are not finite, or as large as 1e"),
        ({"embeddings": np.zeros((4, 4), np.float32)}, f"has 4 rows for {SIZE} tokens"),
        ({"embeddings": np.full((SIZE, 4), np.nan, np.float32)}, "numbers that are not finite"),
    ],
)
def test_tables_that_are_none(folder, arrays, said):
    save_file(arrays, folder / "model.safetensors")
    with pytest.raises(ModelError, match=said):
        StaticEncoder(model=str(folder)).encode(PLAIN)


def test_a_table_must_have_a_row_for_the_highest_id_of_its_tokenizer(folder):
    told = json.loads((folder / "tokenizer.json").read_text())
    told["model"]["vocab"]["moon"] = SIZE + 7
    (folder / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(ModelError, match=f"has {SIZE} rows for {SIZE + 8} tokens"):
        StaticEncoder(model=str(folder)).encode(PLAIN)


@pytest.mark.parametrize("told", [{"truncate_dim": True}, {"prompts": {"query": 5}}])
def test_settings_of_another_type_are_refused(folder, told):
    (folder / "config_sentence_transformers.json").write_text(json.dumps(told))
    with pytest.raises(ModelError, match=r"config_sentence_transformers\.json"):
        StaticEncoder(model=str(folder)).encode(PLAIN, "query")


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 2100, "a\0b"])
def test_what_no_file_is_called_is_no_model(name):
    with pytest.raises(ModelError, match="no model and no folder is called 'a"):
        StaticEncoder(model=name).encode(PLAIN)


def test_a_network_is_no_table(teacher, folder):
    with pytest.raises(ModelError, match="made of Transformer, Pooling, Normalize, not of a table") as told:
        StaticEncoder(model=str(teacher)).encode(PLAIN)
    assert told.value.fix.startswith("encoder: {use: sentence_transformer")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="there is no .*safetensors"):
        StaticEncoder(model=str(folder)).encode(PLAIN)
    (folder / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="cannot be read"):
        StaticEncoder(model=str(folder)).encode(PLAIN)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    draw, words = np.random.default_rng(0), [w for w in vocabulary()[5:] if w.isalpha() and len(w) > 1]
    lines = (" ".join(draw.choice(words, draw.integers(4, 9))).capitalize() + "." for _ in range(400))
    path.write_text("\n".join(lines))
    return path


def learn(teacher, text, out, *more: str):
    encoder = f"{{use: sentence_transformer, model: {teacher}}}"
    asked = ["--encoder", encoder, "--data", str(text), "--out", str(out), "--set", "dim=24", "--set", "steps=20"]
    assert main(["train", "encoder", "static", *asked, "--set", "every=10", "--quiet", *more]) == 0
    return out


@pytest.fixture(scope="module")
def learned(teacher, text, tmp_path_factory):
    return learn(teacher, text, tmp_path_factory.mktemp("learned"))


def test_a_table_is_distilled_from_the_encoder_at_hand(teacher, text, learned):
    assert load_file(learned / "model.safetensors")["embedding.weight"].shape == (SIZE, 24)
    assert "same 10 nearest" in (card := (learned / "README.md").read_text())
    assert "encoder: " in card
    assert_alike(learned)
    mine, theirs = StaticEncoder(model=str(learned)), SentenceTransformerEncoder(model=str(teacher))
    texts = text.read_text().splitlines()[:40]
    products = [np.triu(e.encode(texts) @ e.encode(texts).T, 1).ravel() for e in (mine, theirs)]
    assert np.corrcoef(*products)[0, 1] > 0.5, "texts that are near for the encoder are near for the table"


def test_a_training_that_was_stopped_ends_in_the_same_table(teacher, text, learned, tmp_path, capsys):
    learn(teacher, text, tmp_path, "--max-seconds", "0")
    assert f"{tmp_path / 'model.safetensors'}: 1 step, ended by seconds" in capsys.readouterr().out
    learn(teacher, text, tmp_path)
    wanted, found = (load_file(folder / "model.safetensors") for folder in (learned, tmp_path))
    np.testing.assert_array_equal(found["embedding.weight"], wanted["embedding.weight"])


def test_a_file_that_cannot_be_read_is_passed_by(text, caplog):
    (text.parent / "empty.txt").touch()
    assert len(pieces([str(text.parent)], 50, 0)) == 50
    assert "empty.txt: the file is empty" in caplog.text


def test_what_cannot_be_distilled_is_refused(text, tmp_path, capsys):
    assert main(["train", "encoder", "static", "--encoder", "hash", "--data", str(text), "--out", str(tmp_path)]) == 2
    assert "the encoder hash has no tokens to make a table of" in capsys.readouterr().err
    assert main(["train", "encoder", "statik", "--data", str(text), "--out", str(tmp_path)]) == 2
    assert "no encoder called 'statik' can be trained" in capsys.readouterr().err
    few = tmp_path / "few.txt"
    few.write_text("One. Two.")
    assert main(["train", "encoder", "static", "--data", str(few), "--out", str(tmp_path)]) == 2
    assert "texts are too few" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("theirs", "out", "said"),
    [
        ("config.json", "", "config.json is there"),
        ("modules.json", "", "modules.json is there"),
        ("README.md", "", "README.md is there"),
        ("file", "file", "no folder for weights: File exists"),
        ("file", "file/below", "no folder for weights: Not a directory"),
    ],
)
def test_no_training_writes_over_what_is_not_its_own(teacher, text, tmp_path, capsys, theirs, out, said):
    (tmp_path / theirs).write_text("theirs")
    to = ["--out", str(tmp_path / out)]
    assert main(["train", "encoder", "static", "--data", str(text), *to]) == 2
    assert said in (told := capsys.readouterr().err)
    assert "fix: --out FOLDER, a new one" in told
    assert main(["train", "gates", "seer", "--model", str(teacher), *to]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [theirs]


def test_yaml_names_it(saved, tmp_path):
    from fovea.pipelines.spec.check import load_spec

    (tmp_path / "p.yaml").write_text(f"encoder: {{use: static, model: {saved}}}\n")
    assert isinstance(load_spec(tmp_path / "p.yaml").encoder, StaticEncoder)
    (tmp_path / "q.yaml").write_text("encoder: {use: static}\n")
    with pytest.raises(ConfigError, match="this setting is needed"):
        load_spec(tmp_path / "q.yaml")
