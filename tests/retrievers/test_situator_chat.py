"""A chat model that situates: what it is asked, what is kept of its replies, and what its failures cost."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fovea.pipelines.pipeline import Pipeline
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import MissingExtra, ModelError, StoreError
from fovea.rag.replies import Replies
from fovea.rag.situator import Situator
from fovea.rag.testing.situators import check_situator, pieces
from fovea.rag.trace import Trace
from fovea.rag.types import Document

pytest.importorskip("langchain", reason="langchain is not installed")
pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")

DOCUMENT = Document("d", "Velmora is a harbour town. It is old and grey. It holds a fair in June.", title="Towns")
ENCODER = HashEncoder()


class Server(BaseHTTPRequestHandler):
    """Speaks the chat completions protocol. Says of a passage its length and what the model's name asks for."""

    asked: list[dict] = []
    broken: list[str] = []
    """Passages about which it fails."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        passage = body["messages"][1]["content"].split("<passage>\n")[1].split("\n</passage>")[0]
        if any(words in passage for words in self.broken):
            return self.reply(400, {"error": {"message": "no such luck"}})
        said = {"silent": "", "wordy": "word " * 300}.get(body["model"], f" About\n{passage[:20]!r} of Velmora. ")
        usage = {"prompt_tokens": 90, "completion_tokens": 9, "total_tokens": 99}
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        base = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"]}
        return self.reply(200, {**base, "choices": [choice], "usage": usage})

    def reply(self, status: int, body: dict) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "cache"))
    Server.asked.clear()
    Server.broken.clear()


def situator(url: str, **settings) -> Situator:
    return Situator.model_validate(
        {"use": "chat", "model": "openai:any", "base_url": url, "max_retries": 0, **settings}
    )


def test_laws(url):
    check_situator(situator(url), ENCODER)


def test_the_model_sees_the_document_and_the_passage_and_its_sayings_are_kept(url):
    chunks = pieces(DOCUMENT, 27)
    found = situator(url).texts(DOCUMENT, chunks)
    assert found == [f"About {c.text[:20]!r} of Velmora." for c in chunks]
    assert len(Server.asked) == 3
    system, human = (message["content"] for message in Server.asked[0]["messages"])
    assert "harbour town" not in system
    assert DOCUMENT.text in human
    assert "Towns" in human
    again = situator(url, weight=2.0, form="prefix", lexical=False, parallel=1, timeout=7)
    assert again.texts(DOCUMENT, chunks) == found
    assert len(Server.asked) == 3, "the same questions to the same model are not asked again"
    situator(url, temperature=1.0).texts(DOCUMENT, chunks[:1])
    situator(url).texts(Document("d", DOCUMENT.text + " More.", title="Towns"), chunks[:1])
    assert len(Server.asked) == 5, "other settings of the model, or another document, are other questions"


def test_of_a_long_document_the_model_sees_what_is_around(url):
    document = Document("d", "".join(f"sentence number {i}. " for i in range(200)))
    chunk = pieces(document, 20)[100]
    prompt = situator(url, characters=300).prompt(document, chunk)
    assert chunk.text in prompt
    shown = prompt.split("<document>\n")[1].split("\n</document>")[0]
    assert len(shown) == 300
    assert shown in document.text


def test_tokens_and_questions_are_counted(url):
    trace = Trace()
    with trace.stage("situate") as stage:
        situator(url).texts(DOCUMENT, pieces(DOCUMENT, 27))
    assert stage.counts == {"input_tokens": 270, "output_tokens": 27, "asked": 3}


@pytest.mark.parametrize("parallel", [1, 4])
def test_what_fails_is_counted_and_not_asked_twice_in_a_row_but_later(url, parallel):
    Server.broken.append("grey")
    chunks, one, trace = pieces(DOCUMENT, 27), situator(url, parallel=parallel), Trace()
    own = ENCODER.encode([c.text for c in chunks])
    with trace.stage("situate"):
        made = one.vectors(DOCUMENT, chunks, own, ENCODER)
        found = one.texts(DOCUMENT, chunks)
    assert [bool(text) for text in found] == [True, False, True]
    assert (made[1] == own[1]).all(), "a chunk of which nothing is said keeps its own vector"
    assert (made[0] != own[0]).any()
    assert len(Server.asked) == 3
    ((warning, times),) = trace.warnings.items()
    assert times == 1
    assert "did not accept the request" in warning
    Server.broken.clear()
    assert all(situator(url).texts(DOCUMENT, chunks))
    assert len(Server.asked) == 4, "only what had failed"


@pytest.mark.parametrize(("model", "words"), [("silent", "gave no characters"), ("wordy", "gave 1499 characters")])
def test_a_reply_that_situates_nothing_is_a_failure(url, model, words):
    trace = Trace()
    with trace.stage("situate"):
        assert situator(url, model=f"openai:{model}").texts(DOCUMENT, pieces(DOCUMENT, 80)) == [""]
    assert any(words in warning for warning in trace.warnings)


def test_after_three_failures_in_a_row_the_rest_is_not_asked(url):
    Server.broken.append("")
    document, trace = Document("d", "x" * 100), Trace()
    with trace.stage("situate"):
        assert situator(url, parallel=1).texts(document, pieces(document, 10)) == [""] * 10
    assert len(Server.asked) == 1, "ten times the same passage is one question"
    document = Document("d", "".join(f"number {i:03}" for i in range(10)))
    with trace.stage("situate"):
        assert situator(url, parallel=1).texts(document, pieces(document, 10)) == [""] * 10
    assert len(Server.asked) == 4
    assert sum(trace.warnings.values()) == 1 + 10


def test_no_model_to_ask_is_an_error(url, monkeypatch):
    with pytest.raises(ModelError, match="unknown provider"):
        situator(url, model="nobody:knows").texts(DOCUMENT, pieces(DOCUMENT))
    with pytest.raises(MissingExtra, match="langchain-fireworks"):
        situator(url, model="fireworks:x").texts(DOCUMENT, pieces(DOCUMENT))
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ModelError, match="has no key"):
        situator(url).texts(DOCUMENT, pieces(DOCUMENT))


def test_damaged_replies_are_named(tmp_path):
    (tmp_path / "replies.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match=r"replies\.sqlite: replies of models cannot be kept here") as error:
        Replies(tmp_path / "replies.sqlite")
    assert "FOVEA_CACHE" in error.value.fix
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        Replies(tmp_path / "file" / "replies.sqlite")


def test_replies_of_several_threads(tmp_path):
    replies = Replies(tmp_path / "r.sqlite")
    threads = [
        threading.Thread(target=lambda n=n: [replies.put(f"{n} {i}", f"{n}") for i in range(30)]) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = [f"{n} {i}" for n in range(4) for i in range(300)]
    found = Replies(tmp_path / "r.sqlite").get(keys)
    assert found == {f"{n} {i}": f"{n}" for n in range(4) for i in range(30)}


def test_in_a_pipeline_each_chunk_is_asked_about_once_ever(url, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text(DOCUMENT.text)
    stages = {"encoder": "hash", "segment": {"use": "sentence", "max_tokens": 9}}
    asked = {"use": "chat", "model": "openai:any", "base_url": url, "max_retries": 0}
    Server.broken.append("grey")
    for weight in (0.5, 1.0):
        with Pipeline(base=tmp_path, **stages, situate={**asked, "weight": weight}) as pipeline:
            report = pipeline.ingest(tmp_path / "docs")
            assert report.ok
            assert pipeline.verify() == []
            assert "fair" in pipeline.retrieve("fair of Velmora in June", k=1)[0].chunk.text
            said = pipeline.corpus.library.situations(range(1, 9))
            assert len(said) == 2
            assert all("Velmora" in text for text in said.values())
        assert sum(report.trace.warnings.values()) >= 1
    assert len(Server.asked) == 4, "three chunks, and the one that failed once more"
