"""Question sets of four forms, their names for documents, and everything that can be wrong with them."""

import json

import pytest

from fovea.pipelines.evaluation.gold import Gold, Question, QuestionSet
from fovea.pipelines.evaluation.questions import check_questions, read_questions
from fovea.rag.errors import ConfigError, ConfigErrors, DocumentError
from fovea.rag.types import Document
from tests.conftest import SHARED

MOON = Document("docs/moon.txt", "The Moon orbits the Earth in 27 days. It has no air.")
TEA = Document("docs/drinks/tea.md", "Green tea is brewed at 80 degrees.")
GOOD = {"id": "air", "question": "Has the Moon air?", "references": [{"document": "moon.txt", "start": 38, "end": 52}]}


def written(tmp_path, *rows, name="q.jsonl"):
    path = tmp_path / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def checked(path, *documents):
    return check_questions(read_questions(path), documents or (MOON, TEA))


def test_a_line_is_a_question_with_all_its_gold(tmp_path):
    row = {
        **GOOD, "answers": ["No", "None"], "answer": "No", "relevant": {"tea": 2, "moon": 0}, "as_of": "2024-05-01",
        "draft": True, "by": "cloze",
    }  # fmt: skip
    [found] = checked(written(tmp_path, row)).questions
    assert found.spans == (Gold("docs/moon.txt", 38, 52, "It has no air."),)
    assert found.answers == ("No", "None")
    assert found.relevant == {"docs/drinks/tea.md": 2}
    assert found.query.as_of.year == 2024
    assert found.where.endswith("q.jsonl:1")


@pytest.mark.parametrize("field", ["source", "document", "corpus"])
def test_a_document_is_named_by_the_reference_or_by_the_question(tmp_path, field):
    span = {"start": 0, "end": 8, "text": "The Moon"}
    rows = [{"id": 1, "question": "?", field: "tea", "references": [{**span, "source": "moon"}]}]
    rows.append({"id": 2, "question": "?", field: "moon", "references": [span]})
    found = checked(written(tmp_path, *rows))
    assert [q.spans[0].document for q in found.questions] == ["docs/moon.txt"] * 2
    assert [q.id for q in found.questions] == ["1", "2"]


@pytest.mark.parametrize("name", ["docs/moon.txt", "moon.txt", "moon", "docs/moon", "/abs/docs/moon.txt"])
def test_names_are_ids_or_endings_of_them(name):
    questions = QuestionSet("set", (Question("a", "?", (Gold(name, 0, 3),)),))
    assert check_questions(questions, [TEA, MOON]).questions[0].spans[0].document == "docs/moon.txt"


def test_the_record_of_a_file_is_named_by_what_stands_behind_its_mark():
    record = Document("docs/all.jsonl#xquad.en/0", "Some text.")
    questions = QuestionSet("set", (Question("a", "?", (Gold("xquad.en/0", 0, 4, "Some"),)),))
    assert check_questions(questions, [record]).questions[0].spans[0].document == record.id


def test_an_exact_id_wins_over_an_ending_and_two_endings_are_one_too_many():
    both = [Document("a/moon.txt", "abc"), Document("b/moon.txt", "abc"), Document("moon.txt", "abc")]
    one = QuestionSet("set", (Question("a", "?", (Gold("moon.txt", 0, 3),), where="q.jsonl:1"),))
    assert check_questions(one, both).questions[0].spans[0].document == "moon.txt"
    with pytest.raises(ConfigErrors) as error:
        check_questions(one, both[:2])
    assert str(error.value) == (
        "q.jsonl:1: 'moon.txt' names several documents\n"
        "  allowed: a/moon.txt, b/moon.txt\n"
        "  did you mean 'b/moon.txt'?\n"
        "  fix: name it by its whole id"
    )


