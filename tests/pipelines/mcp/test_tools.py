"""The tools of a pipeline, asked by the SDK's client in this process."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.pipelines.pipeline import Pipeline
from fovea.rag.errors import QueryError
from fovea.rag.types import Document

mcp = pytest.importorskip("mcp")

from fovea.pipelines.mcp.scope import Scope  # noqa: E402
from fovea.pipelines.mcp.server import PipelineServer  # noqa: E402
from fovea.pipelines.mcp.tools import Limits, Tools  # noqa: E402

TEAMS = ("red", "blue", "green")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """Twelve documents of three teams, with hostile names and texts among them."""
    base = tmp_path_factory.mktemp("mcp")
    with Pipeline(
        base=base, name="teams", description="What the teams know.", encoder="hash",
        segment={"use": "sentence", "max_tokens": 12},
    ) as made:  # fmt: skip
        names = ["a b#1/ü?.txt", "../up.txt", "/etc/passwd", *(f"{n:02}.txt" for n in range(9))]
        made.add(
            Document(
                name, f"Team {TEAMS[n % 3]} keeps secret {n}. \ud800 It tells nobody.", metadata={"team": TEAMS[n % 3]}
            )
            for n, name in enumerate(names)
        )
        yield made


@asynccontextmanager
async def served(pipeline, where="", **options):
    async with mcp.Client(PipelineServer(Tools(Scope(pipeline, where), **options))) as client:
        yield client


def call(pipeline, name, arguments, where="", **options):
    """One call; the data of the result and its text."""

    async def once():
        async with served(pipeline, where, **options) as client:
            return await client.call_tool(name, arguments)

    done = anyio.run(once)
    return done.structured_content, done.content[0].text, done.is_error


def test_every_span_is_the_documents_text(pipeline):
    found, text, _ = call(pipeline, "search", {"question": "secret 3", "k": 12})
    assert len(found["passages"]) == 12
    for passage in found["passages"]:
        document = pipeline.corpus.document(passage["document"])
        assert passage["text"] == document.text[passage["start"] : passage["end"]].replace("\ud800", "\ufffd")
        assert passage["text"] in text
    answer, text, _ = call(pipeline, "ask", {"question": "Which team keeps secret 3?"})
    assert answer["citations"]
    for quote in answer["citations"]:
        assert quote["quote"] in pipeline.corpus.document(quote["document"]).text
        assert f"[{quote['n']}]" in text


def test_a_long_list_comes_in_pages(pipeline):
    seen, after = [], ""
    while after is not None:
        page, _, _ = call(pipeline, "list_documents", {"limit": 5, "after": after})
        seen += [row["document"] for row in page["documents"]]
        after = page["next"]
    assert seen == sorted(name for name, _ in pipeline.corpus.document_sources())
    assert len(seen) == 12
    page, _, _ = call(pipeline, "list_documents", {"query": "ETC"})
    assert [row["document"] for row in page["documents"]] == ["/etc/passwd"]


def test_documents_are_resources(pipeline):
    async def read() -> None:
        async with served(pipeline) as client:
            listed = (await client.list_resources()).resources
            assert len(listed) == 12
            for resource in listed:
                [content] = (await client.read_resource(resource.uri)).contents
                text = pipeline.corpus.document(resource.name).text
                assert content.text == text.replace("\ud800", "\ufffd")
                [part] = (await client.read_resource(f"{resource.uri}?start=5&end=9")).contents
                assert part.text == text[5:9]
            with pytest.raises(mcp.MCPError, match="there is no document 'none'"):
                await client.read_resource("fovea://document/none")
        async with served(pipeline, limits=Limits(resource=10)) as client:
            with pytest.raises(mcp.MCPError, match="one reading 10 at most"):
                await client.read_resource(listed[0].uri)

    anyio.run(read)


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("search", {"question": "x", "k": 51}, "allowed are 1 to 50"),
        ("search", {"question": "x" * 4001}, "the most is 4,000"),
        ("search", {"question": "  "}, "the question is empty"),
        ("search", {"question": "x", "wher": "team == 'red'"}, "did you mean 'where'?"),
        ("search", {"question": "x", "where": "team = 'red'"}, "cannot read the filter"),
        ("search", {"question": "x", "where": "taem == 'red'"}, "did you mean 'team'?"),
        ("search", {"question": "x", "k": "many"}, "k: Input should be a valid integer"),
        ("search", {}, "question: Field required"),
        ("ask", {"question": "x", "as_of": "soon"}, "soon"),
        ("read_span", {"document": "00.txt", "start": 99}, "not within"),
        ("read_span", {"document": "00.txt", "end": 30_000}, "20,000 at most"),
        ("read_span", {"document": "0.txt"}, "there is no document '0.txt'"),
        ("list_documents", {"limit": 201}, "200 at most"),
        ("serach", {}, "did you mean 'search'?"),
        ("ingest", {"paths": ["x"]}, "there is no tool 'ingest'"),
    ],
)
def test_an_error_says_what_to_do_and_no_more(pipeline, name, arguments, says):
    found, text, failed = call(pipeline, name, arguments)
    assert failed
    assert says in text
    assert found is None
    assert "Traceback" not in text
    assert str(pipeline.base) not in text


def test_a_store_that_is_not_there_is_said_without_its_folder(tmp_path):
    with Pipeline(base=tmp_path, encoder="hash") as empty:
        for name, arguments in (("search", {"question": "x"}), ("status", {}), ("list_documents", {})):
            _, text, failed = call(empty, name, arguments)
            assert failed
            assert "ingest" in text
            assert str(tmp_path) not in text


def test_texts_that_look_like_json_stay_texts(pipeline):
    """The SDK reads a text given for an optional argument as JSON, unless the argument is a text and nothing else."""
    for text in ("null", "[1]", '{"a": 1}'):
        found, _, failed = call(pipeline, "list_documents", {"query": text})
        assert not failed
        assert found["documents"] == []


filters = st.recursive(
    st.sampled_from([*(f"team == '{t}'" for t in TEAMS), "exists(team)", "not exists(team)", "source != ''"]),
    lambda part: st.one_of(
        st.builds("({} or {})".format, part, part),
        st.builds("({} and {})".format, part, part),
        st.builds("not ({})".format, part),
    ),
    max_leaves=6,
)


@settings(max_examples=12)
@given(mine=st.sampled_from(TEAMS), where=filters, other=st.integers(0, 11))
def test_no_call_sees_beyond_the_scope(pipeline, mine, where, other):
    async def ask_all() -> None:
        inside = {d.id for d in pipeline.corpus.library.documents() if d.metadata["team"] == mine}
        async with served(pipeline, f"team == '{mine}'") as client:
            question = {"question": f"secret {other}", "k": 12, "where": where}
            found = (await client.call_tool("search", question)).structured_content
            assert {passage["document"] for passage in found["passages"]} <= inside
            answer = (await client.call_tool("ask", question)).structured_content
            assert {quote["document"] for quote in answer["citations"]} <= inside
            listed = (await client.call_tool("list_documents", {})).structured_content
            assert {row["document"] for row in listed["documents"]} == inside
            assert {resource.name for resource in (await client.list_resources()).resources} == inside
            assert (await client.call_tool("status", {})).structured_content["documents"] == len(inside)
            name = sorted(name for name, _ in pipeline.corpus.document_sources())[other]
            read = await client.call_tool("read_span", {"document": name})
            assert read.is_error == (name not in inside)
            if read.is_error:  # As for a document that is not there.
                missing = await client.call_tool("read_span", {"document": "none"})
                shown = repr("[...]" if name.startswith("/") else name)  # No path of this machine, were it one.
                assert missing.content[0].text == read.content[0].text.replace(shown, "'none'")

    anyio.run(ask_all)


def test_a_scope_that_cannot_bound_what_is_seen_is_refused(pipeline):
    with pytest.raises(QueryError, match="whole documents"):
        Scope(pipeline, "page == 3 and team == 'red'")
    with pytest.raises(QueryError, match="no document has the field 'taem'"):
        Scope(pipeline, "taem == 'red'")


def test_writing_is_offered_only_where_it_is_allowed(docs, make):
    pipeline = make(store={"use": "embedded", "path": "store"})

    async def write() -> None:
        async with served(pipeline, writable=True) as client:
            tools = {tool.name: tool.annotations.read_only_hint for tool in (await client.list_tools()).tools}
            assert [name for name, reads in tools.items() if not reads] == ["ingest", "remove"]
            done = await client.call_tool("ingest", {"paths": ["docs"]})
            assert sorted(done.structured_content["added"]) == ["docs/moon.txt", "docs/sub/rivers.txt", "docs/tea.md"]
            (docs / "link").symlink_to(docs.parent.parent)
            for path in ("..", "/etc", "docs/../../x", str(docs.parent.parent), "docs/link", "docs/li*/*"):
                refused = await client.call_tool("ingest", {"paths": ["docs", path]})
                assert "outside of the pipeline's folder" in refused.content[0].text
            (docs / "link").unlink()
            done = await client.call_tool("remove", {"sources": ["docs/sub"]})
            assert done.structured_content == {"sources": ["docs/sub/rivers.txt"]}
            assert (await client.call_tool("status", {})).structured_content["documents"] == 2
            wrong = await client.call_tool("remove", {"sources": ["docs/tee.md"]})
            assert wrong.is_error
            assert "docs/tea.md" in wrong.content[0].text

    anyio.run(write)


def test_progress_is_told_and_a_cancelled_call_stops_the_model(pipeline, monkeypatch):
    """An endless answer: pieces are reported as they come, and its thread ends when the caller goes."""
    closed = threading.Event()

    def endless(*_):
        try:
            while True:
                yield "word "
        finally:
            closed.set()

    monkeypatch.setattr(type(pipeline.spec.generate), "stream", endless)

    async def talk() -> None:
        told = []

        async def progress(done, total, message):
            told.append(done)

        async with served(pipeline) as client:
            with anyio.move_on_after(1):
                await client.call_tool("ask", {"question": "secret 3"}, progress_callback=progress)
            assert len(told) > 3
            assert told == sorted(told)
            assert await asyncio.to_thread(closed.wait, 5)

    anyio.run(talk)
