"""Forged files, whose checksums fit: whatever they claim is refused with the name of the part, and nothing is run."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.attention_retrieval.cache import tensorfile  # noqa: E402
from fovea.rag.errors import FoveaError, ModelError  # noqa: E402
from tests.tiny_lms import greedy, model, text  # noqa: E402

ENGINES = ("flat", "ivf", "hnsw", "query_ivf", "roar", "fast_scan")
EVICTED = ("read", "decoded")
"""A text of which rows will be dropped at the next token, and one of which they were."""
HEADS = {"use": "retrieval_heads", "scores": [[0.9, 0, 0, 0, 0.1, 0, 0, 0]] * 3, "window": 20}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """One small saved cache an engine, and one with sliding layers."""
    folder = tmp_path_factory.mktemp("forged")
    settings = {"sinks": 4, "window": 16, "top_k": 12, "dense_below": 50, "insert_every": 8}
    for name in (*ENGINES, "sliding", "rounded", *EVICTED):
        engine = {"engine": {"use": name}, "correct": {"use": "tail"}} if name in ENGINES else {}
        if name == "rounded":
            engine = {"engine": {"use": "flat"}, "dtype": "int4", "correct": None}
        if name in EVICTED:
            engine = {"evict": {"use": "snapkv", "keep": 70, "window": 8}, "heads": HEADS}
        if name in ("hnsw", "fast_scan"):
            pytest.importorskip("faiss")
        lm = model("qwen3, hybrid" if name == "sliding" else "llama, 4 to 1", "fovea_retrieval")
        made = RetrievalCache(lm.config, Retrieval(**settings, **engine))
        with torch.inference_mode():
            tokens = 600 if name == "rounded" else 99  # so many that whole blocks are rounded
            pieces = [tokens - 2, 2] if name == "read" else [tokens - 2, 1, 1]
            for piece in text(tokens).split(pieces, dim=1):
                lm(piece, past_key_values=made, logits_to_keep=1)
        made.save(folder / f"{name}.kv")
    return {path.stem: path for path in folder.iterdir()}


def with_header(path: Path, change) -> None:
    """Change a file's header, and make its checksum fit again."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + size]), content[8 + size :]
    words = header["__metadata__"]
    header = change(header) or header
    if isinstance(header, dict) and isinstance(words, dict):
        rest = {k: v for k, v in header.items() if k != "__metadata__"}
        words["whole"] = str(zlib.crc32(json.dumps([rest, words["about"], words["checksums"]]).encode()))
    said = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(said)) + said + body)


@pytest.fixture
def small(tmp_path) -> Path:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.int32)}
    tensorfile.write(tmp_path / "small.kv", arrays, {"format": 2})
    return tmp_path / "small.kv"