WRONG = {
    "no gold": ({"id": "a", "question": "?"}, "{q}:1: the question 'a' has no gold: nothing says what is right\n"),
    "gold misspelt": (
        {"id": "a", "question": "?", "refrences": []},
        "{q}:1: the question 'a' has no gold: nothing says what is right\n"
        "  allowed: references, relevant, answers, answer\n"
        "  did you mean 'references'?\n",
    ),
    "empty span": (
        {**GOOD, "references": [{"document": "moon.txt", "start": 4, "end": 4}]},
        "{q}:1: a reference needs whole numbers 0 <= start < end, got 4 and 4\n",
    ),
    "a span of floats": (
        {**GOOD, "references": [{"document": "moon.txt", "start": 4.0, "end": 8}]},
        "{q}:1: a reference needs whole numbers 0 <= start < end, got 4.0 and 8\n",
    ),
    "text of another length": (
        {**GOOD, "references": [{"document": "moon.txt", "start": 0, "end": 8, "text": "Moon"}]},
        "{q}:1: [0, 8) holds 8 characters, and its text 4: 'Moon'\n",
    ),
    "no document": (
        {**GOOD, "references": [{"start": 0, "end": 8}]},
        "{q}:1: a reference names no document: {{'start': 0, 'end': 8}}\n",
    ),
    "no question": ({"id": "a", "question": " "}, "{q}:1: 'question' is no text: ' '\n"),
    "no object": ([1, 2], "{q}:1: a question is an object of JSON, got [1, 2]\n"),
    "a list that is none": ({**GOOD, "references": "moon"}, "{q}:1: 'references' is no list: 'moon'\n"),
    "grades": (
        {**GOOD, "relevant": {"moon": "high"}},
        "{q}:1: 'relevant' is no mapping from documents to whole numbers: {{'moon': 'high'}}\n",
    ),
    "time": ({**GOOD, "as_of": "yesterday"}, "{q}:1: 'as_of' is no time such as 2024-05-01T12:00:00: 'yesterday'\n"),
    "answer": ({**GOOD, "answers": [3]}, "{q}:1: a reference answer is no text: 3\n"),
    "broken": ('{"id": "a", ', "{q}:1:13: not JSON: Expecting property name enclosed in double quotes\n"),
}


