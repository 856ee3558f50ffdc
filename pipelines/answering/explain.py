"""Why each chunk came back, and which stage kept or dropped it: the trace of one query, read chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fovea.rag.look import Look
from fovea.rag.printable import counted, printable, shorten
from fovea.rag.trace import Trace


@dataclass(frozen=True, slots=True)
class Fate:
    """One chunk's way through the stages: `(stage, rank from 1, score)`, and where and why it ended, if it did."""

    id: str
    where: str
    path: tuple[tuple[str, int, float], ...]
    dropped_by: str = ""
    reason: str = ""
    text: str = ""

    def __str__(self) -> str:
        steps = ", ".join(f"{stage} #{rank} ({score:.4g})" for stage, rank, score in self.path)
        end = f"; dropped by {self.dropped_by}: {self.reason}" if self.dropped_by else ""
        return printable(f"{self.where}: {steps}{end}")


def fates(trace: Trace) -> list[Fate]:
    """Every chunk any stage saw, the kept ones first, each group by its best rank."""
    ways: dict[str, list[tuple[str, int, float]]] = {}
    names: dict[str, str] = {}
    ends: dict[str, tuple[str, str]] = {}
    for stage in trace.stages:
        for rank, (chunk, score, where) in enumerate(stage.hits or (), 1):
            ways.setdefault(chunk, []).append((stage.name, rank, score))
            names[chunk] = where
        ends.update({chunk: (stage.name, why) for chunk, why in stage.dropped.items()})
    last = next((s for s in reversed(trace.stages) if s.hits is not None), None)
    kept = {chunk for chunk, _, _ in (last.hits or ())} if last else set()
    texts = {hit.chunk.id: hit.chunk.text for stage in trace.stages for hit in stage.kept or ()}
    found = [
        Fate(chunk, names[chunk], tuple(way), *(("", "") if chunk in kept else ends.get(chunk, _lost(way))),
             text=texts[chunk])
        for chunk, way in ways.items()
    ]  # fmt: skip
    return sorted(found, key=lambda f: (bool(f.dropped_by), f.path[-1][1] if not f.dropped_by else _best(f)))


def fate_lines(trace: Trace) -> Iterator[str]:
    """Every chunk's way, and below it the chunk's text."""
    for fate in fates(trace):
        yield str(fate)
        yield from (f"    {line}".rstrip() for line in printable(fate.text, keep="\n\t").splitlines())


def look_lines(looks: Sequence[Look]) -> Iterator[str]:
    """Where the model looked: for the question and each sentence of the answer the sentences, then the words."""
    if looks:
        yield "\nwhere the model looked (share of its attention to the passages; no proof that they were used):"
    for look in looks:
        yield "  " + ("the question" if look.start is None else f"“{shorten(look.said, 80)}”")
        for place in look.sentences:
            yield f"    {place.score:.2f}  {printable(place.where)}  “{shorten(place.quote, 100)}”"
        if words := ", ".join(f"“{shorten(place.quote, 60)}” {place.score:.2f}" for place in look.phrases):
            yield f"    words: {words}"


def _lost(way: list[tuple[str, int, float]]) -> tuple[str, str]:
    return f"the stage after {way[-1][0]}", "not among its best"


def _best(fate: Fate) -> int:
    return min(rank for _, rank, _ in fate.path)


def _said(note: object) -> str:
    return ", ".join(f"{k} {v}" for k, v in note.items()) if isinstance(note, Mapping) else str(note)


def stage_lines(trace: Trace, *, quiet: bool = False) -> Iterator[str]:
    """What each stage did and took, a line each, with its warnings below it unless `quiet`."""
    for stage in trace.stages:
        counts = ", ".join(counted(n, what) for what, n in stage.counts.items())
        notes = ", ".join(f"{k}: {_said(v)}" for k, v in stage.notes.items())
        did = printable("; ".join(filter(None, (counts, notes))))
        yield f"{stage.name:<28}{stage.seconds * 1000:>10.1f} ms  {did}".rstrip()
        for message, times in stage.warnings.items() if not quiet else ():
            yield f"  warning: {printable(message)}" + (f" ({times} times)" if times > 1 else "")
