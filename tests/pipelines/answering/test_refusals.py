"""A refusal is what the whole answer says; a hedge before an answer is taken off."""

import pytest

from fovea.pipelines.answering.refusals import NO_ANSWER, asserted, is_refusal

REFUSALS = [
    NO_ANSWER,
    "I'm sorry, but I cannot find that in the passages.",
    "The documents do not contain any information about this.",
    "The documents mention the bridge, but do not say who painted it.",
    "Unfortunately, there is no information about that in the passages. Please check the website.",
    "The answer is not in the documents.",
    "The name of the painter is not mentioned in the provided context.",
    "The passages provide no information about who painted it.",
    "Unknown.",
    "Die Dokumente sagen dazu nichts.",
    "Leider enthalten die Dokumente dazu keine Angaben.",
    "Das geht aus den Dokumenten nicht hervor.",
    "De documenten vermelden dit niet.",
    "Dokumenterne siger det ikke.",
    "Les documents ne le précisent pas.",
    "Los documentos no lo dicen.",
    "Os documentos não mencionam isso.",
    "I documenti non lo dicono.",
    "Dokumenty tego nie mówią.",
    "В документах об этом не сказано.",
    "Belgeler bunu belirtmiyor.",
    "لا تذكر المستندات ذلك.",
    "המסמכים לא מציינים זאת.",
    "เอกสารไม่ได้ระบุ",
    "Tài liệu không đề cập đến điều này.",
    "文档中没有说明。",
    "資料には記載されていません。",
    "문서에 나와 있지 않습니다.",
]
STATEMENTS = [
    "The text contains no sugar, only beet and water.",
    "The text does not contain sugar.",
    "The documents do not need a signature.",
    "Documents do not expire.",
    "Nobody painted the bridge.",
    "There is no bridge.",
    "No.",
    "Die Dokumente müssen nicht unterschrieben werden.",
    "Das ist nicht erlaubt.",
    "Les documents ne sont pas signés.",
    "Los documentos no caducan.",
    "Документы не нужны.",
    "Dokumenty nie są potrzebne.",
    "Information is not provided to third parties.",
]
HEDGED = {
    "The passages do not give the day, but the bridge opened in May 1932.": "the bridge opened in May 1932.",
    "I don't know the day; however, the bridge opened in May 1932.": "the bridge opened in May 1932.",
    "Die Unterlagen nennen keinen Tag, aber die Brücke wurde 1932 eröffnet.": "die Brücke wurde 1932 eröffnet.",
}


@pytest.mark.parametrize("text", REFUSALS)
def test_saying_that_there_is_no_answer_is_a_refusal(text):
    assert is_refusal(text)


@pytest.mark.parametrize("text", STATEMENTS)
def test_a_negative_statement_is_none(text):
    assert not is_refusal(text)
    assert asserted(text) == text


@pytest.mark.parametrize(("text", "statement"), HEDGED.items())
def test_what_follows_a_hedge_is_the_statement(text, statement):
    assert not is_refusal(text)
    assert asserted(text) == statement


FRAMED = {
    "The answer is: 30%": "30%",
    "The answer to this question is: 1943.": "1943.",
    "The passage mentions that the bridge opened in 1932.": "the bridge opened in 1932.",
    "The provided documents give details of the bridge, which opened in 1932.": "the bridge, which opened in 1932.",
    "According to the passage, the answer is: in 1932.": "in 1932.",
    "Laut dem Text: Die Brücke wurde 1932 eröffnet.": "Die Brücke wurde 1932 eröffnet.",
    "Der Text besagt, dass es 5 sind.": "es 5 sind.",
    "The answer is: The documents do not say.": "",
    # what frames nothing, or is no frame
    "The answer is:": "The answer is:",
    "Sources say that he left.": "Sources say that he left.",
    "The text of the law states that all are equal.": "The text of the law states that all are equal.",
    "The passage through the mountains is narrow.": "The passage through the mountains is narrow.",
}


@pytest.mark.parametrize(("text", "statement"), FRAMED.items())
def test_what_frames_a_statement_is_no_part_of_it(text, statement):
    assert asserted(text) == statement
    assert is_refusal(text) == (not statement)


def test_a_hedge_followed_by_an_answer_is_an_answer():
    assert not is_refusal("The documents do not state the exact day. The bridge opened in May 1932.")


def test_white_space_is_neither():
    assert not is_refusal(" \n")
    assert asserted(" \n") == ""
