"""A store stays open for the questions that read in it, whoever closes or writes meanwhile."""

import asyncio
import threading
from contextlib import aclosing, closing

import pytest

from fovea.pipelines import opened
from fovea.pipelines.pipeline import Pipeline
from fovea.rag.errors import LockedError, StoreError
from fovea.rag.types import Answer, Document

OATH = "The oath is secret."


def made(base, store="embedded"):
    found = Pipeline(base=base, encoder="hash", store={"use": store, "path": "store"})
    found.add([Document("oath", OATH), Document("fees", "The court fee is 80 euros.")])
    return found


def begun(pipeline):
    """A stream after its first piece."""
    pieces = pipeline.stream("What is the oath?")
    assert next(pieces)
    return pieces


def test_closing_waits_for_the_last_piece(tmp_path):
    pipeline = made(tmp_path)
    with closing(begun(pipeline)) as pieces:
        library = pipeline.corpus.library
        pipeline.close()
        *_, answer = pieces
    assert isinstance(answer, Answer)
    assert answer.citations[0].quote == OATH
    with pytest.raises(Exception, match="closed"):
        library.document("oath")
    pipeline.close()


def test_closing_waits_for_the_last_piece_on_an_event_loop_too(tmp_path):
    pipeline = made(tmp_path)

    async def through():
        async with aclosing(pipeline.astream("What is the oath?")) as pieces:
            await anext(pieces)
            library = pipeline.corpus.library
            pipeline.within(None).close()
            return library, [piece async for piece in pieces][-1]

    library, answer = asyncio.run(through())
    assert answer.citations[0].quote == OATH
    with pytest.raises(Exception, match="closed"):
        library.document("oath")


def test_a_stream_that_is_left_gives_the_store_back(tmp_path):
    pipeline = made(tmp_path)
    begun(pipeline).close()

    async def leave():
        async with aclosing(pipeline.astream("What is the oath?")) as pieces:
            await anext(pieces)

    asyncio.run(leave())
    library = pipeline.corpus.library
    pipeline.close()
    with pytest.raises(Exception, match="closed"):
        library.document("oath")


def test_a_document_that_is_removed_on_the_way_is_said_to_be(tmp_path):
    with made(tmp_path) as pipeline, closing(begun(pipeline)) as pieces:
        pipeline.remove("oath")
        with pytest.raises(StoreError, match="'oath' was removed while a question about it was answered"):
            list(pieces)


@pytest.mark.parametrize("store", ["qdrant", "chroma"])
def test_with_a_store_that_is_open_once_questions_and_writers_wait_for_each_other(tmp_path, monkeypatch, store):
    pytest.importorskip({"qdrant": "qdrant_client", "chroma": "chromadb"}[store])
    with made(tmp_path, store) as pipeline:
        done, wrong = threading.Event(), []

        def ask():
            while not done.is_set():
                try:
                    assert pipeline.ask("What is the oath?").citations[0].quote == OATH
                    assert pipeline.retrieve("court fee")
                except Exception as error:
                    wrong.append(error)

        askers = [threading.Thread(target=ask) for _ in range(2)]
        for asker in askers:
            asker.start()
        for number in range(3):
            pipeline.add([Document(f"note {number}", f"Note {number} is green.")])
        done.set()
        for asker in askers:
            asker.join()
        assert not wrong
        monkeypatch.setattr(opened, "WAIT", 0.05)
        with closing(begun(pipeline)) as pieces:
            with pytest.raises(LockedError, match="still being answered"):
                pipeline.add([Document("x", "One more.")])
            *_, answer = pieces
            assert answer.citations
        pipeline.add([Document("x", "One more.")])
