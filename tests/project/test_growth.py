"""Every rule that reads a text takes time in proportion to it, whatever is repeated in it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from fovea.pipelines.answering import claims, code, leads, markers, quoting, reasoning, refusals
from fovea.pipelines.answering.passages import Passage, bare
from fovea.pipelines.evaluation import judging, key_sentences
from fovea.pipelines.feedback.rewriting import heading
from fovea.pipelines.judges import model as judge
from fovea.pipelines.loaders import scripts, writer
from fovea.pipelines.spec import yaml_source
from fovea.rag import filters, inline, markdown, printable, tables
from fovea.rag.errors import FoveaError
from fovea.rag.folding import fold
from fovea.rag.headings import body, first_heading, headings
from fovea.rag.sentences import sentences
from fovea.rag.terms import index_terms, query_terms
from fovea.rag.tokens import WordTokenizer
from fovea.rag.types import Document, Span
from fovea.retrievers import event_feed, shingles
from fovea.retrievers.time.diary import told_by
from fovea.retrievers.time.parser import time_parser
from fovea.retrievers.time.scan import scanner
from fovea.retrievers.time.undated import undated
from fovea.segmenters import places
from tests.growth import MOST, growth

LANGUAGES = ("en", "de", "fr", "es", "zh")


def document(text: str) -> Document:
    return Document("a", text, "a", "a", "text/markdown")


def heard(text: str) -> None:
    listening = reasoning.Listening()
    for at in range(0, len(text), 4):
        listening.take(text[at : at + 4])
    listening.close()


def quoted(text: str) -> None:
    whole = document(text)
    passages = [Passage(whole, Span(0, len(text)), 0, False)]
    passages += [Passage(whole, bare(text, s.start, s.end), 0, True) for s in sentences(text)[:200]]
    list(quoting.joined(quoting.quotations(passages)))


def heading_above(text: str) -> str:
    whole = document(text)

    class One:
        def document(self, name: str) -> Document:
            return whole

    return heading(whole.chunk(Span(len(text) - 1, len(text))), One())


def marked(text: str) -> str:
    return scripts.resolved(text.translate({ord("^"): scripts.SUP, ord("~"): scripts.SUB, ord("$"): scripts.END}))


def written(text: str) -> str:
    out = writer.Writer()
    for write in (out.paragraph, out.item, out.code, lambda words: out.heading(1, words)):
        write(text)
    out.table([[text, text]])
    return out.text


MARKS = [
    "[1] ",
    "[1",
    "[[",
    "【1†",
    "\\[",
    "\\(a",
    "$a ",
    "`",
    "``` ",
    '"',
    "(see [1], ",
    "Sources: [1] ",
    "{",
    '["',
    " ",
    "\n",
]
MARKUP = ["*", "_a ", "**a ", "~~", "`", "[", "[a](", '![a](b "', "<a ", "<b>", "<!-- ", "</", "|", "| a |\n", "| - "]
MARKUP += ["> ", "- ", "-", "# ", "# a\n", "a\n===\n", "```\n", "---\n", "\\", "&", " ", "\n", "\t", "a"]
WORDS = [
    "a",
    "1",
    "1.",
    "1,000 ",
    "1-",
    "a. ",
    "Mr. ",
    "U.S.",
    ". ",
    "...",
    "a_b-c.",
    "A ",
    "中",
    "\u0301",
    "e.g. ",
    " ",
    "\n",
    "- a\n",
    "-",
]
DATES = [
    "2010 ",
    "2010-",
    "in 2010 ",
    "from 2010 to ",
    "May 5, 2010 ",
    "last year ",
    "two years ago ",
    "1990s ",
    "before the ",
    "1.",
    " ",
]
TIMES_ASKED = [*DATES, "May ", "since Monday ", "two weeks before 2010 ", "the last ", "去年", "2015年到", "上"]
JSON = ["{", '{"a": ', "[", '"', "```\n", "grade: 1\n", "grade:", "change: ", "\n", " ", ":", "*"]
RULES: dict[str, tuple[Callable[[str], object], list[str]]] = {
    "sentences": (sentences, WORDS),
    "index terms": (index_terms, WORDS),
    "query terms": (query_terms, WORDS),
    "folding": (fold, WORDS),
    "tokens": (WordTokenizer().offsets, WORDS),
    "printable": (printable.printable, ["\x1b", "\n", "a"]),
    "headings": (lambda text: headings(text, "text/markdown"), MARKUP),
    "headings of pages": (
        lambda text: headings(text, "text/html"),
        ["<h1>", "<h1>a", "<", "<!--", "</h1>", "<script>"],
    ),
    "headings of rst": (lambda text: headings(text, "text/x-rst"), ["=\n", "a\n=\n", ":a:`", "`", ".. a\n"]),
    "headings of TeX": (
        lambda text: headings(text, "application/x-tex"),
        ["\\section{", "\\section{a}", "{", "\\", "\\part["],
    ),
    "headings of org": (lambda text: headings(text, "text/org"), ["* a\n", "*", "#+begin_a\n", "* a :b:"]),
    "headings of AsciiDoc": (lambda text: headings(text, "text/asciidoc"), ["== a ==\n", "= ", "----\n", "a ="]),
    "first heading": (first_heading, MARKUP),
    "front matter": (
        lambda text: body(f"---\n{text}", "text/markdown"),
        ["a: b\n", "---", "- ", "[", "{", '"', "&a ", " ", "\n"],
    ),
    "lines": (lambda text: list(markdown.lines(text)), MARKUP),
    "inline": (lambda text: inline.plain(text, {"a"}), MARKUP),
    "tables": (lambda text: tables.tables(text, "text/markdown"), MARKUP),
    "filters": (filters.parse, ["a == 1 and ", "(", "not ", "'a", "`a", "a in [1, ", " "]),
    "markers": (lambda text: markers.unmarked(text, 3, ["a[1]"]), MARKS),
    "markers in brackets": (lambda text: markers.unmarked(f"(see {text}", 3), ["[1] ", "[1], ", "[1] and ", "[1"]),
    "markers of a line": (lambda text: markers.unmarked(f"Sources: [1]{text}z", 3), [" ", "\n", "[1]", " [1]"]),
    "code": (code.spans_of_code, MARKS),
    "reasoning": (
        reasoning.split,
        ["<think>", "</think>", "<|channel|>", "<|channel|>a<|message|>", "analysis", " ", "a"],
    ),
    "reasoning in pieces": (heard, ["<think>", "</think>", "<|channel|>", " ", "\n", "a "]),
    "reasoning in pieces after a tag": (lambda text: heard(f"<think>a</think>{text}"), [" ", "\n", "a "]),
    "opening tags": (reasoning.opens, ["<think>", " ", "<|a|>", "<|"]),
    "refusals": (
        refusals.is_refusal,
        [
            "The documents do not say. ",
            "not mentioned, but ",
            "Sorry, ",
            "a. ",
            " ",
            "not ",
            "The answer is: ",
            "According to the text, ",
        ],
    ),
    "claims": (
        claims.Claim.of,
        [*WORDS, *DATES, "not ", "$1k ", "two million ", "A-", "a, and ", "1 400 ", "100 ", "8:30 ", "1.500 ", "v1.1"],
    ),
    "clauses": (claims.clauses, ["a, ", "and ", ", and ", ";", " "]),
    "leads": (leads.Leads, MARKUP),
    "quoting": (quoted, MARKUP),
    "a judge's grade": (judge.read, JSON),
    "a judge's JSON": (judging._json, JSON),
    "key sentences": (lambda text: key_sentences.keys(document(text)), WORDS),
    "the heading above": (heading_above, ["# ", "# a\n", "#", "# a #", "\n"]),
    "raised": (marked, ["^", "a^", "a^1$", "1~2$", "~", "$", "^1$⁄~2$", "1"]),
    "writing": (written, [*MARKUP, "#", "1. "]),
    "undated": (undated, DATES),
    "times asked for": (time_parser(LANGUAGES).read, TIMES_ASKED),
    "times named": (scanner(LANGUAGES).intervals, TIMES_ASKED),
    "days of lines": (
        lambda text: told_by(text, scanner(LANGUAGES), None),
        ["2023-05-08 ", "2023-05-08\n", "# 2023-05-08 ", "yesterday\n", "\n", "# "],
    ),
    "events": (lambda text: event_feed.event_of(text, 0.0), ["A ", "A", "2010 ", "a "]),
    "shingles": (lambda text: shingles.shingles(text, 5), ["a ", " ", "a"]),
    "YAML": (yaml_source.parse, ["a: ", "- ", "[", "{", "a\n", "&a ", "*a ", '"', "#", "\n", " ", "? "]),
    "variables of YAML": (lambda text: yaml_source.parse(f'a: "{text}"'), ["${", "$", "${A}", "{", "}"]),
    "places to cut": (
        lambda text: [find(text, 0, len(text)) for find in (places.clauses, places.words, places.parts)],
        WORDS,
    ),
    "graphemes": (lambda text: places.graphemes(text, 0, len(text)), ["\u0301", "a", "🇩🇪", "👨\u200d"]),
}
SIZE = 2_500
"""Characters of the smaller text."""


@pytest.mark.parametrize("name", RULES)
def test_time_is_in_proportion_to_the_text(name):
    rule, repeats = RULES[name]

    def reading(repeat: str, size: int) -> Callable[[], None]:
        text = (repeat * (size // len(repeat) + 1))[:size] + "z"

        def read() -> None:
            with suppress(FoveaError, ValueError, RecursionError):
                rule(text)

        return read

    reading("a", 10)()
    slow = {repeat: growth(lambda size, repeat=repeat: reading(repeat, size), SIZE) for repeat in repeats}
    assert {repeat: round(times, 1) for repeat, times in slow.items() if times >= MOST} == {}
