"""The text of documents, out of any library of a sweep's cache: for reports, which show what was retrieved."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from fovea.pipelines.evaluation.gold import QuestionSet
from fovea.pipelines.evaluation.questions import check_questions
from fovea.rag.errors import FoveaError
from fovea.rag.types import Document
from fovea.retrievers.library.library import Library


class Texts:
    """Characters of a document, None where no library has it."""

    def __init__(self, cache: Path, documents: Iterable[Document] = ()) -> None:
        self._given = {document.id: document.text for document in documents}
        self._folder = next(iter(sorted((cache / "libraries").glob("*/done.json"))), None)
        self._text = lru_cache(maxsize=32)(self._read)

    def __call__(self, document: str, start: int, end: int) -> str | None:
        """Characters `[start, end)`."""
        text = self._given.get(document) or self._text(document)
        return None if text is None else text[start:end]

    def fitted(self, questions: QuestionSet) -> QuestionSet:
        """The same questions, their gold at its places in the documents; as they are where these are not at hand."""
        if self._folder is None:
            return questions
        try:
            with Library.open(self._folder.parent, read_only=True) as library:
                return check_questions(questions, library.documents())
        except FoveaError:
            return questions

    def _read(self, document: str) -> str | None:
        if self._folder is None:
            return None
        try:
            with Library.open(self._folder.parent, read_only=True) as library:
                return library.document(document).text
        except FoveaError:
            return None
