"""An answer as one HTML page that needs nothing else: no script, no network, no other file.

Sentences lead to their quotes, quotes stand in their context, below them the passages and what each stage did. Every
text goes through `markup.text`, and the page's own policy refuses scripts and everything from elsewhere.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from importlib.resources import files

from fovea.pipelines.studio.exported.answer_file import AnswerFile, Cited, Passage, Step
from fovea.pipelines.sweep.report.page.markup import cut, figures, heads, section, table, text
from fovea.rag.documents import place
from fovea.rag.printable import counted

AROUND = 320
"""Characters of context on each side of a quote."""
SHOWN = 200
"""Passages that are shown; more are counted."""


def html(answer: AnswerFile) -> str:
    """The page as a text."""
    style = files("fovea.pipelines.studio.exported").joinpath("page.css").read_text("utf-8")
    policy = f"default-src 'none'; style-src 'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'"
    title = text(cut(answer.question or answer.text, 120))
    parts = [
        _answer(answer),
        section("quotes", "What it rests on", *(_quote(one, answer.hits) for one in answer.citations)),
        section("passages", f"The {counted(len(answer.hits), 'passages')} it was made from", *_passages(answer)),
        section("stages", "How it came about", _stages(answer)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="Fovea">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head>\n<body><main>{''.join(parts)}</main>\n"
        "<footer><p>Made by Fovea. Every quote is a slice of its document; places count characters from 0.</p></footer>"
        "</body></html>\n"
    )


def _answer(answer: AnswerFile) -> str:
    asked = f'<h1 dir="auto">{text(answer.question)}</h1>' if answer.question else "<h1>An answer</h1>"
    found, at = "", 0
    for said in answer.sentences:
        marks = "".join(f'<a class="cite" href="#c{n}" aria-label="Citation {n}">{n}</a>' for n in said.citations)
        words = text(answer.text[said.start : said.end])
        bare = "" if said.citations else ' class="bare" title="No support was found for this sentence"'
        found += f"{text(answer.text[at : said.start])}<span{bare}>{words}</span>{marks}"
        at = said.end
    found += text(answer.text[at:])
    without = sum(not said.citations for said in answer.sentences)
    dotted = f'<p class="note">{counted(without, "sentences")} without support, underlined with dots.</p>'
    note = dotted if without else ""
    thought = (
        f'<details><summary>What the model thought before it</summary><p class="text">{text(answer.reasoning)}</p>'
        "</details>" if answer.reasoning else ""
    )  # fmt: skip
    return f'{asked}<p class="answer" dir="auto">{found}</p>{note}{thought}'


def _quote(one: Cited, hits: list[Passage]) -> str:
    before, after = _around(one, hits)
    where = _where(one.document, one.source, one.page, one.line)
    return (
        f'<article id="c{one.n}"><h3><span class="rank">{one.n}</span> {text(where)} '
        f"<small>characters {one.start:,} to {one.end:,}</small></h3>"
        f'<blockquote dir="auto">{text(before)}<mark>{text(one.quote)}</mark>{text(after)}</blockquote></article>'
    )


def _around(one: Cited, hits: list[Passage]) -> tuple[str, str]:
    """What stands before and after a quote, as far as a passage that holds it shows it."""
    for hit in hits:
        low, high = one.start - hit.start, one.end - hit.start
        inside = hit.document == one.document and low >= 0 and hit.text[low:high] == one.quote
        if inside and one.quote:
            before, after = hit.text[:low], hit.text[high:]
            return (
                before if len(before) <= AROUND else "…" + before[-AROUND:],
                after if len(after) <= AROUND else after[:AROUND] + "…",
            )
    return "", ""


def _passages(answer: AnswerFile) -> Iterator[str]:
    for rank, hit in enumerate(answer.hits[:SHOWN], 1):
        scores = " · ".join(f"{name} {value:.4g}" for name, value in hit.scores.items())
        where = _where(hit.document, hit.source, hit.page, None)
        yield (
            f'<details{" open" if rank == 1 else ""}><summary><span class="rank">{rank}</span> {text(where)} '
            f"<small>characters {hit.start:,} to {hit.end:,} · score {hit.score:.4g}</small></summary>"
            f'<p class="text" dir="auto">{_marked(hit, answer.citations)}</p>'
            f'<p class="note">{text(scores)}</p></details>'
        )
    if len(answer.hits) > SHOWN:
        yield f'<p class="note">{counted(len(answer.hits) - SHOWN, "passages")} more are in the JSON.</p>'


def _marked(hit: Passage, citations: list[Cited]) -> str:
    """The text of a passage with what is quoted of it marked."""
    spans = sorted(
        (max(one.start - hit.start, 0), min(one.end - hit.start, len(hit.text)))
        for one in citations
        if one.document == hit.document and one.start < hit.end and one.end > hit.start
    )
    found, at = "", 0
    for low, high in spans:
        low = max(low, at)
        if low < high:
            found += f"{text(hit.text[at:low])}<mark>{text(hit.text[low:high])}</mark>"
            at = high
    return found + text(hit.text[at:])


def _where(document: str, source: str, page: int | None, line: int | None) -> str:
    pages, lines = f", page {page:,}" if page else "", f", line {line:,}" if line else ""
    return f"{place(document, source)}{pages}{lines}"


def _stages(answer: AnswerFile) -> str:
    if not answer.trace or not answer.trace.stages:
        return ""
    head = [*heads("stage"), *figures("milliseconds"), *heads("what it did")]
    return table("Stages, in the order in which they began", head, map(_stage, answer.trace.stages)) + "".join(
        _dropped(answer)
    )


def _stage(step: Step) -> str:
    facts = [f"{number:,g} {what}" for what, number in step.counts.items()]
    facts += [f"{key}: {cut(str(value), 200)}" for key, value in step.notes.items() if key != "looked_at"]
    facts += [
        f"warning: {said}" + (f" ({times:,} times)" if times > 1 else "") for said, times in step.warnings.items()
    ]
    return (
        f'<tr><th scope="row">{text(step.name)}</th><td class="n">{step.seconds * 1000:,.1f}</td>'
        f"<td>{text('; '.join(facts))}</td></tr>"
    )


def _dropped(answer: AnswerFile) -> Iterator[str]:
    stages = answer.trace.stages if answer.trace else []
    places = {id_: where for step in stages for id_, _, where in step.hits}
    gone = [(step.name, places.get(id_, id_), why) for step in stages for id_, why in step.dropped.items()]
    if gone:
        rows = (f'<tr><th scope="row">{text(w)}</th><td>{text(s)}</td><td>{text(why)}</td></tr>' for s, w, why in gone)
        listed = table("Passages that were dropped", heads("passage", "by", "why"), rows)
        yield f"<details><summary>{counted(len(gone), 'passages')} dropped on the way</summary>{listed}</details>"
