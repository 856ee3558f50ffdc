"""The `situate` stage: ingestion that costs what changed, and a library that finds chunks by what is said of them."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.spec import yaml_source
from fovea.pipelines.spec.check import check
from fovea.pipelines.spec.schema import pipeline_schema
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError
from fovea.rag.situator import alikeness
from fovea.rag.testing.corpus import MemoryCorpus, cut
from fovea.rag.tokens import words
from fovea.rag.types import Document
from fovea.retrievers.library import lexicon, situations
from fovea.retrievers.library.opening import FILE
from fovea.retrievers.library.schema import FORMAT
from tests.library_tools import ENCODER, older, opened, put, put_chunks

TEXT = """# {name}

It is a town by the sea.

## History

It was founded by monks.

It was destroyed by a flood.

## Sport

Its club plays in red.
"""
READ: list[str] = []


class Counting(HashEncoder):
    """Counts what it encodes."""

    def encode(self, texts, role="document"):
        READ.extend(texts if role == "document" else [])
        return super().encode(texts, role)


@pytest.fixture(autouse=True)
def _fresh():
    READ.clear()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "docs").mkdir()
    for name in ("Velmora", "Ashwick"):
        (tmp_path / "docs" / f"{name}.md").write_text(TEXT.format(name=name))
    return tmp_path


def opened_pipeline(folder, situate=None, **stages) -> Pipeline:
    stages = {"segment": {"use": "sentence", "max_tokens": 8}, **stages}
    return Pipeline(base=folder, encoder=Counting(), situate=situate, **stages)


def ingested(folder, situate=None, **stages):
    """The report, the vectors and what is said, by source and text of the chunk."""
    with opened_pipeline(folder, situate, **stages) as pipeline:
        report = pipeline.ingest(folder / "docs")
        assert report.ok
        assert pipeline.verify() == []
        corpus = pipeline.corpus
        chunks = list(corpus.chunks())
        for chunk in chunks:
            document = corpus.document(chunk.document_id)
            assert document.text[chunk.start : chunk.end] == chunk.text, "what is said never enters the chunk"
        names = [(chunk.source.removeprefix("docs/"), chunk.text) for chunk in chunks]
        return report, dict(zip(names, corpus.vectors(chunks))), dict(zip(names, corpus.situations(chunks)))


FLOOD = "It was destroyed by a flood."


def test_two_documents_of_one_text_differ_by_their_titles_in_vectors_and_in_words(folder):
    _, vectors, said = ingested(folder, {"use": "headings"})
    assert said["Velmora.md", FLOOD] == "Velmora. History"
    assert said["Ashwick.md", FLOOD] == "Ashwick. History"
    one, two = vectors["Velmora.md", FLOOD], vectors["Ashwick.md", FLOOD]
    own = HashEncoder().encode([FLOOD, "Velmora. History"])
    made = own[0] + 0.5 * own[1]
    assert np.allclose(one, made / np.linalg.norm(made), atol=1e-6)
    assert np.abs(one - two).max() > 0.05
    with opened_pipeline(folder, {"use": "headings"}) as pipeline:
        for name in ("Velmora", "Ashwick"):
            for retrieve in ("dense", "bm25"):
                asked = Pipeline(base=folder, spec=pipeline.spec.model_copy(update={"retrieve": _one(retrieve)}))
                (hit,) = asked.retrieve(f"What destroyed {name} by flood?", k=1)
                assert (hit.chunk.source, hit.chunk.text) == (f"docs/{name}.md", FLOOD), retrieve
                asked.close()


def _one(name: str) -> list:
    from fovea.rag import registry

    return [registry.find("retriever", name)()]


def test_only_the_words_or_only_the_vectors(folder):
    _, plain, nothing = ingested(folder)
    assert set(nothing.values()) == {""}
    report, vectors, said = ingested(folder, {"use": "headings", "form": "none"})
    assert all(np.array_equal(vectors[key], plain[key]) for key in plain), "vectors of texts alone"
    assert (report.encoded, said["Velmora.md", FLOOD]) == (0, "Velmora. History")
    _, vectors, said = ingested(folder, {"use": "headings", "lexical": False})
    assert set(said.values()) == {""}
    assert not np.allclose(vectors["Velmora.md", FLOOD], plain["Velmora.md", FLOOD])


def test_another_weight_encodes_nothing(folder):
    """Own vectors and those of situations are remembered by text."""
    first, *_ = ingested(folder, {"use": "headings"})
    assert len(READ) == len(set(READ)) == first.encoded
    assert {"Velmora", "Velmora. History", "Ashwick. Sport", FLOOD} <= set(READ)
    READ.clear()
    for weight in (0.0, 0.25, 1.0):
        report, vectors, _ = ingested(folder, {"use": "headings", "weight": weight})
        assert READ == []
        assert (len(report.changed), report.encoded) == (2, 0)
        own = HashEncoder().encode([FLOOD, "Velmora. History"])
        made = own[0] + weight * own[1]
        assert np.allclose(vectors["Velmora.md", FLOOD], made / np.linalg.norm(made), atol=1e-6)
    report, *_ = ingested(folder, {"use": "headings", "weight": 1.0})
    assert (report.unchanged, report.changed) == (2, [])
    ingested(folder)
    assert READ == [], "back to chunks alone"


def test_a_changed_document_costs_what_changed(folder):
    ingested(folder, {"use": "headings"})
    READ.clear()
    path = folder / "docs" / "Velmora.md"
    path.write_text(path.read_text().replace("## Sport", "## Games") + "\nIt has won twice.\n")
    report, vectors, said = ingested(folder, {"use": "headings"})
    assert set(READ) == {"It has won twice.", "## Games", "Velmora. Games"}
    assert (report.changed, report.unchanged, report.encoded) == (["docs/Velmora.md"], 1, 3)
    assert said["Velmora.md", "Its club plays in red."] == "Velmora. Games"
    assert ("Ashwick.md", FLOOD) in vectors


def test_a_changed_title_alone_changes_the_vectors(folder):
    ingested(folder, {"use": "headings"})
    path = folder / "docs" / "Velmora.md"
    text = path.read_text()
    path.write_text(f"---\ntitle: Quindale\n---\n{text}")
    _, _, said = ingested(folder, {"use": "headings"})
    assert said["Velmora.md", FLOOD] == "Quindale. Velmora. History"
    path.write_text(text)
    _, _, said = ingested(folder, {"use": "headings"})
    assert said["Velmora.md", FLOOD] == "Velmora. History"


def test_pooled_vectors_are_situated_too(folder):
    pool = {"use": "late", "context": []}
    _, plain, _ = ingested(folder, pool=pool)
    READ.clear()
    _, vectors, _ = ingested(folder, {"use": "headings"}, pool=pool)
    assert set(READ) == {f"{name}{rest}" for name in ("Velmora", "Ashwick") for rest in ("", ". History", ". Sport")}
    made = plain["Velmora.md", FLOOD] + 0.5 * HashEncoder().encode(["Velmora. History"])[0]
    assert np.allclose(vectors["Velmora.md", FLOOD], made / np.linalg.norm(made), atol=1e-6)


def test_a_removed_source_takes_its_words_along(folder):
    ingested(folder, {"use": "headings"})
    (folder / "docs" / "Velmora.md").unlink()
    _, vectors, _ = ingested(folder, {"use": "headings"})
    assert {source for source, _ in vectors} == {"Ashwick.md"}
    with opened_pipeline(folder, {"use": "headings"}) as pipeline:
        assert pipeline.corpus.match("Velmora", 5) == []
        assert pipeline.corpus.match("Ashwick", 5) != []


def test_an_alarm_rings_when_context_takes_over(folder):
    (folder / "docs" / "one.txt").write_text("One chunk alone.")
    report, *_ = ingested(folder, {"use": "headings", "weight": 0.1})
    assert not report.trace.warnings
    report, vectors, _ = ingested(folder, {"use": "headings", "weight": 3.0})
    _, plain, _ = ingested(folder)
    each = [
        alikeness(np.stack([v for (source, _), v in found.items() if source == name]))
        for found in (vectors, plain)
        for name in ("Velmora.md", "Ashwick.md")
    ]
    rise = (each[0] + each[1] - each[2] - each[3]) / 2
    ((warning, times),) = report.trace.warnings.items()
    assert f"headings made chunks of one document more alike, by {rise:.2f} in the mean" in warning
    assert times == 2


def test_the_trace_says_what_was_situated(folder):
    report, *_ = ingested(folder, {"use": "headings"})
    stage = next(stage for stage in report.trace.stages if stage.name == "situate")
    assert (stage.counts["chunks"], stage.counts["said"]) == (report.chunks, report.chunks - 2)


# Settings


def test_the_stage_in_settings_recipe_and_schema():
    import jsonschema

    text = "encoder: hash\nsituate: {use: headings, weight: 0.7}\n"
    spec, plain = check(yaml_source.parse(text)), check(yaml_source.parse("encoder: hash"))
    assert spec.settings()["situate"] == {
        "use": "headings", "form": "add", "weight": 0.7, "lexical": True, "separator": ". "}  # fmt: skip
    assert check(yaml_source.Source("p", spec.settings())) == spec
    other = check(yaml_source.parse("encoder: hash\nsituate: headings"))
    assert len({other.recipe, spec.recipe, plain.recipe}) == 3
    assert plain.situate is None
    validator = jsonschema.Draft202012Validator(pipeline_schema())
    validator.validate({"situate": "headings"})
    validator.validate({"situate": {"use": "late", "form": "residual"}})
    assert not validator.is_valid({"situate": {"use": "late", "form": "add"}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "situate: {use: heading}\n",
            "p.yaml:1:16: situate: unknown situator 'heading'\n  allowed: {names}\n  did you mean 'headings'?",
        ),
        (
            "situate:\n  use: headings\n  weigth: 1\n",
            "p.yaml:3:3: situate.weigth: unknown setting 'weigth'\n"
            "  allowed: use, form, weight, lexical, separator\n  did you mean 'weight'?",
        ),
        (
            "situate: {use: headings, form: sum}\n",
            "p.yaml:1:32: situate.form: input should be 'add', 'prefix', 'residual' or 'none', got 'sum'",
        ),
        (
            "situate: {use: headings, weight: -1}\n",
            "p.yaml:1:34: situate.weight: input should be greater than or equal to 0, got -1",
        ),
        ("situate: {use: chat}\n", "p.yaml:1:10: situate.model: this setting is needed"),
        (
            "encoder: hash\nsituate: late\n",
            "p.yaml:2:10: situate: late reads the states of tokens, and the encoder hash shows none\n"
            "  fix: encoder: {use: sentence_transformer}, or situate: {use: headings}",
        ),
    ],
)
def test_golden(text, expected):
    from fovea.rag import registry

    with pytest.raises(ConfigError) as caught:
        check(yaml_source.parse(text, file="p.yaml"))
    assert str(caught.value) == expected.replace("{names}", ", ".join(registry.names("situator")))


# The library


VOCABULARY = ["the", "moon", "café", "river", "中", "文", "x1", "\ud800", "'"]
PHRASES = st.lists(st.sampled_from(VOCABULARY), max_size=5).map(" ".join)


@settings(max_examples=20)
@given(st.lists(st.tuples(PHRASES, PHRASES), min_size=1, max_size=8), PHRASES, st.integers(1, 6), st.data())
def test_scores_are_bm25_over_both_and_what_goes_leaves_nothing(tmp_path_factory, rows, asked, k, data):
    with opened(tmp_path_factory.mktemp("library")) as library:
        for i, (said, text) in enumerate(rows):
            document = Document(f"d{i}", text or ".", source=f"d{i}")
            put_chunks(library, f"d{i}", [(document, cut(document, 1000))], said=[said])
        gone = data.draw(st.sets(st.integers(0, len(rows) - 1)))
        library.remove([f"d{i}" for i in sorted(gone)])
        kept = [said for i, (said, _) in enumerate(rows) if i not in gone]
        assert library.check() == []
        nos = list(library.no_of([c.id for c in library.chunks()]).values())
        assert list(library.situations(nos).values()) == [said for said in kept if said]
        corpus = MemoryCorpus(library.documents(), library.chunks(), ENCODER, situations=kept)
        right = corpus.match(asked, k)
        found = library.match(asked, k)
        numbers = library.no_of([hit.chunk.id for hit in right])
        assert [no for no, _ in found] == [numbers[hit.chunk.id] for hit in right]
        assert [score for _, score in found] == pytest.approx([hit.score for hit in right], rel=1e-9)


def version(path) -> int:
    with sqlite3.connect(path / FILE) as db:
        (found,) = db.execute("PRAGMA user_version").fetchone()
    db.close()
    return found


def test_a_library_of_the_older_format_is_read_as_it_is_and_brought_up_by_the_next_writer(tmp_path):
    with opened(tmp_path) as library:
        put(library, "a", "one two three", size=100)
    older(tmp_path, 1)
    with opened(tmp_path, read_only=True) as library:
        assert library.check() == []
        assert library.situations([1]) == {}
        assert [no for no, _ in library.match("two", 3)] == [1]
    assert version(tmp_path) == 1, "a reader changes nothing"
    with opened(tmp_path) as library:
        assert version(tmp_path) == FORMAT == 3
        document = Document("b", "four", source="b")
        put_chunks(library, "b", [(document, cut(document, 9))], said=["two five"])
        assert {no for no, _ in library.match("two", 3)} == {1, 2}
        library.remove(["a", "b"])
        assert library.match("two", 3) == []
        assert library.check() == []


def test_words_made_anew_are_those_of_both(tmp_path, monkeypatch):
    document = Document("a", "one two", source="a")
    with opened(tmp_path) as library:
        put_chunks(library, "a", [(document, cut(document, 9))], said=["three"])
    monkeypatch.setattr(lexicon, "VERSION", "next")
    with opened(tmp_path) as library:
        assert [no for no, _ in library.match("three", 3)] == [1]
        assert library.check() == []
        library.remove(["a"])
        assert library.match("three", 3) == []
        assert library.check() == []


@pytest.mark.parametrize("damage", ["UPDATE situations SET text = 'other'", "DELETE FROM situations"])
def test_lost_situations_are_found_by_check(tmp_path, damage):
    document = Document("a", "one two", source="a")
    with opened(tmp_path) as library:
        put_chunks(library, "a", [(document, cut(document, 9))], said=["three"])
        with sqlite3.connect(tmp_path / FILE) as db:
            db.execute(damage)
        db.close()
        assert any("'three'" in problem for problem in library.check())


def test_a_vector_of_another_title_is_found_by_check(folder):
    ingested(folder, {"use": "headings"})
    with sqlite3.connect(next(folder.rglob(FILE))) as db:
        db.execute("UPDATE documents SET title = 'Another' WHERE name LIKE '%Velmora%'")
    db.close()
    with opened_pipeline(folder, {"use": "headings"}) as pipeline:
        assert any("vector of another text" in problem for problem in pipeline.verify())


def test_a_rebuilt_library_forgets_what_was_said(tmp_path):
    document = Document("a", "one two", source="a")
    with opened(tmp_path) as library:
        put_chunks(library, "a", [(document, cut(document, 9))], said=["three"])
    with opened(tmp_path, reset=True) as library:
        assert library.match("three", 3) == []
        put(library, "a", "one two")
        assert library.situations([1]) == {}


def test_what_stands_for_a_chunk_is_both_texts():
    assert situations.together("", "text") == "text"
    assert words(situations.together("said", "text")) == ["said", "text"]
