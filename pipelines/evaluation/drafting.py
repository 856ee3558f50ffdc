"""Draft questions with gold spans from one's own documents, for a person to review.

Offline, the opening of a section is asked for by its heading, and a key sentence
(`fovea.pipelines.evaluation.key_sentences`) by itself, with its most telling number, name or word left out. Such
questions share the words of their gold, so they favour lexical search: they are a start, and no measure of how people
ask.

With a language model, each of these places is shown with its surroundings, and the model gives a question with the
exact words that answer it. A quote that does not stand there, to the letter and once, is refused and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fovea.pipelines.evaluation.judging import Judging, Unreadable
from fovea.pipelines.evaluation.key_sentences import Key, keys, telling
from fovea.rag import progress
from fovea.rag.types import Document, Span

AROUND = 700
"""Characters before and after a place that a model is shown."""
BLANK = "____"
ASK = """\
From `passage`, write one question that a reader of the whole document might ask without having this passage before \
them: name things, and do not speak of the passage. Give the words of the passage that answer it, copied exactly, as \
short as they can be and still answer, and the answer in a few words. Reply with JSON such as {"question": "...", \
"quote": "...", "answer": "..."}.\
"""


@dataclass(frozen=True)
class Draft:
    """A question to review."""

    question: str
    document: Document
    span: Span
    by: str
    """`heading`, `cloze`, or the name of the model."""
    answer: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A line of a file of questions."""
        d, s = self.document, self.span
        quoted = {"document": d.id, "start": s.start, "end": s.end, "text": d.text[s.start : s.end]}
        made = {"id": f"{d.id}:{s.start}-{s.end}", "question": self.question, "references": [quoted]}
        return {**made, **({"answers": [self.answer]} if self.answer else {}), "draft": True, "by": self.by}


@dataclass
class Drafts:
    """What was made, and how many were refused, by reason."""

    made: list[Draft] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)


def draft(documents: Iterable[Document], count: int, judging: Judging | None = None) -> Drafts:
    """At most `count` drafts, the documents taking turns, each with its weightiest places first; always the same.

    O(sentences of the documents). Raises what a model's provider raises.
    """
    found, places = Drafts(), [(document, keys(document)) for document in documents]
    seen: set[str] = set()
    with progress.bar("draft", count) as bar:
        for document, key in _in_turns(places):
            if len(found.made) >= count:
                break
            one = _asked(document, key.span, judging, found.refused) if judging else _offline(document, key)
            if one is not None and one.question not in seen:
                seen.add(one.question)
                found.made.append(one)
                bar.advance(1, document.id)
    return found


def _in_turns(places: Sequence[tuple[Document, list[Key]]]) -> Iterator[tuple[Document, Key]]:
    for turn in range(max((len(found) for _, found in places), default=0)):
        yield from ((document, found[turn]) for document, found in places if turn < len(found))


def _asked(document: Document, span: Span, judging: Judging, refused: Counter[str]) -> Draft | None:
    low, high = max(0, span.start - AROUND), min(len(document.text), span.end + AROUND)
    passage = document.text[low:high]
    try:
        question, quote, answer = judging.ask(ASK, {"passage": passage}, lambda said: _quoted(said, passage))
    except Unreadable as error:
        refused[error.why] += 1
        return None
    start = low + passage.index(quote)
    return Draft(question, document, Span(start, start + len(quote)), judging.called, answer)


def _quoted(said: Any, passage: str) -> tuple[str, str, str]:
    fields = [said.get(name) for name in ("question", "quote", "answer")] if isinstance(said, dict) else []
    told = [one for one in fields if isinstance(one, str) and one.strip()]
    if len(told) != 3:
        raise ValueError("no question, quote and answer")
    question, quote, answer = told
    if (times := passage.count(quote)) != 1:
        raise ValueError(
            "the quote stands in the passage twice" if times else "the quote does not stand in the passage"
        )
    return question.strip(), quote, answer.strip()


def _offline(document: Document, key: Key) -> Draft | None:
    if key.heading:
        title = document.title
        of = f" in {title}" if title and title != key.heading.words else ""
        return Draft(f"What is said of “{key.heading.words}”{of}?", document, key.span, "heading")
    sentence = " ".join(document.text[key.span.start : key.span.end].split())
    if not (hidden := telling(sentence)):
        return None
    return Draft(f"What is missing: “{sentence.replace(hidden, BLANK)}”", document, key.span, "cloze", hidden)