@pytest.mark.parametrize(("row", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_with_its_line(tmp_path, row, message):
    path = written(tmp_path, row)
    with pytest.raises(DocumentError) as error:
        read_questions(path)
    assert str(error.value).startswith(message.format(q=path))


def test_an_id_given_twice_names_both_places(tmp_path):
    path = written(tmp_path, GOOD, GOOD)
    with pytest.raises(DocumentError) as error:
        read_questions(path)
    assert str(error.value) == (
        f"{path}:2: the id 'air' was given before, at {path}:1\n  fix: give every question an id of its own"
    )


def test_an_empty_file_has_no_questions(tmp_path):
    with pytest.raises(DocumentError, match=r"q\.jsonl: no questions"):
        read_questions(written(tmp_path))


@pytest.mark.parametrize("name", ["missing.jsonl", "notes.txt", "other.json"])
def test_a_path_of_no_known_form_lists_the_forms(tmp_path, name):
    if name != "missing.jsonl":
        written(tmp_path, {"no": "set"}, name=name)
    with pytest.raises(ConfigError, match="a folder of BEIR") as error:
        read_questions(tmp_path / name)
    assert ("is not there" in str(error.value)) == (name == "missing.jsonl")


def test_gold_that_does_not_fit_its_documents_is_listed_at_once(tmp_path):
    def at(key, **reference):
        return {"id": key, "question": "?", "references": [{"document": "moon.txt", **reference}]}

    rows = [at("far", start=40, end=53), at("other", start=0, end=8, text="The Mood"), at("gone", start=0, end=1)]
    rows[2]["references"][0]["document"] = "mooon.txt"
    path = written(tmp_path, *rows, GOOD)
    with pytest.raises(ConfigErrors) as error:
        checked(path)
    fix = "  fix: mend the span: positions count characters from 0\n"
    assert str(error.value) == (
        f"{path}:1: question 'far': the span [40, 53) ends outside 'docs/moon.txt', which has 52 characters\n{fix}"
        f"{path}:2: question 'other': at [0, 8) of 'docs/moon.txt' stands 'The Moon', not 'The Mood'\n{fix}"
        f"{path}:3: 'mooon.txt' is no document of the store\n"
        "  allowed: docs/drinks/tea.md, docs/moon.txt\n"
        "  did you mean 'docs/moon.txt'?\n"
        "  fix: fovea status p.yaml --all lists them; fovea ingest takes more in"
    )


def test_a_hundred_faults_are_twenty_and_their_number(tmp_path):
    rows = [{**GOOD, "id": n, "references": [{"document": "moon", "start": 0, "end": 999}]} for n in range(100)]
    with pytest.raises(ConfigErrors) as error:
        checked(written(tmp_path, *rows))
    assert str(error.value).count("ends outside") == 20
    assert str(error.value).endswith("and 80 more like these")


def test_beir_brings_documents_and_grades(tmp_path):
    written(
        tmp_path, {"_id": "d1", "title": "Moon", "text": "No air."}, {"_id": "d2", "text": "Tea."}, name="corpus.jsonl"
    )
    written(tmp_path, {"_id": "q1", "text": "Air?"}, {"_id": "q2", "text": "Tea?"}, name="queries.jsonl")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n")
    (tmp_path / "qrels/dev.tsv").write_text("q2\td2\t1\n")
    found = read_questions(tmp_path)
    assert [(q.id, dict(q.relevant)) for q in found.questions] == [("q1", {"d1": 2})]
    assert [q.id for q in read_questions(tmp_path, split="dev").questions] == ["q2"]
    assert check_questions(found, found.documents) == found
    with pytest.raises(DocumentError, match="no questions of the part train"):
        read_questions(tmp_path, split="train")
    with pytest.raises(ConfigError, match="did you mean 'test'"):
        read_questions(tmp_path, split="tset")


def squad(*answers, impossible=False):
    asked = {"id": "q1", "question": "Air?", "answers": list(answers), "is_impossible": impossible}
    paragraphs = [{"context": "About the Moon.", "qas": []}, {"context": "It has no air.", "qas": [asked]}]
    second = {"id": "q2", "question": "Days?", "answers": [{"answer_start": 0, "text": "27"}]}
    other = {"title": "Days", "paragraphs": [{"context": "27 days.", "qas": [second]}]}
    return {"data": [{"title": "Moon", "paragraphs": paragraphs}, other]}


def test_squad_spans_are_those_of_the_article(tmp_path):
    data = squad({"answer_start": 7, "text": "no air"}, {"answer_start": 0, "text": "It has no air"})
    path = written(tmp_path, data, name="moon.json")
    found = checked(path, *read_questions(path).documents)
    first, second = found.questions
    assert first.answers == ("no air", "It has no air")
    [gold] = first.spans
    assert found.documents[0].text[gold.start : gold.end] == gold.text == "no air"
    assert second.spans == (Gold("moon/1", 0, 2, "27"),)


def test_squad_answers_that_stand_elsewhere_are_found_out(tmp_path):
    path = written(tmp_path, squad({"answer_start": 6, "text": "no air"}), name="moon.json")
    with pytest.raises(ConfigErrors, match=r"question q1: question 'q1': at \[23, 29\) of 'moon/0' stands ' no ai'"):
        checked(path, *read_questions(path).documents)


def test_squad_questions_without_an_answer(tmp_path):
    assert [q.id for q in read_questions(written(tmp_path, squad(impossible=True), name="a.json")).questions] == ["q2"]
    with pytest.raises(DocumentError, match="question q1: it has no answer"):
        read_questions(written(tmp_path, squad(), name="b.json"))


def test_trec_topics_and_judgments(tmp_path):
    (tmp_path / "topics.tsv").write_text("1\tHas the Moon air?\n2\tTea?\n")
    (tmp_path / "qrels.txt").write_text("1 0 moon.txt 1\n1 0 tea 0\n")
    [found] = checked(tmp_path).questions
    assert (found.id, found.text, found.relevant) == ("1", "Has the Moon air?", {"docs/moon.txt": 1})


@pytest.mark.parametrize(
    ("topics", "qrels", "message"),
    [
        ("1 no tab\n", "", "topics.tsv:1: expected an id, a tab and a question, got '1 no tab'"),
        ("1\ta\n1\tb\n", "", "topics.tsv:2: the id '1' was given before, at"),
        ("1\ta\n", "1 0 moon\n", "qrels:1: expected id, iteration, document and a whole number, got '1 0 moon'"),
        ("1\ta\n", "7 0 moon 1\n", "qrels:1: topics.tsv has no question '7'"),
        ("1\ta\n", None, "questions without judgments"),
    ],
)
def test_trec_faults(tmp_path, topics, qrels, message):
    (tmp_path / "topics.tsv").write_text(topics)
    if qrels is not None:
        (tmp_path / "qrels").write_text(qrels)
    with pytest.raises(DocumentError) as error:
        read_questions(tmp_path)
    assert message in str(error.value)


def test_the_fingerprint_is_of_what_is_asked_and_not_of_where_it_stood(tmp_path):
    first = read_questions(written(tmp_path, GOOD))
    again = read_questions(written(tmp_path, GOOD, name="other.jsonl"))
    assert first.fingerprint == again.fingerprint
    changed = {**GOOD, "references": [{"document": "moon.txt", "start": 38, "end": 51}]}
    assert read_questions(written(tmp_path, changed)).fingerprint != first.fingerprint


@pytest.mark.skipif(not (SHARED / "data").exists(), reason="needs the shared data")
def test_the_shared_sets_fit_their_documents():
    folder = SHARED / "data/spans/chunking_evaluation"
    documents = [Document(f"corpora/{f.name}", f.read_text("utf-8")) for f in (folder / "corpora").iterdir()]
    assert len(check_questions(read_questions(folder / "questions.jsonl"), documents).questions) == 317
    xquad = read_questions(SHARED / "data/qa/xquad_en/xquad.en.json")
    assert len(check_questions(xquad, xquad.documents).questions) == 1190
    scifact = read_questions(SHARED / "data/retrieval/scifact", limit=10)
    assert len(check_questions(scifact, scifact.documents).questions) == 10
