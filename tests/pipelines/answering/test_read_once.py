"""`read`: whole texts in the prompt, each read once. A tiny random Llama over characters; real caches, real files."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from fovea.attention_retrieval.memory.shelf import Shelf
from fovea.pipelines.answering.held import best_document, best_part, folder_of
from fovea.pipelines.cli.main import main
from fovea.pipelines.generators.transformers import TransformersGenerator
from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.spec.schema import Generate
from fovea.rag import registry
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError, ConfigErrors, QueryError
from fovea.rag.filters import parse
from fovea.rag.models import find
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.trace import Trace
from fovea.rag.types import Chunk, Document, Hit, Query, Span

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("numba", reason="numba is not installed")
from fovea.pipelines.answering.prompt import messages  # noqa: E402
from fovea.rag.causal_lm import load  # noqa: E402
from tests.pipelines.answering.test_generator_transformers import TEMPLATE, save_llama  # noqa: E402

MOONS = " ".join(f"Moon {n} goes round planet {n % 7}." for n in range(12))
TEA = "Tea is made of leaves.\n\nGreen tea is brewed at 80 degrees."
CORPUS = MemoryCorpus.of(
    {"sky/moons.txt": MOONS, "sky/sun.txt": "The sun is hot.", "tea.md": TEA}, HashEncoder(), size=60
)
HITS = CORPUS.nearest(CORPUS.embed("moon planet"), 3)
SMOLLM2 = find("smollm2")
"""In the user's cache; tests have one of their own otherwise."""
QUESTIONS = ("How many moons?", "7 of them, why?", " Which planet")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"), window=2048, template=TEMPLATE)


def reader(model: str, folder: Path | None, read: str = "documents", **settings) -> TransformersGenerator:
    memory = {"path": folder, "dtype": "fp32", **settings.pop("memory", {})}
    told = {"max_new_tokens": 8, "instruction": "Answer.", **settings}
    return TransformersGenerator(model=model, read=read, memory=memory, **told)


def ask(generator: TransformersGenerator, question: str = QUESTIONS[0], hits=HITS, corpus=CORPUS) -> tuple[str, Trace]:
    trace = Trace()
    with trace.stage("generate"):
        return "".join(generator.stream(Query(question), hits, corpus)), trace


def said(trace: Trace) -> dict:
    return trace.stages[0].notes["read"]


def warnings(trace: Trace) -> list[str]:
    return [warning for warning in trace.warnings if "max_new_tokens" not in warning]


def plain(model: str, question: str, hits, corpus=CORPUS, tokens: int = 8) -> str:
    """What the model writes by its own attention, reading everything."""
    lm = load(model)
    return "".join(lm.stream(lm.tokens(messages(Query(question), hits, "Answer.", corpus)), tokens))


def test_answers_are_those_of_full_attention_fresh_again_and_after_a_restart(model, tmp_path):
    generator, restarted = reader(model, tmp_path), reader(model, tmp_path)
    held = generator.once.held(HITS, CORPUS)
    assert [hit.chunk.text for hit in held.hits] == [MOONS]
    for n, question in enumerate(QUESTIONS):
        expected = plain(model, question, held.hits)
        text, trace = ask(generator, question)
        again, restart = ask(restarted, question)
        assert text == again == expected
        assert said(trace)["from"] == ("memory" if n else "read")
        assert said(restart)["from"] == ("memory" if n else "file")
        tokens = generator.lm.tokens(messages(Query(question), held.hits, "Answer.", CORPUS))
        assert said(trace)["tokens"] + said(trace)["then"] == len(tokens)
        assert said(trace)["then"] <= len(question) + len("\n<assistant>") + 1
        assert said(trace)["bytes"] > 0
        assert not warnings(trace)


SEARCHED = {"use": "retrieval", "dense_below": 64, "sinks": 4, "window": 32, "insert_every": 64}


@pytest.mark.parametrize(("dtype", "attention"), [("int8", None), ("bf16", SEARCHED)])
def test_rounded_keys_and_indexes_answer_alike_each_time(model, tmp_path, dtype, attention):
    """Answers long enough that keys are rounded behind the text, or that the index takes tokens of them in."""
    settings = {"memory": {"dtype": dtype}, "attention": attention, "max_new_tokens": 130}
    generator, (one, other) = reader(model, tmp_path, **settings), QUESTIONS[:2]
    first, second, third = (ask(generator, question) for question in (one, other, one))
    assert first[0] == third[0]
    assert said(third[1])["from"] == "file"  # what is in memory is not what it was
    assert second[0] == ask(reader(model, tmp_path, **settings), other)[0]


