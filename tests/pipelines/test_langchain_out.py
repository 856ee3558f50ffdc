"""A pipeline as LangChain's retriever and as a Runnable, used the way LangChain code uses them."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed")
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from fovea.pipelines.langchain import as_langchain, as_runnable
from fovea.rag.errors import QueryError

QUESTION = "How many countries does the Danube flow through?"


@pytest.fixture
def pipeline(make, docs):
    with make() as made:
        made.ingest([docs])
        yield made


def test_it_is_a_retriever(pipeline):
    found = pipeline.as_langchain(k=2).invoke(QUESTION)
    hits = pipeline.retrieve(QUESTION, 2)
    assert [d.page_content for d in found] == [h.chunk.text for h in hits]
    for document, hit in zip(found, hits):
        chunk = hit.chunk
        assert document.id == document.metadata["chunk_id"] == chunk.id
        assert document.metadata["document_id"] == chunk.document_id
        assert (document.metadata["start"], document.metadata["end"]) == (chunk.start, chunk.end)
        assert document.metadata["score"] == hit.score
        assert document.metadata["source"] == chunk.source
        assert document.metadata["page"] is None
        assert set(chunk.metadata) <= set(document.metadata)


def test_async_and_batch_find_the_same(pipeline):
    retriever = as_langchain(pipeline, k=2)
    once = retriever.invoke(QUESTION)
    assert asyncio.run(retriever.ainvoke(QUESTION)) == once
    assert retriever.batch([QUESTION, QUESTION]) == [once, once]


def test_without_k_the_pipelines_own_number_holds(make, docs):
    with make(k=1) as pipeline:
        pipeline.ingest([docs])
        assert len(as_langchain(pipeline).invoke(QUESTION)) == 1


def test_it_stands_in_a_chain(pipeline):
    prompt = ChatPromptTemplate.from_template("{context}\n\n{question}")
    joined = RunnableLambda(lambda found: "\n".join(d.page_content for d in found))
    said = []

    def listen(value):
        said.append(value.to_string())
        return value

    chain = (
        {"context": pipeline.as_langchain(k=3) | joined, "question": RunnablePassthrough()}
        | prompt
        | RunnableLambda(listen)
        | FakeListChatModel(responses=["ten"])
        | StrOutputParser()
    )
    assert chain.invoke(QUESTION) == "ten"
    assert "The Danube flows through ten countries." in said[0]


def told(answer: dict) -> tuple:
    return answer["text"], answer["sentences"], answer["citations"]


def test_it_answers_as_a_runnable(pipeline):
    runnable = as_runnable(pipeline)
    whole = pipeline.ask(QUESTION).to_dict()
    assert told(runnable.invoke(QUESTION)) == told(whole)
    assert told(runnable.invoke({"question": QUESTION})) == told(whole)
    assert told(asyncio.run(runnable.ainvoke(QUESTION))) == told(whole)
    assert [told(a) for a in runnable.batch([QUESTION])] == [told(whole)]
    assert len(runnable.invoke({"question": QUESTION, "k": 1})["hits"]) == 1
    assert (runnable | RunnableLambda(lambda answer: answer["text"])).invoke(QUESTION) == whole["text"]


def test_it_streams_pieces_and_then_the_answer(pipeline):
    runnable, whole = as_runnable(pipeline), pipeline.ask(QUESTION).to_dict()

    async def collect() -> list[dict]:
        return [piece async for piece in runnable.astream({"question": QUESTION})]

    for pieces in (list(runnable.stream(QUESTION)), asyncio.run(collect())):
        assert "".join(p["delta"] for p in pieces[:-1]) == whole["text"]
        assert told(pieces[-1]) == told(whole)
        assert told(sum(pieces[1:], pieces[0])) == told(whole)


def test_markers_of_a_model_show_in_the_pieces_and_not_in_the_text(make, docs):
    with make(generate=FakeListChatModel(responses=["The Danube flows through ten countries [1]."])) as pipeline:
        pipeline.ingest([docs])
        *pieces, answer = as_runnable(pipeline).stream(QUESTION)
        assert "".join(p["delta"] for p in pieces).endswith("[1].")
        assert answer["text"] == "The Danube flows through ten countries."


@pytest.mark.parametrize("input", [{"query": "x"}, {"question": 3}, {}, 5, {"question": "x", "depth": 1}])
def test_other_inputs_are_refused(pipeline, input):
    with pytest.raises(QueryError):
        as_runnable(pipeline).invoke(input)


def test_callbacks_see_the_runs(pipeline):
    from langchain_core.callbacks import BaseCallbackHandler

    class Seen(BaseCallbackHandler):
        def __init__(self):
            self.events = []

        def on_retriever_end(self, documents, **kwargs):
            self.events.append(("documents", len(documents)))

        def on_chain_end(self, outputs, **kwargs):
            self.events.append(("answer", outputs["text"]))

    seen = Seen()
    pipeline.as_langchain(k=2).invoke(QUESTION, config={"callbacks": [seen]})
    as_runnable(pipeline).invoke(QUESTION, config={"callbacks": [seen]})
    assert [name for name, _ in seen.events] == ["documents", "answer"]


def test_a_pipeline_without_langchain_does_not_load_it():
    code = (
        "import sys, fovea.pipelines.pipeline, fovea.rag.registry as r\n"
        "r.names('generator')\n"
        "print(sorted(m for m in ('langchain_core', 'langchain', 'torch', 'transformers') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_langchain_the_extra_is_named():
    code = (
        "import sys\n"
        "sys.modules['langchain_core'] = None\n"
        "from fovea.rag.errors import MissingExtra\n"
        "try:\n    import fovea.pipelines.langchain\nexcept MissingExtra as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "fovea-rag[langchain]"' in done.stdout
