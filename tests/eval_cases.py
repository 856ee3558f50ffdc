"""Cases for metrics: documents, passages and answers in a few words."""

from fovea.pipelines.evaluation.case import Case, Texts
from fovea.pipelines.evaluation.gold import Gold, Question
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.types import Answer, Citation, Document, Hit, Sentence, Span

TEXTS = Texts(HashEncoder())
PAGE = Document("page", "".join(chr(97 + n % 26) for n in range(1000)))


def hits(*spans, document=PAGE):
    return [Hit(document.chunk(Span(*span)), 1.0 - place / 100) for place, span in enumerate(spans)]


def spans_case(gold, found, **more):
    """Gold spans and passages of one page."""
    question = Question("q", "What?", tuple(Gold("page", a, b, PAGE.text[a:b]) for a, b in gold))
    return Case(question, hits(*found), TEXTS, **more)


def answered(text, *, question="What?", passages=(), answers=(), gold=()):
    """An answer to a question, with whole documents as passages."""
    documents = [Document(f"d{n}", passage) for n, passage in enumerate(passages)]
    found = [Hit(d.chunk(Span(0, len(d.text))), 1.0) for d in documents]
    return Case(Question("q", question, gold, answers=tuple(answers)), found, TEXTS, Answer(text, hits=tuple(found)))


def cited(gold, *places):
    """An answer that cites spans of the page."""
    citations = tuple(Citation("page", a, b, PAGE.text[a:b]) for a, b in places)
    said = Answer("It is so.", (Sentence(0, 9, "It is so.", citations),))
    return spans_case(gold, [(0, 1000)], answer=said)


__all__ = ["PAGE", "TEXTS", "answered", "cited", "hits", "spans_case"]
