"""Question and QuestionSet: what is asked, and what is known to be right.

The gold is spans of characters of documents, so one file serves every way of cutting them; grades of whole documents
(BEIR, TREC) and reference answers stand beside it where a set has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import PurePosixPath

from fovea.rag.component import fingerprint
from fovea.rag.types import Document, Query

Place = tuple[str, int, int]
"""A document and characters `[start, end)` of it."""


@dataclass(frozen=True, slots=True)
class Gold:
    """Characters `[start, end)` of a document that answer; or a text that does, wherever it stands, until it is looked
    up (`fovea.pipelines.evaluation.questions.check_questions`).
    """

    document: str
    """Its name; "" for any document, of a text that is to be looked up."""
    start: int = -1
    end: int = -1
    text: str = ""
    """What stands there, where the file of questions says so: it is checked against the document."""
    elsewhere: tuple[Place, ...] = ()
    """Where the text stands as well: any of its places is as good."""

    @property
    def looked_up(self) -> bool:
        """Whether it is known where it stands."""
        return self.start >= 0

    @property
    def places(self) -> tuple[Place, ...]:
        """All places, the first in the documents first."""
        return ((self.document, self.start, self.end), *self.elsewhere)


@dataclass(frozen=True)
class Question:
    """A question with its gold; any of `spans`, `relevant` and `answers` may be empty, not all of them."""

    id: str
    text: str
    spans: tuple[Gold, ...] = ()
    relevant: Mapping[str, int] = field(default_factory=dict)
    """Grades over 0 of whole documents, by id."""
    answers: tuple[str, ...] = ()
    """Reference answers, any of which is right."""
    as_of: datetime | None = None
    where: str = field(default="", compare=False)
    """The place in the file, for messages."""
    itself: str = ""
    """The document that is the question itself, as in sets of arguments and duplicates: it is left out of what came
    back.
    """

    @property
    def query(self) -> Query:
        """What the pipeline is asked."""
        return Query(self.text, self.as_of, itself=self.itself)

    @cached_property
    def content(self) -> str:
        """Two hashes, `ASKED-RIGHT`, of what is asked and of what is right: the same in two files, whatever the order,
        the ids and the folders of the documents. Gold counts by its text where that is known.
        """
        gold = sorted(str(g.text or [_called(g.document), g.start, g.end]) for g in self.spans)
        grades = sorted([_called(name), grade] for name, grade in self.relevant.items())
        asked = [self.text, self.as_of and self.as_of.isoformat()]
        return f"{fingerprint(asked)}-{fingerprint([gold, sorted(self.answers), grades])}"


def _called(document: str) -> str:
    """A document without its folders: the name of its record, or of its file without the suffix."""
    file, _, record = document.partition("#")
    return record or PurePosixPath(file).stem


@dataclass(frozen=True)
class QuestionSet:
    """Questions, and the documents where the set brings them (SQuAD and BEIR do)."""

    name: str
    questions: tuple[Question, ...]
    documents: tuple[Document, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that is asked and right."""
        plain = [asdict(q) | {"as_of": q.as_of and q.as_of.isoformat(), "where": ""} for q in self.questions]
        return fingerprint(plain)
