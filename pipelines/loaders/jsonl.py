"""JSON Lines, and JSON files: records where they are some, else the file as it is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fovea.pipelines.loaders import docling
from fovea.pipelines.loaders.decode import open_text
from fovea.pipelines.loaders.records import BadRecord, RecordLoader
from fovea.rag.types import Document

TEXT_FIELDS = ("text", "content", "page_content", "body", "contents", "passage", "document")
"""Where the text is looked for when `text` is not set; the first one there is taken."""


class JsonlLoader(RecordLoader, name="jsonl"):
    """One document per object, streamed; without `text`, the first of text, content, page_content, body, contents,
    passage, document is taken. A bare string is a document too. `.json` holds an array of them, or one, or lines.

    Other `.json` is read character for character, as one document; a DoclingDocument by its tree, with its pages.
    """

    suffixes = (".jsonl", ".ndjson", ".json")
    format = "JSON"

    def read(self, path: Path) -> Iterator[Document]:
        """One document per record, or the one that the whole file is."""
        whole = self._whole(path) if path.suffix.lower() == ".json" and not self.text else None
        if isinstance(whole, dict) and docling.is_docling(whole):
            yield docling.document(whole, path)
        elif whole is None or _is_record(whole):
            yield from super().read(path)
        else:
            with open_text(path, self.encoding) as file:
                text = file.read()
            name = path.as_posix()
            yield Document(name, text, name, media_type="application/json")

    def records(self, path: Path) -> Iterator[tuple[int, Mapping[str, object] | BadRecord]]:
        """Each object with the number of its line, or in an array with its place in it."""
        if path.suffix.lower() == ".json" and (whole := self._whole(path)) is not None:
            yield from enumerate(map(_record, whole if isinstance(whole, list) else [whole]), 1)
            return
        with open_text(path, self.encoding) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _parse(line)

    def _whole(self, path: Path) -> Any:
        """The value of a file that is one, or None if it is several, and so to be read line by line."""
        with open_text(path, self.encoding) as file:
            try:
                data = _loads(file.read())
            except json.JSONDecodeError as error:
                if error.msg == "Extra data":
                    return None
                bad = BadRecord(_words(error), "mend it, or write JSON Lines")
                raise self._placed(bad, path, error.lineno) from error
        return [] if data is None else data

    def pick(self, record: Mapping[str, object]) -> tuple[tuple[str, ...], str]:
        """The names of the text fields of a record, and their text."""
        if self.text:
            return super().pick(record)
        field = next((f for f in TEXT_FIELDS if isinstance(record.get(f), str)), None)
        if field is None:
            raise BadRecord(
                "no field holds the text",
                f"name it: load: [{{use: jsonl, text: [FIELD]}}]; this one has {', '.join(map(str, record)) or 'none'}",
            )
        return (field,), str(record[field])


def _is_record(value: object) -> bool:
    """Whether a JSON value is a record with a text, or an array that begins with one; an empty one is."""
    first = value[0] if isinstance(value, list) and value else value
    if isinstance(first, dict):
        return any(isinstance(first.get(field), str) for field in TEXT_FIELDS)
    return isinstance(first, str) or first == []


def _parse(line: str) -> Mapping[str, object] | BadRecord:
    try:
        return _record(_loads(line))
    except json.JSONDecodeError as error:
        return BadRecord(_words(error))
    except (ValueError, RecursionError) as error:
        return BadRecord(f"not JSON that can be read: {error}")


def _words(error: json.JSONDecodeError) -> str:
    return f"not JSON: {error.msg.removesuffix(' at')} at character {error.colno}"


def _record(value: object) -> Mapping[str, object] | BadRecord:
    if isinstance(value, str):
        return {"text": value}
    return value if isinstance(value, dict) else BadRecord(f"expected an object, got {type(value).__name__}")


def _loads(text: str) -> Any:
    return json.loads(text, parse_constant=_no_constant)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
