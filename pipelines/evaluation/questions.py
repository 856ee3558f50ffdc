"""Read questions, whatever their form, and fit them to the documents that they are asked about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import get_args

from fovea.pipelines.evaluation.gold import Gold, Question, QuestionSet
from fovea.pipelines.evaluation.names import Names
from fovea.pipelines.evaluation.sets.jsonl import read_jsonl
from fovea.rag.errors import ConfigError, ConfigErrors, DocumentError, nearest_file
from fovea.rag.trace import warn
from fovea.rag.training.files import read_json
from fovea.rag.types import Document
from fovea.retrievers.collection import Split

FORMS = (
    ".jsonl (question, references)",
    "a folder of BEIR (corpus.jsonl, queries.jsonl, qrels/*.tsv)",
    ".json of SQuAD (data of paragraphs with qas)",
    "a folder of TREC (topics.tsv, qrels)",
)
SHOWN = 20
"""Faults of gold that one message lists."""
SEVERAL = "a gold text stands several times in the documents: any of its places counts"


def read_questions(path: str | Path, *, limit: int | None = None, split: str | None = None) -> QuestionSet:
    """The questions of a file or folder: JSONL, BEIR, SQuAD or TREC. `limit` keeps the first ones, `split` chooses a
    part of a BEIR folder.

    Raises ConfigError where there is no such path or form, and DocumentError with file and line for what is broken,
    for a question without gold, for an id given twice and for a file without questions.
    """
    root = Path(path).expanduser()
    if split is not None and split not in get_args(Split):
        raise ConfigError(f"there is no part {split!r}", where="split", got=split, allowed=get_args(Split))
    found = _read(root, split)  # type: ignore[arg-type]
    seen: dict[str, Question] = {}
    for question in found.questions:
        if (first := seen.setdefault(question.id, question)) is not question:
            what = f"the id {question.id!r} was given before, at {first.where}"
            raise DocumentError(what, where=question.where, fix="give every question an id of its own")
    if not seen:
        raise DocumentError("no questions", where=str(root), fix="; or ".join(FORMS))
    return replace(found, questions=found.questions[:limit])


def _read(root: Path, split: Split | None) -> QuestionSet:
    name = root.resolve().name
    if (root / "corpus.jsonl").exists():
        from fovea.pipelines.evaluation.sets.collections import beir

        return beir(root, split)
    if (root / "topics.tsv").exists():
        from fovea.pipelines.evaluation.sets.trec import read_trec

        return QuestionSet(name, tuple(read_trec(root)))
    if root.is_file() and root.suffix == ".jsonl":
        return QuestionSet(root.stem, tuple(read_jsonl(root)))
    if root.is_file() and root.suffix == ".json":
        from fovea.pipelines.evaluation.sets.collections import squad
        from fovea.retrievers.collections.squad import is_squad

        if is_squad(data := read_json(root)):
            return squad(root, data)
    there = "holds no questions in a form that is known" if root.exists() else "is not there"
    near = None if root.exists() else nearest_file(root)
    fix = f"did you mean {near}?" if near else "; or ".join(FORMS)
    raise ConfigError(f"{root} {there}", where="questions", fix=fix)


def check_questions(questions: QuestionSet, documents: Iterable[Document]) -> QuestionSet:
    """The same questions, their gold under the ids that the documents have (`Names` says how names are matched), with
    the text that stands there. A text without a place is looked up (`fovea.pipelines.evaluation.lookup`): where it
    stands several times, any of its places counts, and that is warned of.

    Raises ConfigErrors, each with the place of its question, for a document that is unknown or named ambiguously, a
    span outside its document, and a text that is not what stands there, or stands nowhere. O(characters of the
    documents), once a text that is looked up.
    """
    names = Names(documents, {g.document for q in questions.questions for g in q.spans})
    errors: list[ConfigError] = []
    found = [_fitted(question, names, errors) for question in questions.questions]
    if errors:
        more = len(errors) - SHOWN
        rest = [ConfigError(f"and {more} more like these")] if more > 0 else []
        raise ConfigErrors([*errors[:SHOWN], *rest])
    warn(SEVERAL, sum(bool(gold.elsewhere) for question in found for gold in question.spans))
    return replace(questions, questions=tuple(found))


def _fitted(question: Question, names: Names, errors: list[ConfigError]) -> Question:
    def place(name: str) -> str:
        try:
            return names.id(name)
        except ConfigError as error:
            errors.append(error.at(question.where))  # type: ignore[arg-type]
            return ""

    given = [replace(gold, document=place(gold.document) if gold.document else "") for gold in question.spans]
    spans = [gold for gold, raw in zip(given, question.spans) if gold.document or not raw.document]
    for fault in _faults(question, spans, names):
        errors.append(ConfigError(fault, where=question.where, fix="mend the span: positions count characters from 0"))
    spans = [_at_its_place(gold, question, names, errors) for gold in spans]
    itself = place(question.itself) if question.itself else ""
    relevant = {place(name): grade for name, grade in question.relevant.items()}
    return replace(question, spans=tuple(spans), relevant=relevant, itself=itself)


def _at_its_place(gold: Gold, question: Question, names: Names, errors: list[ConfigError]) -> Gold:
    """Looked up if need be, with the text that stands there."""
    if gold.looked_up:
        elsewhere = tuple((gold.document, start, end) for _, start, end in gold.elsewhere)
        return replace(gold, text=names.texts[gold.document][gold.start : gold.end], elsewhere=elsewhere)
    ids = [gold.document] if gold.document else list(names.texts)
    found = [(i, span.start, span.end) for i in ids for span in names.standing(i).places(gold.text)]
    if not found:
        what = f"question {question.id!r}: the text {gold.text[:80]!r} does not stand in "
        what += repr(gold.document) if gold.document else "any document"
        near = _nearest(gold.text, ids, names) if ids and len(errors) < SHOWN else ""
        fix = "quote the words of the document, or give start and end"
        errors.append(ConfigError(what + near, where=question.where, fix=fix))
        return gold
    (document, start, end), *others = found
    return Gold(document, start, end, names.texts[document][start:end], tuple(others))


def _nearest(wanted: str, ids: Iterable[str], names: Names) -> str:
    """What is most like it in the documents, for a message."""
    alike, span, document = max(((*names.standing(i).nearest(wanted), i) for i in ids), key=itemgetter(0))
    said = names.texts[document][span.start : span.end]
    return f"; the nearest is {said[:120]!r}, at [{span.start}, {span.end}) of {document!r}" if alike else ""


def _faults(question: Question, spans: Iterable[Gold], names: Names) -> Iterator[str]:
    for gold in spans:
        if not gold.looked_up:
            continue
        text = names.texts[gold.document]
        if gold.end > len(text):
            yield (
                f"question {question.id!r}: the span [{gold.start}, {gold.end}) ends outside {gold.document!r}, "
                f"which has {len(text)} characters"
            )
        elif gold.text and text[gold.start : gold.end] != gold.text:
            yield (
                f"question {question.id!r}: at [{gold.start}, {gold.end}) of {gold.document!r} stands "
                f"{text[gold.start : gold.end][:80]!r}, not {gold.text[:80]!r}"
            )
