"""What the server says is what the pipeline says, and what is wrong comes as a message with a fix."""

import json
import re
import subprocess
import sys

import pytest

from fovea.pipelines.pipeline import Pipeline
from tests.serving import DOCUMENTS, client, stored


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    with stored(tmp_path_factory.mktemp("served")) as made:
        yield made


@pytest.fixture(scope="module")
def asked(pipeline):
    with client(pipeline, other=pipeline) as made:
        yield made


def events(text):
    found = []
    for block in text.strip().split("\n\n"):
        name = re.search("^event: (.*)$", block, re.M)
        data = re.search("^data: (.*)$", block, re.M)[1]
        found.append((name[1] if name else "", data if data == "[DONE]" else json.loads(data)))
    return found


def test_search_is_retrieve(asked, pipeline):
    reply = asked.post("/search", json={"question": "What does tea cost?", "k": 3, "where": "team == 'sales'"})
    hits = pipeline.retrieve("What does tea cost?", 3, where="team == 'sales'")
    assert [(h["id"], h["where"], h["text"]) for h in reply.json()["hits"]] == [
        (h.chunk.id, h.chunk.where, h.chunk.text) for h in hits
    ]
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "trace" not in reply.json()


def test_the_trace_is_told_where_it_is_asked_for(asked):
    trace = asked.post("/search", json={"question": "tea", "trace": True}).json()["trace"]
    assert trace["stages"][0]["name"] == "retrieve dense"


def test_ask_is_ask(asked, pipeline):
    reply, answer = (
        asked.post("/ask", json={"question": "When do judges swear?"}).json(),
        pipeline.ask("When do judges swear?"),
    )
    plain = json.loads(json.dumps(answer.to_dict()))
    assert reply["citations"]
    for key in ("text", "sentences", "citations"):
        assert reply[key] == plain[key]


def test_a_stream_is_pieces_and_then_the_answer(asked, pipeline):
    found = events(asked.post("/ask", json={"question": "When do judges swear?", "stream": True}).text)
    assert [name for name, _ in found[:-1]] == ["piece"] * (len(found) - 1)
    assert found[-1][0] == "answer"
    assert "".join(data["text"] for _, data in found[:-1]) == found[-1][1]["text"]


def test_documents_are_listed_page_by_page(asked):
    names, after = [], ""
    while after is not None:
        page = asked.get("/documents", params={"limit": 2, "after": after}).json()
        names += [row["id"] for row in page["documents"]]
        after = page["next"]
    assert names == sorted(document.id for document in DOCUMENTS)
    found = asked.get("/documents", params={"query": "TEA"}).json()["documents"]
    assert [(row["id"], row["metadata"], row["length"]) for row in found] == [
        ("sales/tea.txt", {"team": "sales"}, len(DOCUMENTS[2].text))
    ]


def test_every_span_of_a_document_can_be_read(asked):
    for document in DOCUMENTS:
        whole = asked.get(f"/documents/{document.id}/text").json()
        assert (whole["text"], whole["length"]) == (document.text, len(document.text))
        part = asked.get(f"/documents/{document.id}/text", params={"start": 4, "end": 9}).json()
        assert part["text"] == document.text[4:9]


def test_a_pipeline_is_chosen_by_its_name(asked):
    found = asked.get("/pipelines").json()["pipelines"]
    assert [(one["name"], one["default"]) for one in found] == [("qa", True), ("other", False)]
    assert asked.post("/search", json={"question": "tea", "pipeline": "other"}).json()["hits"]