def test_the_report_is_of_one_question(model, tmp_path):
    generator, searches = reader(model, tmp_path, attention=SEARCHED, memory={"dtype": "bf16"}), []
    for question in QUESTIONS[:1] * 3:
        _, trace = ask(generator, question)
        (text,) = generator.once.texts._held.values()
        searches.append([head.searches for head in text.cache.report()])
    assert said(trace)["from"] == "memory"
    assert max(searches[0]) > 0
    assert searches[0] == searches[1] == searches[2]


def test_an_eviction_reads_the_file_each_time(model, tmp_path):
    evict = {"use": "retrieval", "evict": {"use": "snapkv", "keep": 128}}
    generator = reader(model, tmp_path, attention=evict)
    texts, traces = zip(*(ask(generator, question) for question in QUESTIONS[:1] * 3))
    assert len(set(texts)) == 1
    assert [said(trace)["from"] for trace in traces] == ["read", "file", "file"]


def test_without_a_folder_texts_stay_in_memory(model):
    generator = reader(model, None)
    assert [said(ask(generator)[1])["from"] for _ in range(2)] == ["read", "memory"]
    assert said(ask(generator)[1])["bytes"] == 0


def test_a_reader_who_leaves_in_the_middle_spoils_nothing(model, tmp_path):
    generator = reader(model, tmp_path, max_new_tokens=40)
    expected, _ = ask(generator)
    pieces = generator.stream(Query("Which?"), HITS, CORPUS)
    next(pieces)
    pieces.close()
    assert ask(generator)[0] == expected


def test_two_threads_get_their_own_answers(model, tmp_path):
    expected = {question: ask(reader(model, None), question)[0] for question in QUESTIONS}
    generator, found = reader(model, tmp_path), {}
    start = threading.Barrier(3)

    def work(question: str) -> None:
        start.wait()
        found[question] = [ask(generator, question)[0] for _ in range(2)]

    threads = [threading.Thread(target=work, args=(question,)) for question in QUESTIONS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {question: [text] * 2 for question, text in expected.items()}
    assert len(list(tmp_path.glob("*.cache"))) == 1


def test_what_decides_the_cache_makes_another_key(model, tmp_path):
    def from_of(generator, corpus=CORPUS) -> str:
        hits = corpus.nearest(corpus.embed("moon planet"), 3)
        return said(ask(generator, corpus=corpus, hits=hits)[1])["from"]

    assert from_of(reader(model, tmp_path)) == "read"
    other = save_llama(tmp_path / "other", window=2048, template=TEMPLATE + " ")
    for generator in (
        reader(model, tmp_path, memory={"dtype": "bf16"}),
        reader(model, tmp_path, instruction="Answer!"),
        reader(model, tmp_path, attention={"use": "retrieval", "sinks": 8}),
        reader(other, tmp_path),
    ):
        assert from_of(generator) == "read"
    changed = MemoryCorpus.of({"sky/moons.txt": MOONS + "\n"}, HashEncoder(), size=60)
    before = len(list(tmp_path.glob("*.cache")))
    assert from_of(reader(model, tmp_path), changed) == "read"
    assert from_of(reader(model, tmp_path), changed) == "file"
    assert len(list(tmp_path.glob("*.cache"))) == before - 1  # two of the text before, by this reader, went
    assert from_of(reader(model, tmp_path)) == "read"
    assert said(ask(reader(model, tmp_path, max_new_tokens=9))[1])["from"] == "file"


def test_a_damaged_file_is_said_and_the_text_read_anew(model, tmp_path):
    expected, _ = ask(reader(model, tmp_path))
    (path,) = tmp_path.glob("*.cache")
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-9] + b"x" + whole[-8:], b"", b"junk"):
        path.write_bytes(damaged)
        text, trace = ask(reader(model, tmp_path))
        assert text == expected
        assert said(trace)["from"] == "read"
        assert warnings(trace)[0].startswith("a text's cache is damaged, and the text is read anew: ")
        assert path.read_bytes() == whole


def test_a_file_that_another_process_takes_away_is_read_anew_in_silence(model, tmp_path, monkeypatch):
    expected, _ = ask(reader(model, tmp_path))
    found = Shelf.find

    def taken(shelf: Shelf, key: str) -> Path | None:
        if path := found(shelf, key):
            path.unlink()
        return path

    monkeypatch.setattr(Shelf, "find", taken)
    text, trace = ask(reader(model, tmp_path))
    assert text == expected
    assert said(trace)["from"] == "read"
    assert not warnings(trace)


