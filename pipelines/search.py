"""From a question to passages, and from passages to an answer: the stages of one query, each with its trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag import stage_cache
from fovea.rag.corpus import Corpus
from fovea.rag.errors import QueryError, StoreError
from fovea.rag.generation import Generator
from fovea.rag.retrieval import Refiner, Retriever
from fovea.rag.trace import Trace
from fovea.rag.types import Answer, Hit, Query


def retrieve(spec: PipelineSpec, query: Query, k: int, corpus: Corpus, trace: Trace) -> list[Hit]:
    """Retrieve with every retriever, fuse, refine, keep `k`."""
    hits = candidates(spec, query, k, corpus, trace)
    return keep(refine(enumerate(spec.refine), query, hits, corpus, trace), k, trace)


def candidates(spec: PipelineSpec, query: Query, k: int, corpus: Corpus, trace: Trace, turn: str = "") -> list[Hit]:
    """What the retrievers find, as one list. `turn` stands before the names of the stages."""
    lists = found_by(spec, query, k, corpus, trace, turn)
    hits = next(iter(lists.values()))
    if len(lists) > 1:
        fuser = spec.fuser
        with trace.stage(f"{turn}fuse {fuser.name}") as stage:
            hits = fuser.fuse(lists, max(k, spec.candidates), query, corpus)
            stage.count(hits=len(hits))
            stage.keep(hits)
    return hits


def found_by(
    spec: PipelineSpec, query: Query, k: int, corpus: Corpus, trace: Trace, turn: str = ""
) -> dict[str, list[Hit]]:
    """What each retriever finds, by its name; `#2` stands behind that of its second use."""
    lists: dict[str, list[Hit]] = {}
    for retriever in spec.retrieve:
        name = _fresh(retriever.name, lists)
        with trace.stage(f"{turn}retrieve {name}") as stage:
            lists[name] = _searched(retriever, query, max(k, spec.candidates), corpus)
            stage.count(hits=len(lists[name]))
            stage.keep(lists[name])
    return lists


def refine(
    chain: Iterable[tuple[int, Refiner]], query: Query, hits: list[Hit], corpus: Corpus, trace: Trace, turn: str = ""
) -> list[Hit]:
    """What the refiners, each with its place in the whole chain, leave."""
    for i, refiner in chain:
        with trace.stage(f"{turn}refine[{i}] {refiner.name}") as stage:
            with _still_there(hits, corpus):
                kept = _refined(refiner, query, hits, corpus)
            ids = {h.chunk.id for h in kept}
            for hit in hits:
                if hit.chunk.id not in ids and hit.chunk.id not in stage.dropped:
                    stage.drop(hit, f"not kept by {refiner.name}")
            stage.count(hits=len(kept), dropped=len(stage.dropped))
            stage.keep(kept)
        hits = kept
    return hits


def keep(hits: list[Hit], k: int, trace: Trace, turn: str = "") -> list[Hit]:
    """The first `k`."""
    with trace.stage(f"{turn}keep") as stage:
        for hit in hits[k:]:
            stage.drop(hit, f"below the first {k}")
        hits = hits[:k]
        stage.count(hits=len(hits))
        stage.keep(hits)
    return hits


@contextmanager
def _still_there(hits: Sequence[Hit], corpus: Corpus) -> Iterator[None]:
    """Raise StoreError where a document of the hits was removed on the way: the question is not to blame."""
    try:
        yield
    except QueryError:
        for name in dict.fromkeys(hit.chunk.document_id for hit in hits):
            try:
                corpus.document(name)
            except QueryError:
                what = f"the document {name!r} was removed while a question about it was answered"
                raise StoreError(what, fix="ask again") from None
        raise


def _searched(retriever: Retriever, query: Query, k: int, corpus: Corpus) -> list[Hit]:
    """The first `k` that are not of the question itself: as many more are asked for as it takes."""
    if not query.itself:
        return _found(retriever, query, k, corpus)
    more = 1
    while True:
        hits = _found(retriever, query, k + more, corpus)
        others = [hit for hit in hits if hit.chunk.document_id != query.itself]
        if len(others) >= k or len(hits) < k + more:
            return others[:k]
        more *= 4


def _found(retriever: Retriever, query: Query, k: int, corpus: Corpus) -> list[Hit]:
    if (cache := stage_cache.current()) is None:
        return retriever.search(query, k, corpus)
    found = partial(retriever.search, query, k, corpus)
    return cache.hits("retrieve", retriever.fingerprint, query, corpus, found, k=k)


def _refined(refiner: Refiner, query: Query, hits: list[Hit], corpus: Corpus) -> list[Hit]:
    if (cache := stage_cache.current()) is None:
        return refiner.refine(query, hits, corpus)
    given = [(hit.chunk.id, hit.score, dict(hit.scores)) for hit in hits]
    found = partial(refiner.refine, query, hits, corpus)
    return cache.hits("refine", refiner.fingerprint, query, corpus, found, given=given)


def _written(generator: Generator, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Iterator[str]:
    if (cache := stage_cache.current()) is None:
        return generator.stream(query, hits, corpus)
    return cache.pieces(generator.fingerprint, query, hits, partial(generator.stream, query, hits, corpus))


def _fresh(name: str, taken: dict[str, list[Hit]]) -> str:
    return next(n for i in range(1, len(taken) + 2) if (n := name if i == 1 else f"{name}#{i}") not in taken)


def answer(
    generator: Generator, query: Query, hits: Sequence[Hit], corpus: Corpus, trace: Trace, turn: str = ""
) -> Iterator[str | Answer]:
    """The pieces of the answer as they come, then the Answer."""
    pieces: list[str] = []
    stream = _written(generator, query, hits, corpus)
    while True:
        with trace.stage(f"{turn}generate {generator.name}") as stage:
            with _still_there(hits, corpus):
                piece = next(stream, None)
            if piece is None:
                break
            stage.count(pieces=1)
        pieces.append(piece)
        yield piece
    yield finish(generator, "".join(pieces), query, hits, corpus, trace, turn)


async def aanswer(
    generator: Generator, query: Query, hits: Sequence[Hit], corpus: Corpus, trace: Trace
) -> AsyncGenerator[str | Answer]:
    """Like `answer`, by the model's own asynchronous client where it has one."""
    pieces: list[str] = []
    stream = aiter(generator.astream(query, hits, corpus))
    try:
        while True:
            with trace.stage(f"generate {generator.name}") as stage:
                with _still_there(hits, corpus):
                    piece = await anext(stream, None)
                if piece is None:
                    break
                stage.count(pieces=1)
            pieces.append(piece)
            yield piece
    finally:  # The model stops when the caller goes.
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()
    yield await asyncio.to_thread(finish, generator, "".join(pieces), query, hits, corpus, trace)


def finish(
    generator: Generator, text: str, query: Query, hits: Sequence[Hit], corpus: Corpus, trace: Trace, turn: str = ""
) -> Answer:
    """The cited answer, with its hits, the trace, and the reasoning that the generator kept out of the text."""
    with trace.stage(f"{turn}cite {generator.name}") as stage, _still_there(hits, corpus):
        found = generator.finish(text, query, hits, corpus)
        unsupported = sum(1 for _ in found.unsupported)
        stage.count(sentences=len(found.sentences), citations=len(found.citations), unsupported=unsupported)
    with trace.stage(f"{turn}generate {generator.name}") as stage:
        heard = str(stage.notes.pop("reasoning", ""))
    return replace(found, hits=tuple(hits), trace=trace, reasoning=found.reasoning or heard)