HEADERS = {
    "a negative offset": ("a", {"data_offsets": [-8, 16]}),
    "an offset behind the end": ("b", {"data_offsets": [24, 24 + 4 * 10**15], "shape": [10**15]}),
    "offsets the wrong way round": ("a", {"data_offsets": [24, 0]}),
    "offsets with a fraction": ("a", {"data_offsets": [0.0, 24.0]}),
    "three offsets": ("a", {"data_offsets": [0, 12, 24]}),
    "overlapping arrays": ("b", {"data_offsets": [8, 24]}),
    "a hole": ("b", {"data_offsets": [28, 40], "shape": [3]}),
    "an unknown type": ("a", {"dtype": "object"}),
    "a type that is no text": ("a", {"dtype": ["F32"]}),
    "a type of another size": ("a", {"dtype": "F64"}),
    "a negative shape": ("a", {"shape": [-2, -3]}),
    "a shape to be guessed": ("a", {"shape": [-1, 3]}),
    "a shape that is no list": ("a", {"shape": 6}),
    "a shape of truth values": ("b", {"shape": [True, 4]}),
    "a shape of another size": ("a", {"shape": [2, 4]}),
    "a huge shape": ("a", {"shape": [2**62, 2**62]}),
    "a number of 400 digits": ("a", {"shape": [10**400]}),
    "a hundred axes": ("a", {"shape": [2, 3, *[1] * 100]}),
    "a word more": ("a", {"pickle": "x"}),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_cannot_be_is_refused_with_the_name_of_the_array(small, name):
    which, change = HEADERS[name]
    with_header(small, lambda header: header[which].update(change))
    with pytest.raises(ModelError, match=f"'{which}'"):
        tensorfile.read(small)


@pytest.mark.parametrize("header", [[], 7, None, "text", {}, {"__metadata__": []}, {"__metadata__": {"about": "{}"}}])
def test_a_header_that_is_no_object_or_lacks_its_words(small, header):
    said = json.dumps(header).encode()
    small.write_bytes(struct.pack("<Q", len(said)) + said)
    with pytest.raises(ModelError, match="header is damaged"):
        tensorfile.read(small)


@pytest.mark.parametrize("size", [0, 1, 2**31, 2**63, 2**64 - 1])
def test_a_header_of_a_size_that_cannot_be(small, size):
    small.write_bytes(struct.pack("<Q", size) + small.read_bytes()[8:])
    with pytest.raises(ModelError, match="header is damaged"):
        tensorfile.read(small)


@pytest.mark.parametrize("content", [b"", b"\0", b"[" * 100_000, struct.pack("<Q", 90_000) + b"[" * 90_000])
def test_what_is_no_such_file_at_all(small, content):
    small.write_bytes(content)
    with pytest.raises(ModelError, match="header is damaged"):
        tensorfile.read(small)


@pytest.mark.parametrize(
    ("word", "value"), [("about", "[]"), ("about", "7"), ("checksums", "[1]"), ("checksums", "{}")]
)
def test_words_that_are_no_objects_and_checksums_that_lack(small, word, value):
    with_header(small, lambda header: header["__metadata__"].update({word: value}))
    with pytest.raises(ModelError, match="damaged"):
        tensorfile.read(small)


def test_an_array_that_is_no_object_and_bytes_after_the_last(small):
    content = small.read_bytes()
    small.write_bytes(content + b"more")
    with pytest.raises(ModelError, match="goes on for 4 bytes"):
        tensorfile.read(small)
    small.write_bytes(content)
    with_header(small, lambda header: header.update(a=[1, 2]))
    with pytest.raises(ModelError, match="'a'"):
        tensorfile.read(small)


def refused(tmp_path: Path, arrays, about) -> str:
    """What is said of a forged cache; anything but our errors is the test's failure."""
    tensorfile.write(tmp_path / "forged.kv", arrays, about)
    with pytest.raises(FoveaError) as caught:
        RetrievalCache.load(tmp_path / "forged.kv")
    assert "forged.kv" in str(caught.value)
    return str(caught.value)


FACTS = {
    "no settings": lambda about: about.pop("settings"),
    "settings of another kind": lambda about: about.update(settings={"use": "hash"}),
    "a component that is not there": lambda about: about["settings"].update(engine={"use": "os.system"}),
    "layers that are a number": lambda about: about.update(layers=7),
    "a layer of another kind": lambda about: about["layers"][0].update(kind="__class__"),
    "a layer without rows": lambda about: about["layers"][0].pop("rows"),
    "more tokens than there are": lambda about: about["layers"][0]["rows"][0].update(tokens=10**15),
    "fewer tokens than there are": lambda about: about["layers"][0]["rows"][0].update(tokens=3),
    "negative tokens": lambda about: about["layers"][0]["rows"][0].update(tokens=-1),
    "a number of tokens that is a text": lambda about: about["layers"][0]["rows"][0].update(tokens="99"),
    "other heads": lambda about: about["layers"][0]["rows"][0].update(heads=3),
    "a billion heads": lambda about: about["layers"][0]["rows"][0].update(heads=10**9),
    "another width": lambda about: about["layers"][0]["rows"][0].update(d=17),
    "more indexed than there is": lambda about: about["layers"][0]["rows"][0].update(indexed=10**6),
    "less indexed than the sinks": lambda about: about["layers"][0]["rows"][0].update(indexed=0),
    "no stride": lambda about: about["layers"][0]["rows"][0].update(stride=0),
    "another group": lambda about: about["layers"][0]["rows"][0].update(group=7),
    "an engine that is not there": lambda about: about["layers"][0]["rows"][0].update(engine={"use": "nothing"}),
    "more seen than there is": lambda about: about["layers"][0].update(seen=10**6),
}


@pytest.mark.parametrize("name", FACTS)
def test_facts_that_do_not_fit_are_refused(files, tmp_path, name):
    arrays, about = tensorfile.read(files["ivf"])
    FACTS[name](about)
    said = refused(tmp_path, arrays, about)
    assert "layer" in said or "settings" in said or "engine" in said


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("decoded", {"evicted": None}),
        ("decoded", {"evicted": 0}),
        ("decoded", {"evicted": 96}),
        ("decoded", {"evicted": 10**15}),
        ("decoded", {"built": False}),
        ("read", {"indexed": 90}),
        ("read", {"group": 0}),
        ("read", {"built": True}),
    ],
)
def test_facts_of_texts_of_which_rows_are_dropped(files, tmp_path, kind, facts):
    arrays, about = tensorfile.read(files[kind])
    about["layers"][1]["rows"][0].update(facts)
    assert "layer" in refused(tmp_path, arrays, about)


