"""A server as it is run: a process of its own, asked by the clients that people use."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import httpx
import pytest

from fovea.pipelines.server.secret import new_key
from tests.serving import stored

KEY, DIGEST = new_key()
SLOW = (
    "import sys; from fovea.pipelines.cli.main import main; import tests.slow_generator; sys.exit(main(sys.argv[1:]))"
)
QUESTION = "When do judges swear the oath?"


@contextmanager
def process(folder, yaml, *args):
    """A server on a free port, ready to be asked; killed at the end."""
    (folder / "qa.yaml").write_text(yaml)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (folder / "log").open("w")
    run = subprocess.Popen(
        [sys.executable, "-c", SLOW, "serve", "qa.yaml", "--port", str(port), *args], cwd=folder, stderr=log,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    run.url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            assert run.poll() is None, (folder / "log").read_text()
            try:
                if httpx.get(f"{run.url}/healthz/ready", trust_env=False).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield run
    finally:
        run.kill()
        run.wait()
        log.close()


def lines(folder):
    return [json.loads(line) for line in (folder / "log").read_text().splitlines()]


YAML = """
encoder: hash
segment: {use: sentence, max_tokens: 12}
"""
KEYED = f"""{YAML}
serve:
  keys:
    - {{name: ann, sha256: "{DIGEST}", scope: "team == 'law'"}}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("process")
    stored(folder).close()
    with process(folder, KEYED) as run:
        run.folder = folder
        yield run


@pytest.fixture
def openai(server):
    library = pytest.importorskip("openai")
    http = library.DefaultHttpxClient(trust_env=False)
    return library.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, http_client=http, max_retries=0)


def test_the_openai_client_lists_models_and_gets_a_cited_answer(openai):
    assert [model.id for model in openai.models.list()] == ["qa"]
    reply = openai.chat.completions.create(model="qa", messages=[{"role": "user", "content": QUESTION}], temperature=0)
    message = reply.choices[0].message
    assert "Judges swear the oath at noon. [" in message.content
    first = message.annotations[0]
    cited = first.url_citation
    assert message.content[cited.start_index : cited.end_index].startswith(first.citation["quote"])
    assert first.citation["quote"] in "The oath is secret. Judges swear the oath at noon."
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 0
    assert reply.choices[0].finish_reason == "stop"


def test_the_openai_client_gets_a_stream(openai, server):
    stream = openai.chat.completions.create(
        model="qa",
        messages=[{"role": "user", "content": QUESTION}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "Judges swear the oath at noon." in text
    assert "\n\n[1] law/oath.txt:" in text
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens > 0
    listed = next(c.choices[0].delta.annotations for c in chunks if getattr(c.choices[0].delta, "annotations", None))
    span = httpx.get(
        server.url + listed[0]["url_citation"]["url"], headers={"Authorization": f"Bearer {KEY}"}, trust_env=False
    )
    assert span.json()["text"] == listed[0]["citation"]["quote"]


def test_the_openai_client_understands_what_is_wrong(openai, server):
    import openai as library

    with pytest.raises(library.NotFoundError, match="there is no pipeline 'gpt'") as caught:
        openai.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "a"}])
    assert caught.value.code == "model_not_found"
    with pytest.raises(library.BadRequestError, match="the question is empty"):
        openai.chat.completions.create(model="qa", messages=[{"role": "user", "content": " "}])
    with pytest.raises(library.AuthenticationError):
        openai.with_options(api_key="wrong").models.list()


def test_langchain_asks_and_streams(server):
    langchain = pytest.importorskip("langchain_openai")
    with httpx.Client(trust_env=False) as http, httpx.Client(trust_env=False):
        chat = langchain.ChatOpenAI(
            model="qa", base_url=f"{server.url}/v1", api_key=KEY, http_client=http, max_retries=0, stream_usage=True
        )
        reply = chat.invoke([("system", "be brief"), ("user", QUESTION)])
        assert "Judges swear the oath at noon. [" in reply.content
        assert reply.usage_metadata["total_tokens"] > 0
        text = "".join(chunk.content for chunk in chat.stream(QUESTION))
        assert "Judges swear the oath at noon." in text


