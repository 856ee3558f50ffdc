"""What is known of a local model's heads: its tables, found or made, of those that point at evidence in this project's
own prompt and of those that policies of heads ask for.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice

import numpy as np

from fovea.attention_retrieval.attention import Attention
from fovea.attention_retrieval.heads import table
from fovea.attention_retrieval.heads.table import HeadTable
from fovea.attention_retrieval.probes.far import far_scores
from fovea.attention_retrieval.probes.influence import head_influences
from fovea.attention_retrieval.probes.needles import Needle, needles
from fovea.attention_retrieval.probes.pointing import Probe, pointing_scores
from fovea.attention_retrieval.probes.repeats import repeat_scores
from fovea.attention_retrieval.probes.retrieval_heads import retrieval_scores
from fovea.attention_retrieval.rotation import Rotation
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
SIZES: dict[str, dict[str, int]] = {
    "evidence": {},
    "copy": {"tokens": 1024, "seed": 0},
    "repeats": {"probes": 2, "period": 256, "copies": 4, "seed": 0},
    "duo": {"texts": 8, "tokens": 500},
    "influence": {"texts": 1, "tokens": 128},
}
"""How large the probes of each kind are, beside their texts."""
HEADS, NEAR = 4, 0.75
"""How many heads are looked through, at most, and how good each is beside the best: those that do not point blur what
the others show."""


def made(lm: CausalLM, model: str, kind: str = "evidence") -> HeadTable:
    """A model's table: by `PROBES` prompts, each a prefill of some 500 tokens, or a few longer ones; of influence, by a
    prefill of 128 tokens a head.
    """
    scores = _scores(lm, kind)
    digits = 6 if kind == "influence" else 4
    rounded = {rows: each.round(digits).tolist() for rows, each in scores.items()}
    return HeadTable(table.identity(model), kind, digest(kind), rounded)


def _scores(lm: CausalLM, kind: str) -> dict[str, np.ndarray]:
    texts, sizes = [" ".join(needle.passages) for needle in _needles()], SIZES[kind]
    if kind == "evidence":
        return pointing_scores(lm, (probe(lm, needle) for needle in _needles()), PROBES)
    if kind == "copy":
        return {kind: retrieval_scores(lm, [s for text in texts for s in _sentences(text)], probes=PROBES, **sizes)}
    if kind == "repeats":
        return repeat_scores(lm, **sizes)
    tokens, texts = sizes["tokens"], texts[: sizes["texts"]]
    return {kind: (far_scores if kind == "duo" else head_influences)(lm, texts, tokens=tokens)}


def known(lm: CausalLM, model: str, kind: str = "evidence") -> HeadTable:
    """The table, made and kept where there is none yet."""
    if (there := found(model, kind)) is not None:
        return there
    new = made(lm, model, kind)
    try:
        table.keep(new)
    except OSError as error:
        trace.warn(f"the table of heads cannot be kept, and is made again at the next use: {error}")
    return new


def found(model: str, kind: str) -> HeadTable | None:
    """The table, where there is one already."""
    return table.find(model, kind, digest(kind))


def with_tables(attention: Attention, lm: CausalLM, model: str) -> Attention:
    """`attention` with the heads and the scores of the model's tables, and its rotation, where it asks for them."""
    attention.check_model(model, table.identity)
    if attention.wants_heads:
        attention = attention.with_heads(known(lm, model).strongest("answer", HEADS, near=NEAR))
    if attention.wants_table:
        attention = attention.with_table(known(lm, model, attention.wants_table).scores)
    if attention.wants_rotation:
        attention = attention.with_rotation(Rotation.of(lm.model))
    return attention


@cache
def digest(kind: str) -> str:
    """What the probes of a kind are, texts and sizes: another digest, another table."""
    said = [[*messages(Query(n.question), _hits(n)), (n.answer, str(n.span))] for n in _needles()]
    return fingerprint([kind, said, *SIZES[kind].items()])


def probe(lm: CausalLM, needle: Needle) -> Probe:
    """A needle in a prompt, and its answer behind it, as the tokens of this model."""
    layout = Layout.of(lm, Query(needle.question), _hits(needle))
    spans: list[tuple[int, int]] = []
    gold = 0
    for n, (text, start) in enumerate(zip(needle.passages, layout.passages)):
        if start is None:
            raise ModelError(f"the chat template of {lm.name} does not keep passages as they are")
        for span in sentences(text):
            gold = len(spans) if n == needle.passage and span.start == needle.span[0] else gold
            tokens = layout.tokens(start + span.start, start + span.end)
            spans.append((tokens.start, tokens.stop))
    said = list(lm.tokenizer(f"{needle.answer}.", add_special_tokens=False)["input_ids"])
    prompt = len(layout.ids)
    rows = {"question": layout.tokens(*layout.question), "answer": range(prompt, prompt + len(said))}
    return Probe([*layout.ids, *said], rows, layout.neutral(lm), spans, gold)


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