def test_no_more_last_queries_than_the_text_has_tokens(files, tmp_path):
    arrays, about = tensorfile.read(files["read"])
    arrays["layer.1.row.0.last"] = np.zeros((8, 100, 16), np.float32)
    assert "last" in refused(tmp_path, arrays, about)


def test_the_same_rows_are_dropped_after_saving(files):
    """And so the same is said: queries of a prompt are kept as they are."""
    lm, settings = model("llama, 4 to 1", "fovea_retrieval"), RetrievalCache.load(files["read"]).settings
    made, more = RetrievalCache(lm.config, settings), text(1, seed=1)
    with torch.inference_mode():
        for piece in text(99).split([97, 2], dim=1):
            lm(piece, cache=made, logits_to_keep=1)
        said = [lm(more, cache=each).logits for each in (made, RetrievalCache.load(files["read"]))]
    torch.testing.assert_close(*said, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["window", "seen", "dtype"])
def test_facts_of_sliding_layers(files, tmp_path, name):
    arrays, about = tensorfile.read(files["sliding"])
    layer = next(each for each in about["layers"] if each["kind"] == "sliding")
    layer[name] = {"window": 0, "seen": 1, "dtype": "load"}[name]
    assert "layer" in refused(tmp_path, arrays, about)


def forgeries(array: np.ndarray):
    """An array of another type, of another length, with an axis more, and with numbers that are out of all bounds."""
    yield "type", array.astype(np.float64 if array.dtype != np.float64 else np.float32)
    yield "axis", array[None]
    if array.size:
        yield "length", array[..., :-1]
        yield "longer", np.concatenate([array, array])
    if array.dtype in (np.int32, np.int64) and array.size:
        for number in (np.iinfo(array.dtype).max, np.iinfo(array.dtype).min):
            wild = array.copy()
            wild.reshape(-1)[-1] = number
            yield "number", wild


@pytest.mark.parametrize("kind", [*ENGINES, "sliding", "rounded", *EVICTED])
def test_every_array_of_a_cache_is_checked(files, tmp_path, kind):
    """Those of the first row: other types, shapes and numbers are refused, and so is a file without one of them."""
    arrays, about = tensorfile.read(files[kind])
    arrays = {name: np.array(array) for name, array in arrays.items()}
    names = [name for name in arrays if name.startswith(("layer.0.", "layer.1.sliding"))]
    names = [
        name
        for name in names
        if ".row.0." not in name or not name.split(".row.0.")[1].startswith(("head.1", "correction.1"))
    ]
    accepted = []
    for name in names:
        rest = {other: array for other, array in arrays.items() if other != name}
        if not name.endswith((".sample", ".kept", ".last")):
            assert name.split(".")[0] in refused(tmp_path, rest, about)
        for how, forged in forgeries(arrays[name]):
            tensorfile.write(tmp_path / "forged.kv", {**arrays, name: forged}, about)
            try:
                RetrievalCache.load(tmp_path / "forged.kv")
                accepted.append((name, how))
            except FoveaError as error:
                assert "forged.kv" in str(error)
    sound = (("seed", "number"), ("numbers", "number"), ("centroids", "longer"))  # Cells in which no row lies.
    assert [(name, how) for name, how in accepted if (name.rpartition(".")[2], how) not in sound] == []


def test_the_files_that_were_forged_are_sound_before(files):
    for name, path in files.items():
        lm = model("qwen3, hybrid" if name == "sliding" else "llama, 4 to 1", "fovea_retrieval")
        cache = RetrievalCache.load(path)
        ids = torch.cat([text(cache.get_seq_length()), text(3, seed=1)], dim=1)
        assert greedy(lm, ids, 3, past_key_values=cache)


def test_a_cache_is_saved_to_a_folder_that_is_not_there_yet_and_not_below_a_file(files, tmp_path):
    cache = RetrievalCache.load(files["flat"])
    cache.save(tmp_path / "a" / "b" / "text.kv")
    assert RetrievalCache.load(tmp_path / "a" / "b" / "text.kv").get_seq_length() == 99
    with pytest.raises(ModelError, match="cannot be written"):
        cache.save(tmp_path / "a" / "b" / "text.kv" / "c.kv")
    with pytest.raises(ModelError, match=r"no such file|cannot be read"):
        RetrievalCache.load(tmp_path / "a" / "b" / "text.kv" / "c.kv")
    with pytest.raises(ModelError, match="cannot be written"):
        cache.save(tmp_path / "a")
