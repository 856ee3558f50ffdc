"""Word documents out of the XML of their bodies, and of other parts where a test needs them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from fovea.pipelines.loaders.docx import DocxLoader
from fovea.rag.trace import Trace

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
SPACES = (
    f'xmlns:w="{W}" xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing" '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" xmlns:v="urn:schemas-microsoft-com:vml" '
    'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape" '
    'xmlns:w14="http://schemas.microsoft.com/office/word/2010/wordml" xmlns:x="urn:x" '
    'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
)
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def run(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(*inside: str, properties: str = "") -> str:
    """Text that is no XML yet becomes a run."""
    runs = "".join(one if one.startswith("<") else run(one) for one in inside)
    return f"<w:p><w:pPr>{properties}</w:pPr>{runs}</w:p>"


def numbered(text: str, level: int = 0, number: int = 1) -> str:
    return paragraph(text, properties=f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr>')


def table(*rows: list[str]) -> str:
    """Cells that are no XML yet become paragraphs."""
    lines = ("".join(f"<w:tc>{c if c.startswith('<') else paragraph(c)}</w:tc>" for c in row) for row in rows)
    return f"<w:tbl>{''.join(f'<w:tr>{line}</w:tr>' for line in lines)}</w:tbl>"


def word(body: str, *, main: str = W, **parts: str) -> bytes:
    """A document; `parts` are the insides of `styles`, `numbering`, `footnotes`, `header1`, ... by name."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("_rels/.rels", _relations({"rId1": ("officeDocument", "word/document.xml")}))
        document = f"<w:document {SPACES}><w:body>{body}</w:body></w:document>".replace(W, main)
        archive.writestr("word/document.xml", document)
        named = {name: (name.rstrip("0123456789"), f"{name}.xml") for name in parts}
        archive.writestr("word/_rels/document.xml.rels", _relations(named))
        for name, inside in parts.items():
            kind = {"header": "hdr", "footer": "ftr"}.get(name.rstrip("0123456789"), name)
            archive.writestr(f"word/{name}.xml", f"<w:{kind} {SPACES}>{inside}</w:{kind}>")
    return out.getvalue()


def _relations(found: dict[str, tuple[str, str]]) -> str:
    lines = (f'<Relationship Id="{i}" Type="{RELATION}/{kind}" Target="{to}"/>' for i, (kind, to) in found.items())
    space = "http://schemas.openxmlformats.org/package/2006/relationships"
    return f'<Relationships xmlns="{space}">{"".join(lines)}</Relationships>'


def read(folder: Path, body: str, **parts: str) -> tuple[str, dict[str, int]]:
    """The text of such a document, and the warnings."""
    (folder / "a.docx").write_bytes(word(body, **parts))
    trace = Trace()
    with trace.stage("load"):
        text = "".join(document.text for document in DocxLoader().load(folder / "a.docx"))
    return text.rstrip("\n"), dict(trace.warnings)