LONG = "x" * 30_000
CHAT, USER, PICTURE = "/v1/chat/completions", {"role": "user", "content": "a"}, {"type": "image_url"}
WRONG = {
    "no question": ("POST", "/search", {}, 422, "body.question"),
    "an empty question": ("POST", "/ask", {"question": "  "}, 400, "the question is empty"),
    "a long question": ("POST", "/ask", {"question": LONG}, 400, "30,000 characters; the most is 20,000"),
    "a long question, streamed": ("POST", "/ask", {"question": LONG, "stream": True}, 400, "30,000 characters"),
    "an unknown key of the body": ("POST", "/search", {"question": "a", "kk": 1}, 422, "body.kk"),
    "a bad filter": ("POST", "/search", {"question": "a", "where": "year =="}, 400, "filter"),
    "a filter that calls": ("POST", "/search", {"question": "a", "where": "__import__('os')"}, 400, "expected FIELD"),
    "an unknown field": ("POST", "/search", {"question": "a", "where": "yaer == 2020"}, 400, "did you mean 'year'"),
    "a wrong kind": ("POST", "/search", {"question": "a", "where": "year == 'x'"}, 400, "holds numbers"),
    "a bad moment": ("POST", "/search", {"question": "a", "as_of": "yesterday"}, 400, "as_of"),
    "k of nothing": ("POST", "/search", {"question": "a", "k": 0}, 422, "body.k"),
    "an unknown pipeline": ("POST", "/search", {"question": "a", "pipeline": "othr"}, 404, "did you mean 'other'"),
    "an unknown document": ("GET", "/documents/nope/text", None, 404, "no document 'nope'"),
    "a span that is none": ("GET", "/documents/canteen/text?start=9&end=3", None, 400, "is not within"),
    "a span beyond the end": ("GET", "/documents/canteen/text?start=999", None, 400, "is not within"),
    "an unknown route": ("GET", "/nope", None, 404, "no such route"),
    "a wrong method": ("GET", "/search", None, 405, "does not take that method"),
    "an upload, unasked": ("PUT", "/documents/x", {"text": "y"}, 403, "takes no documents"),
    "a deletion, unasked": ("DELETE", "/documents/canteen", None, 403, "takes no documents"),
    "an unknown model": ("POST", CHAT, {"model": "gpt", "messages": [USER]}, 404, "gpt"),
    "a picture": ("POST", CHAT, {"model": "qa", "messages": [{**USER, "content": [PICTURE]}]}, 400, "image_url"),
    "tools": ("POST", CHAT, {"model": "qa", "tools": [{}], "messages": [USER]}, 400, "no tools"),
    "no user": ("POST", CHAT, {"model": "qa", "messages": [{**USER, "role": "assistant"}]}, 400, "last message"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(asked, case):
    method, path, body, status, said = WRONG[case]
    reply = asked.request(method, path, json=body)
    assert (reply.status_code, list(reply.json())) == (status, ["error"]), reply.text
    error = reply.json()["error"]
    assert said in reply.text.replace('\\"', '"')
    assert error["message"]
    assert error["type"]
    assert error.get("fix") or error.get("where") or case == "an empty question"
    if path.startswith("/v1/"):
        assert error["code"]


def test_a_body_that_is_no_json_is_said_to_be_none(asked):
    reply = asked.post("/search", content=b'{"question": ', headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["message"][:20]) == (400, "the body is not JSON")


@pytest.mark.parametrize("broken", ["nothing ingested", "nothing in it"])
def test_an_empty_store_is_no_fault_of_the_server(tmp_path, broken):
    with Pipeline(base=tmp_path, encoder="hash") as empty:
        if broken == "nothing in it":
            empty.add([])
        with client(empty) as asked:
            assert asked.get("/healthz/ready").status_code == 200
            for method, path in (("POST", "/search"), ("POST", "/ask")):
                reply = asked.request(method, path, json={"question": "a"})
                assert (reply.status_code, "fovea ingest" in reply.text) == (409, True), reply.text
                assert str(tmp_path) not in reply.text


def test_a_fault_says_nothing_of_the_machine(pipeline, monkeypatch, caplog):
    def failing(*_, **__):
        raise RuntimeError("/etc/secrets/here is broken")

    with client(pipeline) as asked:
        monkeypatch.setattr(Pipeline, "retrieve", failing)
        reply = asked.post("/search", json={"question": "a"})
    assert reply.status_code == 500
    assert reply.json()["error"]["message"] == "the server failed; its log says how"
    assert any("/etc/secrets" in str(record.exc_info) for record in caplog.records if record.exc_info)


def test_a_document_may_hold_any_character(pipeline, tmp_path):
    from fovea.rag.types import Document

    with Pipeline(base=tmp_path, encoder="hash") as odd:
        odd.add([Document("odd", "half \ud800 a pair <b>bold</b> \x00 and so on")])
        with client(odd) as asked:
            assert (
                asked.post("/ask", json={"question": "half a pair"}).json()["hits"][0]["text"].startswith("half \ud800")
            )
            assert asked.get("/documents/odd/text").status_code == 200


def test_the_page_of_routes_names_no_other_host(asked):
    page = asked.get("/docs")
    for route in ("/search", "/ask", "/documents", "/v1/chat/completions", "/healthz", "/metrics"):
        assert route in page.text
    assert "<script" not in page.text
    assert "//" not in page.text.replace("<!doctype html>", "")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert asked.get("/").text == page.text


def test_metrics_count_requests_and_stages(asked):
    asked.post("/search", json={"question": "tea"})
    text = asked.get("/metrics").text
    assert re.search(r'fovea_requests_total\{method="POST",route="/search",status="200"\} [1-9]', text)
    assert 'fovea_stage_seconds_count{pipeline="qa",stage="retrieve dense"}' in text
    assert "fovea_requests_running 1.0" in text
    assert "tea" not in text


def test_metrics_do_not_grow_with_what_clients_make_up(asked):
    """Not even for those whom nobody knows: methods and paths are theirs to choose."""

    def lines():
        return len(asked.get("/metrics").text.splitlines())

    asked.request("MADE-UP", "/made-up")
    lines()
    before = lines()
    for number in range(5):
        asked.request(f"MADE-UP-{number}", f"/made-up/{number}")
    assert lines() == before
    assert "MADE" not in asked.get("/metrics").text


def test_the_log_has_no_questions_unless_it_is_to_have_them(pipeline, caplog):
    from fovea.pipelines.server.settings import ServeSettings

    for wanted in (False, True):
        caplog.clear()
        with caplog.at_level("INFO", "fovea.server"), client(pipeline, ServeSettings(log_questions=wanted)) as asked:
            asked.post("/search", json={"question": "a very private question"})
        fields = next(record.fields for record in caplog.records if record.message == "request")
        assert (fields["route"], fields["status"], fields["characters"]) == ("/search", 200, 23)
        assert ("private" in str(fields)) == wanted


def test_nothing_of_the_server_is_loaded_without_it():
    code = (
        "import sys, fovea.pipelines.pipeline, fovea.pipelines.cli.main, fovea.pipelines.cli.serve\n"
        "print([m for m in ('fastapi', 'uvicorn', 'starlette') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_what_was_said_before_counts(asked):
    """A question that goes on from others is looked for as one that stands alone, in both ways of asking."""
    question = "And at how many degrees is it brewed?"
    said = [{"role": "user", "content": "What does green tea sell for?"}, {"role": "assistant", "content": "9 euros."}]
    reply = asked.post("/search", json={"question": question, "history": said, "trace": True}).json()
    rewrite = next(stage for stage in reply["trace"]["stages"] if stage["name"] == "rewrite")
    assert rewrite["notes"]["question"] == question
    assert "tea" in rewrite["notes"]["rewritten"]
    assert reply["hits"][0]["text"] == "Tea is brewed at 80 degrees."
    messages = [
        {"role": "system", "content": "be brief"},
        *said,
        {"role": "user", "content": question},
    ]
    reply = asked.post(CHAT, json={"model": "qa", "messages": messages}).json()
    assert "Tea is brewed at 80 degrees. [" in reply["choices"][0]["message"]["content"]


def test_what_a_pipeline_lacks_is_a_warning_when_it_starts(tmp_path, caplog):
    lame = stored(tmp_path / "lame", generate={"use": "transformers", "model": "/no/such/model"})
    with Pipeline(base=tmp_path / "empty", encoder="hash") as empty, lame, client(lame, empty=empty):
        told = {record.fields["pipeline"]: record.fields["error"] for record in caplog.records
                if record.message == "not ready to answer"}  # fmt: skip
    assert told.keys() == {"qa", "empty"}
    assert "/no/such/model" in told["qa"]
    assert "fovea ingest" in told["empty"]
