"""Uploading and deleting: what is answered is on disk, and nobody waits for it who only reads."""

import threading

import pytest

from fovea.pipelines.server.problems import Problem
from fovea.pipelines.server.served import Served
from fovea.pipelines.server.settings import ServeSettings
from fovea.pipelines.server.uploads import PARTIAL, plain_name
from fovea.rag.types import Document
from fovea.retrievers.library.library import Library
from tests.serving import bearing, client, stored, with_keys

ON = ServeSettings(documents=True)


@pytest.fixture
def pipeline(tmp_path):
    with stored(tmp_path) as made:
        yield made


def files(pipeline):
    return {path.name: path.read_bytes() for path in (pipeline.base / "uploads" / "qa").glob("*")}


def found(asked, question):
    return asked.post("/search", json={"question": question, "k": 1}).json()["hits"][0]["text"]


def test_a_file_is_uploaded_replaced_and_deleted(pipeline):
    with client(pipeline, ON) as asked:
        for text, state in (
            (b"Cows give milk.", "added"),
            (b"Cows eat grass.", "changed"),
            (b"Cows eat grass.", "unchanged"),
        ):
            reply = asked.post("/documents", files={"file": ("cows and more.txt", text)})
            assert (reply.status_code, reply.json()["state"]) == (201, state), reply.text
            assert found(asked, "cows") == text.decode()
        assert files(pipeline) == {"cows and more.txt": b"Cows eat grass."}
        name = reply.json()["id"]
        assert asked.delete(f"/documents/{name}").json() == {"deleted": name}
        assert files(pipeline) == {}
        assert asked.delete(f"/documents/{name}").status_code == 404
        assert "Cows" not in found(asked, "cows")


def test_a_text_is_stored_under_its_id(pipeline):
    with client(pipeline, ON) as asked:
        body = {"text": "Cows give milk.", "title": "Cows", "metadata": {"team": "farm", "year": 2024, "old": True}}
        assert asked.put("/documents/farm/cows", json=body).json() == {"id": "farm/cows", "state": "added", "chunks": 1}
        hits = asked.post("/search", json={"question": "milk", "where": "team == 'farm' and old == true"}).json()[
            "hits"
        ]
        assert [hit["document"] for hit in hits] == ["farm/cows"]
        for wrong in ({"text": "  "}, {"text": "a", "metadata": {"x": [1]}}, {"text": "a", "metadata": {"": 1}}):
            assert asked.put("/documents/other", json=wrong).status_code == 422
        assert asked.get("/documents/other/text").status_code == 404


