"""Requests as nobody writes them: each gets an answer that is no fault of ours and says nothing of this machine."""

import json
import random
import re

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fovea.pipelines.server.app import create_app
from fovea.pipelines.server.served import Served
from fovea.pipelines.server.settings import ServeSettings
from tests.serving import client, stored

REQUESTS = 500
PER_ROUTE = 6
ODD = [
    None, True, 0, -1, 2**63, 10**400, 1.5, 1e308, "", " ", "a", "\x00", "\ud800", "\u202e", "x" * 25_000, "'",
    "../../etc/passwd", "/etc/passwd", "%00", "${HOME}", "<script>", [], [[]], [None] * 9, {}, {"": {}}, {"role": 1},
    "year == ", "exists(year)", "not " * 300 + "true", "(" * 500, "`", "page == 1", "year in [" + "1," * 999 + "1]",
    "source == '/etc/passwd'", "contains(title, 'a')", "2024-13-45", "9999-12-31T23:59:59+23:59",
]  # fmt: skip
TYPES = ["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    with stored(tmp_path_factory.mktemp("served")) as pipeline, client(pipeline, ServeSettings(documents=True)) as made:
        yield made


def harmless(asked, reply):
    """No fault of ours, one shape for what is wrong, and no path."""
    base = str(next(iter(asked.served.pipelines.values())).base)
    assert reply.status_code < 500, reply.text
    assert "Traceback" not in reply.text
    assert base not in reply.text
    assert base not in str(reply.headers)
    assert not re.search(r"site-packages|\.py\b", reply.text)
    if reply.status_code >= 400:
        assert reply.json()["error"]["message"], reply.text


def bodies(draw, routes):
    """A body with the fields that a route knows, each right or odd."""
    fields = ["question", "k", "where", "as_of", "pipeline", "history", "stream", "trace", "model", "messages", "text"]
    chosen = {field: draw.choice(ODD) for field in draw.sample(fields, draw.randint(0, 6))}
    if draw.random() < 0.7:
        chosen |= {"question": draw.choice(["tea", *ODD])} if "chat" not in routes else {"model": "qa"}
    if "chat" in routes and draw.random() < 0.7:
        chosen["messages"] = [{"role": draw.choice(["user", "system", 1]), "content": draw.choice(["tea", *ODD])}]
    known = {"/search": "question", "/ask": "question"}.get(routes)
    return (
        {known: chosen[known], **{f: v for f, v in chosen.items() if draw.random() < 0.4}}
        if known in chosen
        else chosen
    )


def test_five_hundred_malformed_requests(asked):
    """Seeded: the same five hundred each time."""
    draw = random.Random(18)
    paths = [path for path in asked.app.openapi()["paths"] if not path.startswith("/healthz")]
    seen = set()
    for _ in range(REQUESTS):
        path = draw.choice(paths)
        odd = draw.choice([one for one in ODD if isinstance(one, str) and one.isprintable()])
        url = re.sub(r"\{[^}]*\}", lambda _, odd=odd: odd[:200].replace("?", "").replace("#", "") or "x", path)
        query = {k: str(draw.choice(ODD))[:500] for k in draw.sample(["start", "end", "limit", "after", "query"], 2)}
        body = json.dumps(bodies(draw, path)).encode()
        if draw.random() < 0.2:
            at = draw.randrange(len(body) + 1)
            body = body[:at] + draw.choice([b"\xff", b"{", b"", b"\x00", b"NaN"]) + body[at + draw.randint(0, 3) :]
        headers = {"content-type": "application/json" if draw.random() < 0.8 else draw.choice(TYPES)}
        query = {k: v.encode("utf-8", "replace").decode() for k, v in query.items()}
        method = draw.choice(["POST", "GET", "PUT", "DELETE"]) if draw.random() < 0.3 else _method(asked, path)
        reply = asked.request(method, url, params=query, content=body, headers=headers, follow_redirects=False)
        harmless(asked, reply)
        seen.add(reply.status_code)
    assert {200, 400, 404, 405, 422} <= seen


def _method(asked, path):
    return next(iter(asked.app.openapi()["paths"][path])).upper()


def test_what_the_description_allows_and_what_it_forbids(tmp_path_factory):
    """schemathesis over the OpenAPI description: right and wrong values of every parameter of every route."""
    with stored(tmp_path_factory.mktemp("served")) as pipeline:
        app = create_app(Served({"qa": pipeline}, ServeSettings(documents=True)))
        schema = schemathesis.openapi.from_dict(app.openapi())
        with client(pipeline, ServeSettings(documents=True)) as asked:
            for operation in (one.ok() for one in schema.get_all_operations()):
                if "multipart" not in str(operation.definition.raw):
                    _tried(operation, asked)


def _tried(operation, asked):
    @seed(18)
    @settings(
        max_examples=PER_ROUTE, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))
    def each(case):
        path = case.formatted_path.replace("..", "x")[:10_000]
        text = {k: str(v)[:1000] for k, v in (case.query or {}).items()}  # httpx2 sends no query of over 65,536 bytes
        content = (
            b"" if case.body is None or "NotSet" in repr(case.body) else json.dumps(case.body, default=str).encode()
        )
        reply = asked.request(
            case.method, path, params=text, content=content, headers={"content-type": "application/json"},
            follow_redirects=False,
        )  # fmt: skip
        harmless(asked, reply)

    each()


@given(text=st.text(max_size=60) | st.sampled_from([str(odd)[:5000] for odd in ODD]))
def test_any_text_is_a_question_a_filter_or_a_moment(asked, text):
    for field in ("question", "where", "as_of", "pipeline"):
        reply = asked.post(
            "/search", content=json.dumps({"question": "tea", field: text}), headers={"content-type": TYPES[0]}
        )
        harmless(asked, reply)


def test_a_body_without_its_type_is_told_the_header(asked):
    reply = asked.post("/search", content=b'{"question": "tea"}', headers={"Content-Type": "text/plain"})
    assert reply.status_code == 415
    assert "Content-Type: application/json" in reply.json()["error"]["fix"]


def test_all_that_is_wrong_is_told(asked):
    error = asked.post("/search", json={"q": "tea", "k": 0}).json()["error"]
    assert error["where"] == "body.question"
    assert "; body.k: " in error["message"]
    assert "; body.q: " in error["message"]
    many = {f"f{n}": 1 for n in range(9)}
    assert error["message"].count(";") < asked.post("/search", json=many).json()["error"]["message"].count(";")
    assert asked.post("/search", json=many).json()["error"]["message"].endswith("; and 6 more")


def test_the_log_of_a_refused_request_has_not_its_question(asked, caplog):
    with caplog.at_level("INFO", "fovea.server"):
        asked.post("/search", json={"question": "who is ill?", "k": 0})
        asked.post("/search", content=b'{"question": "who is ill?"}')
        asked.post("/search", json={"questions": "who is ill?"})
    told = [str(record.fields) for record in caplog.records if hasattr(record, "fields")]
    assert len(told) >= 3
    assert "body.k" in told[0]
    assert not [line for line in told if "ill" in line]
