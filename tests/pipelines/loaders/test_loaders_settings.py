"""Settings files, other JSON and plain-text markup: character for character."""

import json

import pytest

from fovea.pipelines.loaders.jsonl import JsonlLoader
from fovea.pipelines.loaders.text import TextLoader
from fovea.rag.errors import DocumentError
from tests.loader_samples import load, one

FILES = [
    ("a.yaml", "tea: {green: yes}\n# note\n", "application/yaml"),
    ("a.yml", "- a\n- b\n", "application/yaml"),
    ("a.toml", "[tea]\ndegrees = 80\n", "application/toml"),
    ("a.ini", "[tea]\r\ndegrees=80\r\n", "text/plain"),
    ("a.cfg", "[tea]\n", "text/plain"),
    ("a.properties", "tea=80\n", "text/plain"),
    ("a.xml", "<tea><d>80</d></tea>\n", "text/xml"),
    ("a.ics", "BEGIN:VCALENDAR\r\n", "text/calendar"),
]


@pytest.mark.parametrize(("name", "text", "kind"), FILES)
def test_settings_are_read_as_they_are_written(tmp_path, name, text, kind):
    document = one(TextLoader(), tmp_path / name, text)
    assert (document.text, document.media_type, document.title) == (text, kind, "")


@pytest.mark.parametrize(
    ("name", "text", "title"),
    [
        ("a.rst", "Tea\n===\n\nHot.\n", "Tea"),
        ("a.adoc", "= On *tea*\n\nHot.\n", "On tea"),
        ("a.org", "#+TITLE: x\n* TODO Tea :hot:\n", "Tea"),
        ("a.tex", "\\documentclass{a}\n\\section{On \\emph{tea}}\n", "On tea"),
        ("a.rst", "no heading at all\n", ""),
    ],
)
def test_markup_is_read_as_it_is_written_with_its_title(tmp_path, name, text, title):
    document = one(TextLoader(), tmp_path / name, text)
    assert (document.text, document.title) == (text, title)


@pytest.mark.parametrize(
    "value", [{"name": "app", "version": "1.2.0", "scripts": {"test": "x"}}, [1, 2, 3], [{"a": 1}], 5, {"text": 5}]
)
def test_other_json_is_read_as_it_is_written(tmp_path, value):
    text = json.dumps(value, indent=1) + "\n"
    document = one(JsonlLoader(), tmp_path / "a.json", text)
    assert (document.text, document.media_type) == (text, "application/json")


def test_records_stay_records(tmp_path):
    for value in ([{"text": "a"}, {"text": "b"}], ["a", "b"], {"content": "a"}):
        documents, _ = load(JsonlLoader(), tmp_path / "a.json", json.dumps(value))
        assert documents[0].text == "a"
        assert documents[0].id.endswith("a.json#1")


def test_a_field_that_is_asked_for_makes_records(tmp_path):
    value = [{"headline": "x", "story": "y"}]
    assert one(JsonlLoader(text=("story",)), tmp_path / "a.json", json.dumps(value)).text == "y"
    (tmp_path / "a.jsonl").write_text('{"headline": "x"}\n')
    with pytest.raises(DocumentError, match="no field holds the text"):
        list(JsonlLoader().load(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("text", ["[]", "null", "{", '{"a": NaN}'])
def test_json_without_anything_to_read_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DocumentError):
        list(JsonlLoader().load(tmp_path / "a.json"))
