"""Pandoc's blocks, written."""

from __future__ import annotations

from typing import Any

from fovea.pipelines.loaders.opendocument.numbers import digits
from fovea.pipelines.loaders.pandoc_tree.inlines import words
from fovea.pipelines.loaders.writer import Writer
from fovea.rag.trace import warn

FORMS = {"LowerAlpha": "a", "UpperAlpha": "A", "LowerRoman": "i", "UpperRoman": "I"}
AROUND = {"OneParen": ("", ")"), "TwoParens": ("(", ")")}


class Blocks:
    """Writes the blocks of one file, notes after the block that calls them; `name` is for warnings."""

    def __init__(self, writer: Writer, name: str) -> None:
        self.writer, self.name = writer, name
        self.notes: list[list[Any]] = []
        self.written = 0

    def write(self, blocks: list[Any]) -> None:
        """Write blocks in their order."""
        for block in blocks:
            self._block(block["t"], block.get("c"))
            while self.written < len(self.notes):
                self.written += 1
                self.writer.paragraph(f"[^{self.written}]: {self._plain(self.notes[self.written - 1])}")

    def _block(self, kind: str, content: Any) -> None:
        if kind in ("Para", "Plain"):
            self.writer.paragraph(words(content, self.notes))
        elif kind == "Header":
            self.writer.heading(content[0], words(content[2], self.notes))
        elif kind == "CodeBlock":
            self.writer.code(content[1], next(iter(content[0][1]), ""))
        elif kind == "LineBlock":
            self.writer.paragraph("\n".join(words(line, self.notes) for line in content))
        elif kind in ("BulletList", "OrderedList"):
            self._list(kind, content, 0)
        elif kind == "DefinitionList":
            for term, meanings in content:
                said = " ".join(self._plain(meaning) for meaning in meanings)
                self.writer.item(f"{words(term, self.notes)}: {said}")
        elif kind == "Table":
            self._table(content)
        elif kind in ("BlockQuote", "Div", "Figure"):
            self.write(content if kind == "BlockQuote" else content[-1])
            if kind == "Figure":
                self.write(content[1][1])
        elif kind == "RawBlock":
            warn(f"{self.name}: markup of another format, left out")

    def _list(self, kind: str, content: Any, depth: int) -> None:
        for number, blocks in enumerate(content[1] if kind == "OrderedList" else content):
            marker = _marker(content[0], number) if kind == "OrderedList" else "-"
            lead = next((n for n, block in enumerate(blocks) if block["t"] not in ("Para", "Plain")), len(blocks))
            said = "\n".join(words(block["c"], self.notes) for block in blocks[:lead])
            self.writer.item(said, marker=marker, depth=depth)
            for block in blocks[lead:]:
                if block["t"] in ("BulletList", "OrderedList"):
                    self._list(block["t"], block["c"], depth + 1)
                else:
                    self.write([block])

    def _table(self, content: Any) -> None:
        """Caption, then head, bodies and foot as one grid, merged cells filled."""
        _, caption, _, head, bodies, foot = content
        self.write(caption[1])
        rows = [*head[1], *(row for body in bodies for part in body[2:4] for row in part), *foot[1]]
        spans: dict[int, tuple[int, str]] = {}
        grid = [self._row(row, spans) for row in rows]
        self.writer.table(grid, header=bool(head[1]) and any(grid[0]))

    def _row(self, row: Any, spans: dict[int, tuple[int, str]]) -> list[str]:
        out: list[str] = []
        cells = list(row[1])
        while cells or spans.get(len(out), (0, ""))[0]:
            left, held = spans.get(len(out), (0, ""))
            if left:
                spans[len(out)] = (left - 1, held)
                out.append(held)
                continue
            _, _, high, wide, blocks = cells.pop(0)
            said = self._plain(blocks)
            spans |= {len(out) + n: (high - 1, said) for n in range(wide)}
            out += [said] * wide
        return out

    def _plain(self, blocks: list[Any]) -> str:
        """Blocks as lines of text, for cells and notes."""
        inner = Writer()
        writer, self.writer = self.writer, inner
        try:
            for block in blocks:
                if block["t"] in ("Para", "Plain"):
                    inner.paragraph(words(block["c"], self.notes))
                else:
                    self._block(block["t"], block.get("c"))
        finally:
            self.writer = writer
        return inner.text.strip()


def _marker(attributes: Any, number: int) -> str:
    start, style, delimiter = attributes[0], attributes[1]["t"], attributes[2]["t"]
    before, after = AROUND.get(delimiter, ("", "."))
    return f"{before}{digits(start + number, FORMS.get(style, '1'))}{after}"
