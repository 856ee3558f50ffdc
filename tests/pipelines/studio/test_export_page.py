"""One answer as a page: whole, without a script, and whatever its texts hold."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.cli.main import main
from fovea.pipelines.studio.exported.answer_file import read
from fovea.pipelines.studio.exported.html import html
from fovea.rag.errors import DocumentError
from fovea.rag.printable import to_json

HOSTILE = """<script>alert(1)</script> <b onmouseover="x()">'"&amp; ]]> --> </style></p> \u202e𝒳 😀"""
NAMES = {
    "a", "article", "blockquote", "body", "caption", "details", "div", "footer", "h1", "h2", "h3", "head", "html",
    "main", "mark", "meta", "p", "section", "small", "span", "style", "summary", "table", "tbody", "td", "th", "thead",
    "title", "tr",
}  # fmt: skip


class Seen(HTMLParser):
    """The tags of a page, its texts, and the targets of its links."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.words, self.ids, self.links, self.attributes = set(), [], set(), set(), set()
        self.feed(page)
        self.text = "".join(self.words)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        for name, value in attributes:
            self.attributes.add(name)
            if name == "id":
                self.ids.add(value)
            if name in ("href", "src"):
                self.links.add(value)

    def handle_data(self, data):
        self.words.append(data)


def answer(said: str, around: str = "") -> dict:
    """An answer of one sentence that quotes `said`, which a passage holds between two times `around`."""
    text = f"{around}{said}{around}"
    place = {"document": said, "source": said, "start": 100 + len(around), "end": 100 + len(around) + len(said)}
    hit = {"id": "1", "document": said, "source": said, "start": 100, "end": 100 + len(text), "page": 3, "score": 0.5}
    stage = {"name": said, "seconds": 0.0123, "counts": {"hits": 2}, "warnings": {said: 2}, "notes": {said: said}}
    return {
        "question": said, "text": said, "reasoning": said,
        "sentences": [{"start": 0, "end": len(said), "text": said, "supported": True, "citations": [1]}],
        "citations": [{"n": 1, **place, "line": 7, "page": 3, "score": 1.0, "quote": said}],
        "hits": [{**hit, "scores": {said: 0.25}, "text": text}],
        "trace": {"stages": [{**stage, "hits": [["1", 0.5, said], ["2", 0.4, said]], "dropped": {"2": said}}]},
    }  # fmt: skip


@given(st.text(min_size=1), st.text(max_size=20))
def test_any_text_is_text(said, around):
    seen = Seen(html(read(json.dumps(answer(said, around)), "answer.json")))
    assert seen.tags <= NAMES
    assert seen.attributes <= {
        "aria-label", "aria-labelledby", "charset", "class", "content", "dir", "href", "http-equiv", "id", "lang",
        "name", "open", "role", "scope", "tabindex", "title",
    }  # fmt: skip
    assert seen.links == {"#c1"}


def test_hostile_markup_is_shown_as_it_stands():
    page = html(read(json.dumps(answer(HOSTILE, "before & after")), "answer.json"))
    seen = Seen(page)
    assert "script" not in seen.tags
    assert seen.text.count(HOSTILE.replace("\u202e", "\ufffd")) >= 9, "in every place that it has"
    assert "\u202e" not in page, "what would turn the direction of all that follows"


def test_a_quote_stands_in_its_context_and_places_have_units():
    page = html(read(json.dumps(answer("It is 4.", "Some words around it. ")), "answer.json"))
    assert (
        '<blockquote dir="auto">Some words around it. <mark>It is 4.</mark>Some words around it. </blockquote>' in page
    )
    text = Seen(page).text
    assert "It is 4., page 3, line 7 characters 122 to 130" in text
    assert "12.3" in text
    assert "milliseconds" in text
    assert Seen(page).links <= {f"#{name}" for name in Seen(page).ids}
    assert "default-src 'none'" in page


def test_a_quote_that_no_passage_holds_stands_alone():
    plain = answer("It is 4.")
    plain["hits"][0]["text"] = "other"
    assert '<blockquote dir="auto"><mark>It is 4.</mark></blockquote>' in html(read(json.dumps(plain), "answer.json"))


def test_a_sentence_without_support_is_said_to_be():
    plain = answer("It is 4.")
    plain["sentences"][0]["citations"] = []
    page = html(read(json.dumps(plain), "answer.json"))
    assert 'class="bare"' in page
    assert "1 sentence without support" in page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no answer"),
        ('{"text": "a"}', "sentences"),
        ('{"error": "the store is empty", "exit_code": 1}', "the store is empty"),
        (json.dumps({**answer("a"), "sentences": [{"start": 0, "end": 9}]}), "sentence 1 is not inside the text"),
        (json.dumps({**answer("a"), "citations": []}), "sentence 1 cites 1"),
        (json.dumps({**answer("a"), "citations": [{"n": 1, "start": -1, "end": 0, "quote": ""}]}), "citations.0.start"),
    ],
)
def test_what_is_no_answer_is_said(text, said):
    with pytest.raises(DocumentError) as error:
        read(text, "answer.json")
    assert said in str(error.value)
    assert "fovea ask" in error.value.fix


def test_from_ask_to_page_on_the_command_line(make, docs, tmp_path, capsys):
    pipeline = make()
    pipeline.ingest(docs)
    pipeline.close()
    path = tmp_path / "qa.yaml"
    path.write_text("encoder: hash\nsegment: {use: sentence, max_tokens: 12}\n")
    assert main(["ask", str(path), "How hot is green tea brewed?", "--json"]) == 0
    printed = capsys.readouterr().out
    (tmp_path / "answer.json").write_text(printed, "utf-8")
    assert main(["export", "page", str(tmp_path / "answer.json")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "answer.html")
    page = (tmp_path / "answer.html").read_text("utf-8")
    text = Seen(page).text
    assert "How hot is green tea brewed?" in text
    assert json.loads(printed)["citations"][0]["quote"] in text
    assert main(["export", "page", str(tmp_path / "answer.json"), "--out", "-"]) == 0
    assert capsys.readouterr().out == page
    assert main(["export", "page", str(tmp_path / "answer.json"), "--out", str(tmp_path / "answer.json")]) == 1
    assert "take the place" in capsys.readouterr().err
    assert json.loads((tmp_path / "answer.json").read_text())["question"]
    assert main(["export", "page", str(tmp_path / "none.json")]) == 1
    assert "No such file" in capsys.readouterr().err


def test_surrogates_and_control_characters_survive_json():
    odd = "a\ud800\x00\x1b[31m\u2028b"
    page = html(read(to_json(answer(odd)), "answer.json"))
    page.encode("utf-8")
    assert "\x1b" not in page