NAMES = [
    "../up.txt", "/etc/passwd.txt", "a/b.txt", "..", ".hidden.txt", "a\\b.txt", "x" * 300 + ".txt", "C:x.txt", "plain",
    "x.exe", "", "ends. ",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_leads_nowhere_else(pipeline, name):
    with client(pipeline, ON) as asked:
        reply = asked.post("/documents", files={"file": (name, b"text")})
        assert reply.status_code == 422, reply.text
        assert reply.json()["error"]["message"]
    assert files(pipeline) == {}


def test_a_name_has_no_acting_characters(pipeline):
    for name in ("nul\x00.txt", "a\n.txt", "a\u202etxt.txt"):
        with pytest.raises(Problem, match="no plain name"):
            plain_name(name, pipeline)
    assert plain_name("e\u0301t\u00e9.txt", pipeline) == "\u00e9t\u00e9.txt"


def test_a_file_that_cannot_be_read_leaves_all_as_it_was(pipeline):
    with client(pipeline, ON) as asked:
        asked.post("/documents", files={"file": ("cows.html", b"<p>Cows give milk.</p>")})
        before, listed = files(pipeline), asked.get("/documents").json()
        for name in ("new.pdf", "cows.html"):
            reply = asked.post("/documents", files={"file": (name, b"")})
            assert (reply.status_code, str(pipeline.base) in reply.text) == (422, False), reply.text
        assert files(pipeline) == before
        assert [row["id"] for row in asked.get("/documents").json()["documents"]] == [
            r["id"] for r in listed["documents"]
        ]
        assert found(asked, "cows") == "Cows give milk."
    assert not [row for row in pipeline.status() if row.status == "failed"]


@pytest.mark.parametrize("way", ["new", "again", "delete"])
def test_what_is_refused_while_another_one_writes_changes_nothing(pipeline, way):
    with client(pipeline, ON) as asked:
        asked.post("/documents", files={"file": ("cows.txt", b"Cows give milk.")})
        before = files(pipeline)
        with Library.open(pipeline.spec.store.path, encoder=pipeline.spec.encoder):
            if way == "delete":
                reply = asked.delete("/documents/uploads/qa/cows.txt")
            else:
                name = "cows.txt" if way == "again" else "new.txt"
                reply = asked.post("/documents", files={"file": (name, b"Grass.")})
        assert (reply.status_code, files(pipeline)) == (409, before), reply.text
        assert found(asked, "cows") == "Cows give milk."


def test_no_two_pipelines_share_a_folder_of_uploads(tmp_path, pipeline):
    """Each takes in all that lies in its own when the server starts."""
    names = ["a b", "a_b", "a.b", "a:b", "ab", "ä", "qa"]
    served = Served(dict.fromkeys(names, pipeline), ON)
    places = [served.uploads(name) for name in names]
    assert len(set(places)) == len(names)
    assert {place.parent for place in places} == {pipeline.base / "uploads"}
    assert served.uploads("qa").name == "qa"


def test_a_glob_or_a_folder_deletes_nothing(pipeline):
    with client(pipeline, ON) as asked:
        for name in ("*", "law", "law/*", "law/", "**/*.txt"):
            assert asked.delete(f"/documents/{name}").status_code == 404
        assert len(asked.get("/documents").json()["documents"]) == 5


def test_only_keys_that_may_write_do(pipeline):
    with client(pipeline, with_keys(documents=True)) as asked:
        for name, status in (("all", 403), ("law", 403), ("writer", 201)):
            reply = asked.put("/documents/x", json={"text": "a text"}, headers=bearing(name))
            assert reply.status_code == status
            reply = asked.post("/documents", files={"file": ("x.txt", b"a")}, headers=bearing(name))
            assert reply.status_code == status
        assert asked.delete("/documents/x", headers=bearing("law")).status_code == 403


def test_an_upload_has_a_size_of_its_own(pipeline):
    with client(pipeline, ServeSettings(documents=True, max_body=100, max_upload=5000)) as asked:
        assert asked.post("/documents", files={"file": ("a.txt", b"word " * 400)}).status_code == 201
        assert asked.post("/documents", files={"file": ("b.txt", b"word " * 4000)}).status_code == 413
    assert list(files(pipeline)) == ["a.txt"]


def test_what_a_kill_left_is_taken_in_or_away(pipeline):
    place = pipeline.base / "uploads" / "qa"
    place.mkdir(parents=True)
    (place / "whole.txt").write_text("Cows give milk.")
    (place / f"{PARTIAL}half.txt").write_text("Cows gi")
    with client(pipeline, ON) as asked:
        assert found(asked, "cows") == "Cows give milk."
    assert list(files(pipeline)) == ["whole.txt"]


def test_many_search_while_one_writes(pipeline):
    """Readers see a commit before or after, never an error and never a half; they do not wait for the writer."""
    writing, seen, wrong = threading.Event(), [], []

    def ask(asked):
        while not writing.is_set():
            reply = asked.post("/search", json={"question": "cows number herd", "k": 3})
            if reply.status_code != 200:
                wrong.append(reply.text)
            seen.append(len(asked.get("/documents", params={"limit": 1000}).json()["documents"]))

    with client(pipeline, ON) as asked:
        readers = [threading.Thread(target=ask, args=(asked,)) for _ in range(4)]
        for reader in readers:
            reader.start()
        for number in range(12):
            asked.put(f"/documents/herd{number}", json={"text": f"Herd number {number} has {number} cows."})
        writing.set()
        for reader in readers:
            reader.join()
        assert asked.get("/documents", params={"query": "herd", "limit": 1000}).json()["documents"].__len__() == 12
    assert not wrong, wrong[0]
    assert len(seen) > 4
    assert set(seen) <= set(range(5, 18))


def test_readers_do_not_wait_for_a_writer_in_python(pipeline, monkeypatch):
    """The writer holds the store for a second; a question takes no part of that."""
    inside, go = threading.Event(), threading.Event()

    def documents():
        yield Document("one", "Cows give milk.")
        inside.set()
        go.wait(10)

    pipeline.retrieve("tea")
    writer = threading.Thread(target=pipeline.add, args=(documents(),))
    writer.start()
    try:
        assert inside.wait(10)
        assert pipeline.retrieve("tea")
        assert writer.is_alive()
    finally:
        go.set()
        writer.join()
    assert pipeline.retrieve("cows")[0].chunk.document_id == "one"