def test_a_full_disk_is_said_and_the_answer_comes(model, tmp_path, monkeypatch):
    expected, _ = ask(reader(model, None))

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("fovea.rag.write_whole.flush", full)
    generator = reader(model, tmp_path)
    text, trace = ask(generator)
    assert text == expected
    assert warnings(trace) == [
        f"a text that was read cannot be kept in {tmp_path}, and is read anew at the next use: the file cannot be "
        "written: No space left on device"
    ]
    assert said(ask(generator)[1])["from"] == "memory"


def test_the_document_that_the_hits_speak_for_best():
    def hit(name: str, start: int = 0) -> Hit:
        return Hit(Chunk(name, start, start + 10, "x" * 10), 1.0)

    assert best_document([hit("a"), hit("b"), hit("b")]) == "a"  # 1 against 1/2 + 1/3
    assert best_document([hit("a"), hit("b"), hit("b"), hit("b")]) == "b"
    parts = [Span(0, 100), Span(102, 200)]
    assert best_part(parts, [hit("b", 150), hit("a", 20), hit("a", 140), hit("a", 96)], "a") == parts[0]
    assert best_part(parts, [hit("a", 101)], "a") == parts[1]
    assert [folder_of(source) for source in ("a.md", "x/a.md", "x/y/a.md", "x\\a.md")] == [".", "x", "x/y", "x"]


