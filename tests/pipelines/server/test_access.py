"""Who may ask, for what, and from where."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.server.access import Keys, Origins, is_loopback, name_of
from fovea.pipelines.server.problems import Problem
from fovea.pipelines.server.secret import digest, new_key
from fovea.pipelines.server.served import opened
from fovea.pipelines.server.settings import ServeSettings
from fovea.pipelines.spec import yaml_source
from fovea.pipelines.spec.check import check
from fovea.rag.errors import ConfigError, QueryError
from fovea.rag.filters import parse
from fovea.rag.trace import Trace
from tests.command import fovea
from tests.serving import DOCUMENTS, KEYS, bearing, client, stored, with_keys

SECRET = "oath"
TEAMS = {"law": {"law/oath.txt", "law/fees.txt"}, "sales": {"sales/tea.txt", "sales/moon.txt"}}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    with stored(tmp_path_factory.mktemp("served")) as made:
        yield made


@pytest.fixture(scope="module")
def asked(pipeline):
    with client(pipeline, with_keys()) as made:
        yield made


ROUTES = [
    ("POST", "/search"), ("POST", "/ask"), ("GET", "/documents"), ("GET", "/documents/canteen/text"),
    ("POST", "/documents"), ("PUT", "/documents/x"), ("DELETE", "/documents/canteen"), ("GET", "/pipelines"),
    ("GET", "/metrics"), ("GET", "/v1/models"), ("GET", "/v1/models/qa"), ("POST", "/v1/chat/completions"),
    ("GET", "/no/such/route"), ("GET", "/docs/../documents"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("header", [None, "Bearer", "Bearer wrong", f"Basic {KEYS['all']}", KEYS["all"]])
def test_without_a_key_there_is_nothing(asked, method, path, header):
    headers = {"Authorization": header} if header else {}
    reply = asked.request(method, path, json={"question": SECRET}, headers=headers, follow_redirects=False)
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    assert reply.json()["error"]["fix"]


@pytest.mark.parametrize("path", ["/healthz", "/healthz/live", "/healthz/ready", "/docs", "/openapi.json"])
def test_what_holds_no_data_is_open(asked, path):
    assert asked.get(path).status_code == 200


def test_every_route_wants_a_key_but_those(asked):
    opened_paths = asked.served.open_paths
    routes = {path for path in asked.app.openapi()["paths"] if path not in opened_paths}
    assert {"/search", "/documents", "/metrics", "/v1/chat/completions"} <= routes
    for path in routes:
        assert asked.get(path).status_code == 401


def test_every_key_is_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(a) or a == b)
    keys = Keys(with_keys())
    assert keys.caller(f"Bearer {KEYS['all']}").name == "all"
    assert compared == [digest(key) for key in KEYS.values()]


def test_a_key_may_stand_in_the_environment(monkeypatch):
    settings = ServeSettings.model_validate({"keys": [{"name": "ann", "env": "FOVEA_TEST_KEY"}]})
    for value, said in ((None, "is not set"), ("short", "fewer than 20")):
        monkeypatch.delenv("FOVEA_TEST_KEY", raising=False)
        if value:
            monkeypatch.setenv("FOVEA_TEST_KEY", value)
        with pytest.raises(ConfigError, match=said):
            Keys(settings)
    monkeypatch.setenv("FOVEA_TEST_KEY", key := new_key()[0])
    assert Keys(settings).caller(f"bearer {key}").name == "ann"


# Scope

FIELDS = ["team", "year", "level", "source", "title", "suffix", "page", "nope"]
VALUES = st.sampled_from(["'law'", "'sales'", "2020", "true", "''", "['law', 'sales']", "'law/oath.txt'"])
COMPARED = st.builds(
    lambda f, op, v: f"{f} {op} {v}",
    st.sampled_from(FIELDS),
    st.sampled_from(["==", "!=", "<", ">=", "in", "not in"]),
    VALUES,
) | st.builds(lambda f: f"exists({f})", st.sampled_from(FIELDS))
FILTERS = st.recursive(
    COMPARED,
    lambda part: (
        st.builds(lambda a: f"not ({a})", part)
        | st.builds(lambda a, w, b: f"({a}) {w} ({b})", part, st.sampled_from(["and", "or"]), part)
    ),
    max_leaves=6,
) | st.sampled_from(
    ["1 == 1", "team == 'law') or (team == 'sales'", "team == 'sales' or exists(team)", "true", "not 1", ""]
)


def seen(reply):
    """Every document that an answer names."""
    found = reply.json()
    hits = found.get("hits", []) + found.get("citations", [])
    dropped = str(found.get("trace", ""))
    return {hit["document"] for hit in hits} | {d.id for d in DOCUMENTS if d.id in dropped}


@given(where=FILTERS, team=st.sampled_from(sorted(TEAMS)), route=st.sampled_from(["/search", "/ask"]))
def test_no_filter_widens_a_scope(asked, where, team, route):
    body = {"question": "the oath, tea and the Moon at noon", "k": 50, "where": where}
    body |= {"trace": True} if route == "/search" else {}
    reply = asked.post(route, json=body, headers=bearing(team))
    assert reply.status_code in (200, 400), reply.text
    if reply.status_code == 200:
        assert seen(reply) <= TEAMS[team]
    else:
        hidden = {document.id for document in DOCUMENTS} - TEAMS[team]
        assert not [name for name in hidden if name in reply.text and name not in where]


@given(
    query=st.sampled_from(["", "oath", "law", "/", "n"]) | st.text(max_size=5),
    after=st.sampled_from(["", "a", "law/", "l"]) | st.text(max_size=5),
    limit=st.integers(1, 9),
)
def test_no_listing_goes_beyond_a_scope(asked, query, after, limit):
    reply = asked.get("/documents", params={"query": query, "after": after, "limit": limit}, headers=bearing("sales"))
    assert {row["id"] for row in reply.json()["documents"]} <= TEAMS["sales"]


def test_a_document_beyond_the_scope_is_as_one_that_is_not_there(asked):
    mine = asked.get("/documents/sales/tea.txt/text", headers=bearing("sales"))
    assert "Green tea" in mine.json()["text"]
    hidden = asked.get("/documents/law/oath.txt/text", headers=bearing("sales"))
    nowhere = asked.get("/documents/law/none.txt/text", headers=bearing("sales"))
    assert hidden.status_code == nowhere.status_code == 404
    assert hidden.text.replace("oath", "none") == nowhere.text


def test_the_fields_of_what_is_hidden_are_not_named(asked):
    known = asked.post("/search", json={"question": "a", "where": "x == 1"}, headers=bearing("law")).text
    assert ("level" in known, "year" in known) == (True, True)
    hidden = asked.post("/search", json={"question": "a", "where": "x == 1"}, headers=bearing("sales")).text
    assert ("level" in hidden, "year" in hidden) == (False, True)
    same = asked.post("/search", json={"question": "a", "where": "level == 3"}, headers=bearing("sales"))
    assert (same.status_code, "no document has the field 'level'" in same.text) == (400, True)


def test_a_scope_bounds_the_chat_endpoint_too(asked):
    for stream in (False, True):
        body = {
            "model": "qa",
            "messages": [{"role": "user", "content": "When do judges swear the oath?"}],
            "stream": stream,
        }
        assert "Judges swear" in asked.post("/v1/chat/completions", json=body, headers=bearing("law")).text
        assert "swear" not in asked.post("/v1/chat/completions", json=body, headers=bearing("sales")).text


def test_a_scope_for_all_and_one_for_the_key_both_hold(pipeline):
    with client(pipeline, with_keys(scope="exists(year)")) as asked:
        for name, expected in (("law", {"law/oath.txt"}), ("all", {"law/oath.txt", "sales/moon.txt"})):
            rows = asked.get("/documents", headers=bearing(name)).json()["documents"]
            assert {row["id"] for row in rows} == expected


def test_a_scope_on_a_field_that_no_document_has_shows_nothing(pipeline):
    with client(pipeline, ServeSettings(scope="branch == 'x'")) as asked:
        assert asked.get("/documents").json()["documents"] == []
        assert asked.post("/search", json={"question": "tea"}).json()["hits"] == []


@given(where=FILTERS)
def test_a_pipeline_within_a_scope_gives_what_the_whole_one_gives_of_it(pipeline, where):
    """In Python: `within` is `and`."""
    scope = "team == 'sales'"
    try:
        found = pipeline.within(parse(scope)).retrieve("tea and oath", 50, where=where)
    except QueryError:
        return
    joined = f"({scope})" + (f" and ({where})" if where else "")
    try:
        expected = pipeline.retrieve("tea and oath", 50, where=joined)
    except QueryError:
        return
    assert [h.chunk.id for h in found] == [h.chunk.id for h in expected]


def test_a_pipeline_within_a_scope_only_reads(pipeline):
    view = pipeline.within(parse("team == 'sales'"))
    with pytest.raises(Exception, match="only reads"):
        view.add(DOCUMENTS)
    with pytest.raises(QueryError, match="whole documents"):
        pipeline.within(parse("page < 3"))
    assert len(view.within(parse("year == 2021")).retrieve("tea", 50)) == 1


def test_how_many_sources_lie_beyond_a_scope_is_not_told(tmp_path):
    """Of sources that were taken in with other settings it says that there are some."""
    stored(tmp_path).close()
    scope = parse("team == 'sales'")
    with Pipeline(base=tmp_path, encoder="hash", segment={"use": "sentence", "max_tokens": 9}) as changed:
        for asked, times in ((changed, 5), (changed.within(scope), 1)):
            trace = Trace()
            asked.retrieve("tea", trace=trace)
            assert list(trace.warnings.values()) == [times]


# Where from


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "LOCALHOST."])
def test_this_machine_is_asked_by_its_own_names(host):
    Origins(ServeSettings(), loopback=True).check({"host": host})


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "[::2]"])
def test_a_name_that_leads_here_is_refused(host):
    with pytest.raises(Problem, match="does not answer for that host"):
        Origins(ServeSettings(), loopback=True).check({"host": host})


def test_a_page_elsewhere_cannot_ask_unless_it_is_named(pipeline):
    page = {"Origin": "https://intranet.example"}
    with client(pipeline) as asked:
        assert asked.post("/search", json={"question": "tea"}, headers=page).status_code == 403
        assert asked.post("/search", json={"question": "tea"}, headers={"Origin": "null"}).status_code == 403
        same = asked.post("/search", json={"question": "tea"}, headers={"Origin": "http://localhost"})
        assert (same.status_code, "access-control-allow-origin" in same.headers) == (200, False)
    with client(pipeline, with_keys(origins=["https://intranet.example"])) as asked:
        ways = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        before = asked.options("/search", headers=page | ways)
        assert before.headers["access-control-allow-origin"] == "https://intranet.example"
        assert asked.post("/search", json={"question": "tea"}, headers=page | bearing("all")).status_code == 200
        assert asked.post("/search", json={"question": "tea"}, headers=page).status_code == 401


def test_names_of_hosts():
    assert [name_of(h) for h in ("A:80", "a", "[::1]:80", "[::1]", "::1")] == ["a", "a", "::1", "::1", "::1"]
    assert [is_loopback(h) for h in ("127.0.0.1", "127.8.8.8", "localhost", "0.0.0.0", "::")] == [True] * 3 + [
        False
    ] * 2


# Settings


def complaint(text):
    with pytest.raises(ConfigError) as caught:
        check(yaml_source.parse(text, file="p.yaml"))
    return str(caught.value)


SHA = "a" * 64


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("  key: []", "p.yaml:2:3: serve.key: unknown setting 'key'"),
        ("  keys:\n    - {name: a, sha256: abc}", "p.yaml:3:25: serve.keys[0].sha256"),
        ("  keys:\n    - {name: a, key: clear}", "p.yaml:3:17: serve.keys[0].key: unknown setting"),
        ("  keys:\n    - {name: a}", "p.yaml:3:7: serve.keys[0]: a key has either 'sha256' or 'env'"),
        (f"  keys:\n    - {{name: a, sha256: {SHA}, scope: 'a ='}}", "serve.keys[0].scope: filter"),
        (f"  keys:\n    - {{name: a, sha256: {SHA}, scope: 'page < 3'}}", "a scope is of whole documents"),
        (f"  keys:\n    - {{name: a, sha256: {SHA}, scope: 'b == 1', write: true}}", "can only read"),
        (f"  keys:\n    - {{name: a, sha256: {SHA}}}\n    - {{name: a, sha256: {SHA}}}", "two keys have the name 'a'"),
        (
            f"  scope: 'b == 1'\n  keys:\n    - {{name: a, sha256: {SHA}, write: true}}",
            "key 'a' may write, and 'scope'",
        ),
        ("  max_body: -1", "p.yaml:2:13: serve.max_body"),
        ("  origins: ['*']", "'*' is no origin"),
    ],
)
def test_settings_that_are_wrong_are_named_with_their_place(block, said):
    assert said in complaint(f"serve:\n{block}\n")


def test_other_addresses_want_keys(tmp_path):
    (tmp_path / "qa.yaml").write_text("encoder: hash\n")
    for host in ("0.0.0.0", "192.168.1.9", "::"):
        assert "there are no keys" in fovea(tmp_path, "serve", "qa.yaml", "--host", host, code=2).stderr


def test_a_new_key_is_shown_once_and_its_digest_can_be_put_into_the_yaml(tmp_path):
    done = fovea(tmp_path, "serve", "--new-key", "Ann's phone")
    key = done.stdout.strip()
    (tmp_path / "qa.yaml").write_text("encoder: hash\n" + done.stderr[done.stderr.index("serve:") :])
    pipelines, settings = opened([tmp_path / "qa.yaml"])
    assert key not in done.stderr
    assert Keys(settings).caller(f"Bearer {key}").name == "Ann's phone"
    assert list(pipelines) == ["qa"]


def test_two_files_are_served_with_one_set_of_keys(tmp_path):
    for name, block in (("a", "serve: {documents: true}\n"), ("b", ""), ("c", "serve: {}\n")):
        (tmp_path / f"{name}.yaml").write_text(f"encoder: hash\n{block}")
    pipelines, settings = opened([tmp_path / "b.yaml", tmp_path / "a.yaml"])
    assert (list(pipelines), settings.documents) == (["b", "a"], True)
    with pytest.raises(ConfigError, match="different blocks"):
        opened([tmp_path / "a.yaml", tmp_path / "c.yaml"])
    with pytest.raises(ConfigError, match="two pipelines have the name"):
        opened([tmp_path / "a.yaml", tmp_path / "a.yaml"])


def test_settings_survive_a_round_through_yaml(tmp_path):
    with Pipeline(base=tmp_path, encoder="hash", serve={"documents": True, "scope": "a == 1"}) as pipeline:
        assert pipeline.spec.settings()["serve"] == {"documents": True, "scope": "a == 1"}
    with Pipeline(base=tmp_path, encoder="hash") as pipeline:
        assert "serve" not in pipeline.spec.settings()
