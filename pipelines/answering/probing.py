"""The heads of a local model that point at evidence in this project's own prompt: its table, found or made."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice

from fovea.attention_retrieval.heads import table
from fovea.attention_retrieval.heads.needles import Needle, needles
from fovea.attention_retrieval.heads.pointing import Probe, pointing_scores
from fovea.attention_retrieval.heads.retrieval_heads import retrieval_scores
from fovea.attention_retrieval.heads.table import HeadTable, Kind
from fovea.pipelines.answering.layout import Layout
from fovea.pipelines.answering.prompt import messages
from fovea.rag import trace
from fovea.rag.causal_lm import CausalLM
from fovea.rag.component import fingerprint
from fovea.rag.errors import ModelError
from fovea.rag.sentences import sentences
from fovea.rag.types import Chunk, Hit, Query

PROBES = 24
"""Prompts that a table is made by."""
HEADS = 4
"""Heads that are looked through: with one, its own habits show; with many, those that do not point blur it."""


def made(lm: CausalLM, model: str, kind: Kind = "question") -> HeadTable:
    """A model's table by `PROBES` prompts, each a prefill of some 800 tokens."""
    if kind == "question":
        scores = pointing_scores(lm, (probe(lm, needle) for needle in _needles()), PROBES)
    else:
        texts = [s for needle in _needles() for passage in needle.passages for s in _sentences(passage)]
        scores = retrieval_scores(lm, texts, probes=PROBES)
    rows = tuple(tuple(round(float(score), 4) for score in row) for row in scores)
    return HeadTable(table.identity(model), kind, digest(kind), rows)


def known(lm: CausalLM, model: str, kind: Kind = "question") -> HeadTable:
    """The table, made and kept where there is none yet."""
    if (found := table.find(model, kind, digest(kind))) is not None:
        return found
    new = made(lm, model, kind)
    try:
        table.keep(new)
    except OSError as error:
        trace.warn(f"the table of heads cannot be kept, and is made again at the next use: {error}")
    return new


@cache
def digest(kind: Kind) -> str:
    """What the probes of a kind are: another digest, another table."""
    said = [[*messages(Query(n.question), _hits(n)), (n.answer, str(n.span))] for n in _needles()]
    return fingerprint([kind, said])


def probe(lm: CausalLM, needle: Needle) -> Probe:
    """A needle in a prompt, as the tokens of this model."""
    layout = Layout.of(lm, Query(needle.question), _hits(needle))
    spans, gold = [], 0
    for n, (text, start) in enumerate(zip(needle.passages, layout.passages)):
        if start is None:
            raise ModelError(f"the chat template of {lm.name} does not keep passages as they are")
        for span in sentences(text):
            gold = len(spans) if n == needle.passage and span.start == needle.span[0] else gold
            tokens = layout.tokens(start + span.start, start + span.end)
            spans.append((tokens.start, tokens.stop))
    return Probe(layout.ids, layout.tokens(*layout.question), spans, gold)


def _needles() -> Iterator[Needle]:
    return islice(needles(), PROBES)


def _hits(needle: Needle) -> list[Hit]:
    texts = enumerate(needle.passages, 1)
    return [
        Hit(Chunk(document_id=str(n), start=0, end=len(text), text=text, source=f"{n}.txt"), score=1 / n)
        for n, text in texts
    ]


def _sentences(text: str) -> list[str]:
    return [text[span.start : span.end] for span in sentences(text)]