def test_a_document_longer_than_the_window_is_read_in_parts(tmp_path):
    model = save_llama(tmp_path / "narrow", window=512, template=TEMPLATE)
    sentences = [f"Moon {n:02} goes round planet {n % 7}." for n in range(40)]
    corpus = MemoryCorpus.of({"moons.txt": " ".join(sentences)}, HashEncoder(), size=31)
    generator = reader(model, tmp_path / "shelf")
    for n in (0, 20, 37):
        hits = [hit for hit in corpus.nearest(corpus.embed("moon"), 60) if hit.chunk.start // 31 == n][:1]
        held = generator.once.held(hits, corpus)
        (only,) = held.hits
        assert only.chunk.start <= hits[0].chunk.start
        assert only.chunk.text.endswith(".")
        assert len(generator.once.prefix(held.hits, corpus)) <= generator.once.room
        text, trace = ask(generator, hits=hits, corpus=corpus)
        assert text == plain(model, QUESTIONS[0], held.hits, corpus)
        assert said(trace)["text"] == f"moons.txt:{only.chunk.start}-{only.chunk.end}"
    parts = [held.part for held in generator.once.all_of(["moons.txt"], corpus)]
    joined = " ".join(" ".join(sentences)[part.start : part.end] for part in parts)
    assert joined == " ".join(sentences)
    assert len(parts) > 2
    with pytest.raises(QueryError, match="the text and the question, .* do not fit"):
        ask(generator, "why? " * 60, hits, corpus)
    with pytest.raises(QueryError, match=r"moons.txt: the window of .* a part of a document do not fit"):
        ask(reader(model, None, max_new_tokens=440), hits=hits, corpus=corpus)


def test_folders_and_the_collection(model, tmp_path):
    folders, collection = reader(model, tmp_path, "folders"), reader(model, tmp_path, "collection")
    held = folders.once.held(HITS, CORPUS)
    assert [hit.chunk.source for hit in held.hits] == ["sky/moons.txt", "sky/sun.txt"]
    text, trace = ask(folders)
    assert text == plain(model, QUESTIONS[0], held.hits)
    assert said(trace)["text"] == "the folder 'sky'"
    assert len(collection.once.held(HITS, CORPUS).hits) == 3
    assert said(ask(collection)[1])["text"] == "the collection"
    with pytest.raises(QueryError, match="has a filter, and read: folders holds documents that it may hide"):
        list(folders.stream(Query("Why?", where=parse("source == 'sky/sun.txt'")), HITS, CORPUS))
    narrow = save_llama(tmp_path / "narrow", window=400, template=TEMPLATE)
    with pytest.raises(QueryError) as refused:
        ask(reader(narrow, tmp_path, "collection"))
    assert str(refused.value) == (
        f"the collection has more than 342 tokens; the window of {narrow} holds 400, of which 8 are for the answer and "
        "50 for the question\n  fix: read: folders or documents, a lower max_new_tokens or a model with a larger window"
    )


def test_a_filter_that_hides_a_part_of_the_document_is_refused(model, tmp_path):
    """What a filter hides is never in the prompt; one that holds all over what is read changes nothing."""
    secret, shown = "The code is 7. " * 9, "Tea is green. " * 9
    document = Document("d", secret + shown, "d.pdf", pages=(0, len(secret)), metadata={"year": 2021})
    chunks = [document.chunk(Span(0, len(secret))), document.chunk(Span(len(secret), len(secret + shown)))]
    corpus = MemoryCorpus([document], chunks, HashEncoder())
    hits, generator = corpus.nearest(corpus.embed("tea"), 1), reader(model, tmp_path)
    assert hits[0].chunk.page == 2
    with pytest.raises(QueryError, match="hides a part of d.pdf, which read: documents would hold"):
        list(generator.stream(Query("Tea?", where=parse("page == 2")), hits, corpus))
    assert not list(tmp_path.glob("*"))
    for where in ("year == 2021", "page < 3", "source == 'd.pdf'"):
        assert list(generator.stream(Query("Tea?", where=parse(where)), hits, corpus))


def test_evidence_is_found_anywhere_in_the_document(model, tmp_path):
    generator = reader(model, tmp_path)
    far = "Moon 11 goes round planet 4."
    assert all(far not in hit.chunk.text for hit in HITS[:1])
    answer = generator.finish(f"{far} [1]", Query("Which planet has moon 11?"), HITS[:1], CORPUS)
    (citation,) = answer.citations
    assert citation.quote == far
    assert citation.document_id == "sky/moons.txt"


YAML = """
encoder: hash
store: {use: embedded, path: store}
generate:
  use: transformers
  model: %s
  read: documents
  max_new_tokens: 8
  instruction: Answer.
  memory: {limit: 100MB, dtype: int8}
"""


@pytest.fixture
def pipeline(model, tmp_path, docs, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text(YAML % model)
    with Pipeline.from_yaml("p.yaml") as pipeline:
        pipeline.ingest("docs")
        yield pipeline


def shown(capsys, *args: str) -> dict:
    main([*args, "--json"])
    return json.loads(capsys.readouterr().out)


def test_texts_are_read_ahead_shown_and_dropped_when_they_change(pipeline, docs, capsys):
    texts = pipeline.read(["docs/tea.md"])
    assert [(text.text, text.state) for text in texts] == [("docs/tea.md", "read")]
    assert [text.state for text in pipeline.read()] == ["read", "read", "found"]
    answer = pipeline.ask("Where does the Danube flow?", k=2)
    assert answer.trace.to_dict()["stages"][-2]["notes"]["read"]["from"] == "memory"
    assert len(answer.hits) == 2
    held = shown(capsys, "status", "p.yaml")["read_once"]
    assert held["texts"] == 3
    assert held["limit"] == 100_000_000
    assert held["stale"] == []
    assert held["folder"] == str(Path("store/read_once").absolute())
    assert list(held["models"].values()) == [3]
    (docs / "tea.md").write_text("Tea is cold.")
    pipeline.ingest("docs")
    pipeline.remove("docs/sub")
    assert shown(capsys, "status", "p.yaml")["read_once"]["stale"] == ["docs/tea.md", "docs/sub/rivers.txt"]
    assert main(["status", "p.yaml"]) == 0
    lines = capsys.readouterr().out
    assert "read once, and changed or gone since: docs/tea.md" in lines
    assert "fovea compact p.yaml drops them" in lines
    assert shown(capsys, "compact", "p.yaml")["texts"] == 2
    assert shown(capsys, "status", "p.yaml")["read_once"]["texts"] == 1
    assert pipeline.verify() == []


def test_the_command_reads_and_goes_on_from_where_it_was(pipeline, capsys, monkeypatch):
    assert main(["read", "p.yaml", "docs/sub"]) == 0
    line, total = capsys.readouterr().out.splitlines()
    assert line.split()[0] == "read"
    assert line.endswith("docs/sub/rivers.txt")
    assert total.startswith("1 text read, 0 found, 0 not kept; ")
    assert [text["state"] for text in shown(capsys, "read", "p.yaml")["texts"]] == ["read", "found", "read"]
    assert main(["read", "p.yaml", "docs/tee.md"]) == 2
    assert capsys.readouterr().err.startswith("the store has no source 'docs/tee.md'")
    Path("p.yaml").write_text(Path("p.yaml").read_text().replace("100MB", "90kB"))
    assert main(["read", "p.yaml"]) == 2
    assert "memory.limit: 90,000 bytes do not hold the first" in capsys.readouterr().err
    Path("p.yaml").write_text(Path("p.yaml").read_text().replace("90kB", "1kB"))
    shutil.rmtree("store/read_once")
    assert main(["read", "p.yaml", "docs/tea.md"]) == 1
    printed = capsys.readouterr()
    assert "not kept" in printed.out
    assert "the limit is 1,000" in printed.err


def test_a_generator_that_reads_no_texts_is_refused(docs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text("encoder: hash\nstore: {use: embedded, path: store}\n")
    assert main(["ingest", "p.yaml", "docs"]) == 0
    capsys.readouterr()
    assert main(["read", "p.yaml"]) == 2
    assert capsys.readouterr().err == (
        "generate: extractive has no read: it is given passages, and there is no text to read once\n"
        "  fix: generate: {use: transformers, model: smollm2, read: documents}\n"
    )


def test_caches_in_a_folder_of_documents_are_no_documents(model, tmp_path, docs, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"use": "transformers", "model": model, "read": "documents", "max_new_tokens": 8}
    everything = [{"use": "text", "also": [".json", ".cache", ".sqlite", ".bin", ".lock"]}]
    store = {"use": "embedded", "path": "docs"}
    with Pipeline(base=tmp_path, encoder="hash", store=store, generate=settings, load=everything) as pipeline:
        pipeline.ingest("docs")
        pipeline.read("docs/tea.md")
        assert pipeline.ingest("docs").ok
        assert [row.name for row in pipeline.status()] == ["docs/moon.txt", "docs/sub/rivers.txt", "docs/tea.md"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("read: document", "p.yaml:1:53: generate.read: input should be 'documents', 'folders', "
         "'collection' or 'passages', got 'document'; did you mean 'documents'?"),
        ("read: documents, memory: {limit: much}", "p.yaml:1:80: generate.memory.limit: could not parse value and unit "
         "from byte string, got 'much'"),
        ("read: documents, memory: {limit: 0}", "p.yaml:1:80: generate.memory.limit: input should be greater than 0, "
         "got 0"),
        ("read: documents, memory: {limits: 1}", "p.yaml:1:73: generate.memory.limits: unknown setting 'limits'\n  "
         "allowed: limit, dtype, path\n  did you mean 'limit'?"),
        ("memory: {limit: 1GB}", "p.yaml:1:11: generate: memory keeps what is read once, and read is not set: read: "
         "documents, or leave out memory"),
        ("read: documents, memory: {dtype: int9}", "p.yaml:1:80: generate.memory.dtype: input should be 'fp32', "
         "'bf16', 'int8' or 'int4', got 'int9'; did you mean 'int8'?"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_get_a_sentence(tmp_path, monkeypatch, settings, sentence):
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text(f"generate: {{use: transformers, model: smollm2, {settings}}}\n")
    with pytest.raises(ConfigErrors) as found:
        Pipeline.from_yaml("p.yaml")
    assert str(found.value) == sentence


def test_the_schema_knows_them():
    schema = json.dumps(TransformersGenerator.model_json_schema(schema_generator=Generate))
    assert '"documents", "folders", "collection"' in schema
    assert "what was not used for longest goes first" in schema


def test_an_attention_without_a_saved_cache_is_refused(model, monkeypatch):
    from fovea.attention_retrieval.attention import Attention

    monkeypatch.setattr(registry, "_components", dict(registry._components))  # other tests look at all there are

    class Plain(Attention, name="plain_of_this_test"):
        def implementation(self) -> str:
            return "sdpa"

        def cache(self, config):
            from transformers import DynamicCache

            return DynamicCache(config=config)

    with pytest.raises(ConfigError, match="keeps a DynamicCache, which holds no text"):
        ask(reader(model, None, attention=Plain(), memory={"dtype": None}))
    with pytest.raises(ConfigError, match=r"memory.dtype: attention plain_of_this_test keeps no keys of a dtype"):
        ask(reader(model, None, attention=Plain()))


@pytest.mark.skipif(SMOLLM2 is None, reason="needs the model: fovea models get smollm2")
def test_a_trained_model_answers_as_by_full_attention(tmp_path):
    corpus = MemoryCorpus.of({"tea.md": TEA}, HashEncoder())
    hits = corpus.nearest(corpus.embed("tea"), 1)
    generator = TransformersGenerator(
        model=str(SMOLLM2.path), read="documents", max_new_tokens=12, memory={"path": tmp_path}, instruction="Answer."
    )
    for question in ("At how many degrees is green tea brewed?", "What is tea made of?"):
        text, _ = ask(generator, question, hits, corpus)
        tokens = generator.lm.tokens(messages(Query(question), hits, "Answer.", corpus))
        assert text == "".join(generator.lm.stream(tokens, 12))  # without a cache of ours: by sdpa
