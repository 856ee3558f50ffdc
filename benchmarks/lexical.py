"""BM25 of natural questions: the library beside SQLite's FTS5, bm25s and tantivy, over the same terms.

    python benchmarks/lexical.py --data FOLDER [--chunks 100000] [--queries 300] [--cpu] [--json]

Chunks are pieces of 350 characters of every text under `--data`, repeated with numbers where there are too few;
questions are those of its `queries.jsonl` and `questions.jsonl`, of five words at least, or else words of chunks. Each
question is put to every system before the next one comes, in two rounds: in the first, words are new to the library,
which reads them from its file; in the second it remembers them. Its time includes cutting the question into terms; the
peers are given theirs. `overlap@10` is the share of the library's ten best chunks that a system has among its own, for
bm25s as `robertson`, the formula of FTS5 but for words that half of the chunks hold; `same list` the share of questions
to which FTS5 gives the same ten chunks with scores equal to the last bit. Peers that are not installed are said to be
missing. `--cpu` takes processor time of all threads, for a machine that has other work.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from fovea.pipelines.evaluation.measurements import Row, show
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.terms import index_terms, query_terms
from fovea.retrievers.library import lexicon
from fovea.retrievers.library.library import Library
from fovea.retrievers.library.opening import FILE

DATA = Path(__file__).resolve().parents[1] / "examples" / "library"
LENGTH, K1, B = 350, 1.2, 0.75
SELDOM = 10
"""FTS5, which takes a third of a second, is asked one question in so many."""
Terms = Sequence[str]
Found = list[tuple[int, float]]
Search = Callable[[str, Terms, int], Found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="a folder with .txt, .md, .json and .jsonl files")
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--source", type=int, default=500, help="chunks written in one transaction")
    parser.add_argument("--cpu", action="store_true", help="processor time in place of wall time")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    print(show(list(measure(args)), as_json=args.json))


def measure(args: argparse.Namespace) -> Iterator[Row]:
    clock = time.process_time if args.cpu else time.perf_counter
    settings = {"data": args.data.name, "source": args.source, "clock": "processor" if args.cpu else "wall"}

    def row(method: str, metric: str, value: float, n: int | None = None) -> Row:
        return Row("lexical", f"{args.chunks:,} chunks", method, metric, value, n=n, settings=settings)

    chunks, asked = pieces(args.data, args.chunks), questions(args.data, args.queries)
    began = clock()
    known: dict[str, str] = {}
    terms = [[known.setdefault(term, term) for term in index_terms(chunk)] for chunk in chunks]
    yield row("terms alone", "index s", clock() - began)
    yield row("terms alone", "a chunk", sum(map(len, terms)) / len(terms))
    asked = asked or made_up(chunks, args.queries)
    with tempfile.TemporaryDirectory() as folder:
        systems: dict[str, Search] = {}
        for name, (package, make) in MAKERS.items():
            if package and find_spec(package) is None:
                yield row(f"{name}: not installed", "index s", float("nan"))
                continue
            began = clock()
            systems[name] = make(Path(folder), terms, args.source)
            yield row(name, "index s", clock() - began)
            if (file := Path(folder) / name / FILE).exists():
                yield row(name, "bytes a chunk", file.stat().st_size / len(chunks))
        del terms, known
        for k in (10, 100):
            for method, metric, value in times(systems, asked, k, clock):
                yield row(method, metric, value, len(asked))
        for method, metric, value in agreement(systems, asked):
            yield row(method, metric, value, len(asked))


def times(
    systems: dict[str, Search], asked: Sequence[str], k: int, clock: Callable[[], float]
) -> Iterator[tuple[str, str, float]]:
    """The quantiles of milliseconds of each system, by round."""
    rounds = ("new words", "again") if k == 10 else ("again",)
    for name in rounds:
        spent: dict[str, list[float]] = {system: [] for system in systems}
        for i, question in enumerate(asked):
            cut = query_terms(question)
            for system, search in systems.items():
                if system == "FTS5" and i % SELDOM:
                    continue
                began = clock()
                search(question, cut, k)
                spent[system].append(1000 * (clock() - began))
        for system, found in spent.items():
            yield f"{system}: {k} best, {name}", "p50 ms", float(np.median(found))
            yield f"{system}: {k} best, {name}", "p95 ms", float(np.quantile(found, 0.95))


def agreement(systems: dict[str, Search], asked: Sequence[str]) -> Iterator[tuple[str, str, float]]:
    every = [systems["library"](question, query_terms(question), 10) for question in asked]
    for name, search in systems.items():
        step = SELDOM if name == "FTS5" else 1
        found = [search(question, query_terms(question), 10) for question in asked[::step]]
        right = every[::step]
        if name == "FTS5":
            yield name, "same list", float(np.mean([a == b for a, b in zip(found, right)]))
        shares = [len(nos(a) & nos(b)) / max(1, len(b)) for a, b in zip(found, right)]
        yield name, "overlap@10", float(np.mean(shares))


def nos(found: Found) -> set[int]:
    return {no for no, _ in found}


def parts(terms: Sequence[Terms], source: int) -> Iterator[list[tuple[int, Terms]]]:
    """The terms of chunks with their numbers, as many as are written at once."""
    rows = enumerate(terms, 1)
    while some := list(islice(rows, source)):
        yield some


def ours(folder: Path, terms: Sequence[Terms], source: int) -> Search:
    library = Library.open(folder / "library", encoder=HashEncoder(size=8))
    for some in parts(terms, source):
        with library.transaction():
            lexicon.index(library._db, some)
    library.prune()  # What is in the -wal file goes into the file.
    return lambda question, cut, k: library.match(question, k)


def fts5(folder: Path, terms: Sequence[Terms], source: int) -> Search:
    (folder / "FTS5").mkdir()
    db = sqlite3.connect(folder / "FTS5" / FILE, isolation_level=None)
    for setting in ("page_size = 8192", "journal_mode = WAL", "synchronous = FULL", "cache_size = -32768"):
        db.execute(f"PRAGMA {setting}")
    db.execute("CREATE VIRTUAL TABLE t USING fts5(words, content='', tokenize='ascii')")
    for some in parts(terms, source):
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO t (rowid, words) VALUES (?, ?)", ((no, " ".join(words)) for no, words in some))
        db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    sql = "SELECT rowid, -rank FROM t WHERE t MATCH ? ORDER BY rank, rowid LIMIT ?"
    return lambda question, cut, k: db.execute(sql, (" OR ".join(f'"{term}"' for term in cut), k)).fetchall()


def bm25s_with(backend: str) -> Callable[[Path, Sequence[Terms], int], Search]:
    def make(folder: Path, terms: Sequence[Terms], source: int) -> Search:
        import bm25s

        index = bm25s.BM25(method="robertson", k1=K1, b=B, backend=backend)
        index.index([list(words) for words in terms], show_progress=False)

        def search(question: str, cut: Terms, k: int) -> Found:
            there = [term for term in cut if term in index.vocab_dict]
            found, scores = index.retrieve([there], k=k, show_progress=False)
            return [(int(i) + 1, float(score)) for i, score in zip(found[0], scores[0]) if score > 0]

        search("", next(iter(terms)), 10)  # What compiles does so now.
        return search

    return make


def tantivy_index(folder: Path, terms: Sequence[Terms], source: int) -> Search:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("words", tokenizer_name="whitespace", index_option="freq")
    schema = builder.build()
    (folder / "tantivy").mkdir()
    index = tantivy.Index(schema, path=str(folder / "tantivy"))
    writer = index.writer(heap_size=200_000_000, num_threads=1)
    for words in terms:
        writer.add_document(tantivy.Document(words=" ".join(words)))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()
    assert searcher.num_segments == 1, "a document's address is its number"

    def search(question: str, cut: Terms, k: int) -> Found:
        some = [(tantivy.Occur.Should, tantivy.Query.term_query(schema, "words", w, index_option="freq")) for w in cut]
        hits = searcher.search(tantivy.Query.boolean_query(some), k, count=False).hits
        return [(address.doc + 1, score) for score, address in hits]

    return search


MAKERS: dict[str, tuple[str, Callable[[Path, Sequence[Terms], int], Search]]] = {
    "library": ("", ours),
    "FTS5": ("", fts5),
    "bm25s": ("bm25s", bm25s_with("numpy")),
    "bm25s, numba": ("numba", bm25s_with("numba")),
    "tantivy": ("tantivy", tantivy_index),
}


def pieces(folder: Path, n: int) -> list[str]:
    whole = " ".join(" ".join(text.split()) for text in texts(folder))
    found = [whole[i : i + LENGTH] for i in range(0, len(whole) - LENGTH, LENGTH)]
    return [piece if i < len(found) else f"{i}. {piece}" for i, piece in enumerate(islice(cycle(found), n))]


def texts(folder: Path) -> Iterator[str]:
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".txt", ".md", ".ref", ".json", ".jsonl")):
        content = path.read_text("utf-8", "replace")
        if path.suffix == ".json":
            yield from prose(json.loads(content))
        elif path.suffix == ".jsonl":
            for line in content.splitlines():
                with suppress(ValueError):  # A line that is no JSON.
                    yield from prose(json.loads(line))
        else:
            yield content


def prose(value: Any) -> Iterator[str]:
    """The longer strings in JSON."""
    if isinstance(value, str) and len(value) > 80:
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from prose(inner)


def questions(folder: Path, n: int) -> list[str]:
    found = []
    for path in sorted([*folder.rglob("queries.jsonl"), *folder.rglob("questions.jsonl")]):
        for line in path.read_text("utf-8").splitlines():
            one = json.loads(line)
            found.append(one.get("text") or one.get("question") or "")
    found = [question for question in found if len(question.split()) >= 5]
    return random.Random(5).sample(found, min(n, len(found)))


def made_up(chunks: Sequence[str], n: int) -> list[str]:
    return [" ".join(chunk.split()[3:13]) for chunk in random.Random(5).sample(chunks, min(n, len(chunks)))]


if __name__ == "__main__":
    main()