def test_httpx_reads_events_and_the_scope_holds(server):
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False) as http:
        with http.stream("POST", "/ask", json={"question": QUESTION, "stream": True}) as reply:
            names = [line[7:] for line in reply.iter_lines() if line.startswith("event: ")]
        assert (names[-1], set(names[:-1])) == ("answer", {"piece"})
        found = http.post("/search", json={"question": "tea", "k": 50, "where": "team == 'sales'"})
        assert found.json()["error"]["message"] if found.status_code == 400 else found.json()["hits"] == []
        assert {row["id"] for row in http.get("/documents").json()["documents"]} == {"law/oath.txt", "law/fees.txt"}


def test_the_log_is_lines_of_json(server):
    told = [line for line in lines(server.folder) if line["message"] == "request" and line["route"] != "/healthz/ready"]
    assert told
    assert all({"time", "level", "id", "method", "status", "seconds", "key"} <= line.keys() for line in told)
    assert QUESTION not in (server.folder / "log").read_text()


def test_a_signal_ends_it_when_the_running_answers_are_out(tmp_path):
    stored(tmp_path).close()
    slow = f"{YAML}\ngenerate: {{use: slow_of_tests, words: 20}}\nserve: {{drain: 8}}\n"
    with process(tmp_path, slow) as run, httpx.Client(base_url=run.url, trust_env=False, timeout=20) as http:
        with http.stream("POST", "/ask", json={"question": "tea", "stream": True}) as reply:
            coming = reply.iter_lines()
            assert next(coming) == "event: piece"
            run.send_signal(signal.SIGTERM)
            text = "\n".join(coming)
        assert "event: answer" in text
        assert "word19" in text
        assert run.wait(10) in (0, -signal.SIGTERM)
    assert "Application shutdown complete." in (tmp_path / "log").read_text()


def test_an_answer_that_takes_too_long_does_not_hold_up_the_end(tmp_path):
    stored(tmp_path).close()
    slow = f"{YAML}\ngenerate: {{use: slow_of_tests, words: 2000}}\nserve: {{drain: 1}}\n"
    with process(tmp_path, slow) as run, httpx.Client(base_url=run.url, trust_env=False, timeout=20) as http:
        with (
            suppress(httpx.TransportError),
            http.stream("POST", "/ask", json={"question": "tea", "stream": True}) as reply,
        ):
            for line in reply.iter_lines():
                if line == "event: piece":
                    run.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert run.wait(10) in (0, -signal.SIGTERM)
        assert time.monotonic() - began < 6


def test_a_kill_during_uploads_loses_nothing_that_was_acknowledged(tmp_path):
    """kill -9 while two clients upload: whatever was answered with 201 is there when the server is started again."""
    acknowledged, lock = {}, threading.Lock()

    def upload(url, kind):
        with httpx.Client(base_url=url, trust_env=False, timeout=20) as http:
            for number in range(1000):
                name, text = f"{kind}{number}", f"Herd {kind} number {number} has {number * 7} cows."
                try:
                    if kind == "file":
                        reply = http.post("/documents", files={"file": (f"{name}.txt", text.encode())})
                    else:
                        reply = http.put(f"/documents/{name}", json={"text": text})
                except httpx.TransportError:
                    return
                assert reply.status_code == 201, reply.text
                with lock:
                    acknowledged[reply.json()["id"]] = text

    yaml = f"{YAML}\nserve: {{documents: true}}\n"
    with process(tmp_path, yaml) as run:
        clients = [threading.Thread(target=upload, args=(run.url, kind)) for kind in ("file", "text")]
        for client in clients:
            client.start()
        while len(acknowledged) < 12:
            time.sleep(0.005)
        run.kill()
        run.wait()
        for client in clients:
            client.join()
    with process(tmp_path, yaml) as run, httpx.Client(base_url=run.url, trust_env=False) as http:
        for name, text in acknowledged.items():
            assert http.get(f"/documents/{name}/text").json()["text"].strip() == text
        question = {"question": "Herd number 3 cows", "k": 1}
        assert "Herd" in http.post("/search", json=question).json()["hits"][0]["text"]
