"""JSON of a DoclingDocument: text in reading order with its pages, as docling-core writes it."""

import copy
import importlib.util
import json

import pytest

from fovea.pipelines.loaders.jsonl import JsonlLoader
from fovea.rag.errors import DocumentError
from tests.loader_samples import load, one


def item(place, label, text, page=None, children=(), **more):
    kind, number = place.split("/")
    prov = [{"page_no": page, "bbox": {"l": 0, "t": 0, "r": 1, "b": 1}, "charspan": [0, 1]}] if page else []
    return kind, int(number), {
        "self_ref": f"#/{place}", "label": label, "text": text, "orig": text, "prov": prov,
        "children": [{"$ref": f"#/{child}"} for child in children], "content_layer": "body", **more,
    }  # fmt: skip


def docling(*items, body=(), **more):
    value = {
        "schema_name": "DoclingDocument", "version": "1.10.0", "name": "tea", "groups": [], "texts": [], "tables": [],
        "pictures": [], "body": {"self_ref": "#/body", "children": [{"$ref": f"#/{place}"} for place in body]}, **more,
    }  # fmt: skip
    for kind, _, thing in sorted(items, key=lambda found: found[:2]):
        value[kind].append(thing)
    return value


def cell(text, row, first, last):
    return {
        "text": text, "start_row_offset_idx": row, "end_row_offset_idx": row + 1, "start_col_offset_idx": first,
        "end_col_offset_idx": last,
    }  # fmt: skip


CELLS = [cell("Tea", 0, 0, 2), cell("Sencha", 1, 0, 1), cell("2 | 3", 1, 1, 2)]
DOCUMENT = docling(
    item("texts/0", "title", "On tea", 1),
    item("texts/1", "section_header", "Brewing", 1, level=1),
    item("texts/2", "text", "# no heading", 1),
    item("texts/3", "list_item", "one", 3, enumerated=True, marker="1."),
    item("texts/4", "list_item", "two", 3, enumerated=True, marker="2.", children=["groups/1"]),
    item("texts/5", "list_item", "deep", 3, enumerated=False),
    item("texts/6", "caption", "Table 1", 3),
    item("texts/7", "code", "x = 1", 3, code_language="Python"),
    item("texts/8", "page_header", "Confidential", 1, content_layer="furniture"),
    item("texts/9", "text", "some", 3),
    item("texts/10", "text", "words", 3),
    item("texts/11", "caption", "A garden", 3),
    item("groups/0", "list", "", children=["texts/3", "texts/4"]),
    item("groups/1", "list", "", children=["texts/5"]),
    item("groups/2", "inline", "", children=["texts/9", "texts/10"]),
    item(
        "tables/0",
        "table",
        "",
        3,
        children=["texts/6"],
        captions=[{"$ref": "#/texts/6"}],
        data={"num_rows": 2, "num_cols": 2, "table_cells": CELLS},
    ),
    item("pictures/0", "picture", "", 3, captions=[{"$ref": "#/texts/11"}]),
    body=["texts/0", "texts/1", "texts/2", "groups/0", "tables/0", "texts/7", "texts/8", "groups/2", "pictures/0"],
    origin={"filename": "tea.pdf", "mimetype": "application/pdf"},
)
TEXT = (
    "# On tea\n\n## Brewing\n\n\\# no heading\n\n1. one\n2. two\n  - deep\n\nTable 1\n\n"
    "| Tea | Tea |\n| --- | --- |\n| Sencha | 2 \\| 3 |\n\n```python\nx = 1\n```\n\nsome words\n\nA garden\n"
)


def test_a_document_word_for_word(tmp_path):
    (document,), warnings = load(JsonlLoader(), tmp_path / "tea.json", json.dumps(DOCUMENT))
    assert document.text == TEXT
    assert (document.title, document.media_type) == ("On tea", "text/markdown")
    assert document.metadata == {"origin": "tea.pdf"}
    assert document.page_at(document.text.index("Brewing")) == 1
    assert document.page_at(document.text.index("1. one")) == 3
    assert len(document.pages) == 3
    assert warnings == {"tea.json: headers and footers of pages, left out": 1}


def test_what_the_body_does_not_lead_to_is_counted(tmp_path):
    value = copy.deepcopy(DOCUMENT)
    value["body"]["children"].pop(2)
    _, warnings = load(JsonlLoader(), tmp_path / "tea.json", json.dumps(value))
    assert warnings["tea.json: texts and tables outside the reading order, left out"] == 1


def test_references_in_a_circle_end(tmp_path):
    value = docling(item("texts/0", "text", "once", children=["texts/0"]), body=["texts/0", "texts/0"])
    assert one(JsonlLoader(), tmp_path / "a.json", json.dumps(value)).text == "once\n"


@pytest.mark.parametrize("reference", ["#/texts/7", "nowhere", "#/secrets/0"])
def test_references_that_lead_nowhere_are_refused(tmp_path, reference):
    value = docling(item("texts/0", "text", "once"))
    value["body"]["children"] = [{"$ref": reference}]
    (tmp_path / "a.json").write_text(json.dumps(value))
    with pytest.raises(DocumentError, match="cannot be read as JSON"):
        list(JsonlLoader().load(tmp_path / "a.json"))


@pytest.mark.skipif(importlib.util.find_spec("docling_core") is None, reason="docling-core is not installed")
def test_what_docling_core_writes_is_read_as_it_writes_markdown(tmp_path):
    from docling_core.types.doc.document import DoclingDocument, TableCell, TableData
    from docling_core.types.doc.labels import DocItemLabel

    made = DoclingDocument(name="tea")
    made.add_title("On tea")
    made.add_heading("Brewing", level=1)
    made.add_text(DocItemLabel.TEXT, "Green tea at 80 degrees.")
    group = made.add_list_group()
    for number, words in enumerate(("one", "two"), 1):
        made.add_list_item(words, enumerated=True, marker=f"{number}.", parent=group)
    cells = [
        TableCell(
            text=words, start_row_offset_idx=n // 2, end_row_offset_idx=n // 2 + 1, start_col_offset_idx=n % 2,
            end_col_offset_idx=n % 2 + 1,
        )
        for n, words in enumerate(("Tea", "Tins", "Sencha", "many"))
    ]  # fmt: skip
    caption = made.add_text(DocItemLabel.CAPTION, "Table 1")
    made.add_table(TableData(num_rows=2, num_cols=2, table_cells=cells), caption=caption)
    made.add_code("x = 1")
    made.save_as_json(tmp_path / "a.json")
    (document,) = JsonlLoader().load(tmp_path / "a.json")

    def plain(text):
        return [line.replace(" ", "").replace("-", "") for line in text.splitlines() if line.strip()]

    assert plain(document.text) == plain(made.export_to_markdown())
