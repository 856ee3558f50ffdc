"""Documents that Docling has converted (JSON of a DoclingDocument): their text in reading order, with its pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fovea.pipelines.loaders.writer import Writer
from fovea.rag.headings import first_heading
from fovea.rag.trace import warn
from fovea.rag.types import Document, Scalar

SCHEMA = "DoclingDocument"
QUIET = ("caption", "footnote")
"""Labels of texts that are also named by the table or picture they belong to."""


def is_docling(value: object) -> bool:
    """Whether JSON says that it is a DoclingDocument."""
    return isinstance(value, dict) and value.get("schema_name") == SCHEMA


def document(value: dict[str, Any], path: Path) -> Document:
    """The body of a DoclingDocument as Markdown, with the offset of each page that `prov` names. Boxes have no place in
    a document of ours; page headers and footers (`furniture`) are left out, counted."""
    tree = _Tree(value, path.name)
    tree.write(value.get("body") or {})
    tree.count_unread()
    text, name = tree.writer.text, path.as_posix()
    origin = value.get("origin") or {}
    metadata: dict[str, Scalar] = {"origin": str(origin["filename"])} if origin.get("filename") else {}
    return Document(name, text, name, first_heading(text), "text/markdown", metadata, tree.writer.pages)


class _Tree:
    """Walks references (`#/texts/3`) from the body; each item is written once."""

    def __init__(self, value: dict[str, Any], name: str) -> None:
        self.value, self.name, self.writer = value, name, Writer()
        self.seen: set[str] = set()
        self.page = 0

    def write(self, item: dict[str, Any], depth: int = 0) -> None:
        """Everything below `item`, in reading order; `depth` is that of a list's items."""
        for child, kind in self._follow(item.get("children")):
            self._item(child, kind, depth)

    def count_unread(self) -> None:
        """Count what the body does not lead to."""
        texts = [item for kind in ("texts", "tables") for item in self.value.get(kind) or []]
        left = [item for item in texts if item.get("self_ref") not in self.seen]
        furniture = sum(item.get("content_layer") == "furniture" for item in left)
        warn(f"{self.name}: headers and footers of pages, left out", furniture)
        warn(f"{self.name}: texts and tables outside the reading order, left out", len(left) - furniture)

    def _follow(self, references: Iterable[dict[str, Any]] | None) -> Iterator[tuple[dict[str, Any], str]]:
        for reference in references or []:
            item, kind, place = self._at(reference)
            if place not in self.seen and item.get("content_layer", "body") != "furniture":
                self.seen.add(place)
                yield item, kind

    def _item(self, item: dict[str, Any], kind: str, depth: int) -> None:
        self._turn(item)
        if kind == "groups":
            self._group(item, depth)
        elif kind == "tables":
            self._around(item)
            self.writer.table(*_table(item["data"]))
            self.write(item)
        elif kind == "pictures":
            self._around(item)
            notes = [note.get("text", "") for note in item.get("annotations") or []]
            described = ((item.get("meta") or {}).get("description") or {}).get("text", "")
            for words in dict.fromkeys([described, *notes]):
                self.writer.paragraph(words or "")
            self.write(item)
        elif kind in ("key_value_items", "form_items"):
            for cell in (item.get("graph") or {}).get("cells") or []:
                self.writer.item(str(cell.get("text", "")))
        else:
            self._text(item, depth)

    def _text(self, item: dict[str, Any], depth: int) -> None:
        label, text = item.get("label"), str(item.get("text") or item.get("orig") or "")
        inner = depth
        if label == "title":
            self.writer.heading(1, text)
        elif label == "section_header":
            self.writer.heading(int(item.get("level", 1)) + 1, text)
        elif label == "code":
            language = str(item.get("code_language") or "unknown").lower()
            self.writer.code(text, "" if language == "unknown" else language)
        elif label == "list_item":
            marker = str(item.get("marker") or "-") if item.get("enumerated") else "-"
            self.writer.item(text or self._inline(item), marker=marker, depth=depth)
            inner = depth + 1
        elif label in ("checkbox_selected", "checkbox_unselected"):
            self.writer.item(f"[{'x' if label == 'checkbox_selected' else ' '}] {text}", depth=depth)
        else:
            self.writer.paragraph(text or self._inline(item))
        self.write(item, inner)

    def _group(self, item: dict[str, Any], depth: int) -> None:
        if item.get("label") == "inline":
            self.writer.paragraph(self._words(item))
        else:
            self.write(item, depth)

    def _inline(self, item: dict[str, Any]) -> str:
        """The words of an item that keeps them in an inline group, its first child."""
        first = (item.get("children") or [])[:1]
        if not first or self._at(first[0])[0].get("label") != "inline":
            return ""
        return " ".join(self._words(group) for group, _ in self._follow(first))

    def _at(self, reference: dict[str, Any]) -> tuple[dict[str, Any], str, str]:
        """The item that a reference leads to, the list it is in, and the reference itself."""
        place = str(reference.get("$ref") or reference.get("cref") or "")
        _, kind, number = place.split("/")
        return self.value[kind][int(number)], kind, place

    def _words(self, item: dict[str, Any]) -> str:
        return " ".join(str(child.get("text") or "") for child, _ in self._follow(item.get("children"))).strip()

    def _around(self, item: dict[str, Any]) -> None:
        for caption, _ in self._follow([*(item.get("captions") or []), *(item.get("footnotes") or [])]):
            self._turn(caption)
            self.writer.paragraph(str(caption.get("text", "")))

    def _turn(self, item: dict[str, Any]) -> None:
        """Begin pages up to the one on which the item stands; what was set back to an earlier page stays on this."""
        for place in (item.get("prov") or [])[:1]:
            number = min(int(place["page_no"]), self.page + 100_000)
            while self.page < number:
                self.page += 1
                self.writer.page()


def _table(data: dict[str, Any]) -> tuple[list[list[str]]]:
    """The grid of a table, merged cells filled."""
    if data.get("grid"):
        return ([[str(cell.get("text", "")) for cell in row] for row in data["grid"]],)
    rows = [[""] * int(data.get("num_cols", 0)) for _ in range(int(data.get("num_rows", 0)))]
    for cell in data.get("table_cells") or []:
        for row in range(cell["start_row_offset_idx"], cell["end_row_offset_idx"]):
            for column in range(cell["start_col_offset_idx"], cell["end_col_offset_idx"]):
                rows[row][column] = str(cell.get("text", ""))
    return (rows,)
