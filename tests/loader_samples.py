"""Small real files of every format, made on the spot."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

from fovea.rag.loader import Loader
from fovea.rag.trace import Trace
from fovea.rag.types import Document
from tests import office_samples, ole_file

TEXT = "The Moon orbits the Earth.\r\nIt has no air — none.\r\n\r\nNeil Armstrong walked on it in 1969.\n"
MARKDOWN = (
    "---\ntitle: Tea\nyear: 1990\ntags: [green, black]\n---\n\n# All about tea\n\nGreen tea is brewed at 80 °C.\n"
)
HTML = """<!doctype html><html lang=en><head><title>Rivers  of Europe</title><meta name=author content="A. B.">
<style>p {color: red}</style><script>var hidden = 1</script></head><body><nav><a href=/>Home</a></nav>
<h1>Rivers</h1><p>The <b>Danube</b> flows
through <a href=x>ten countries</a>.<ul><li>Inn<li>Sava</ul>
<table><tr><th>River<th>km<tr><td>Danube<td>2850</table><pre>a  b
  c</pre></body></html>
"""
CSV = 'id,title,text,year\n1,Moon,"It has no air,\nnone.",1969\n2,Tea,Brewed at 80 degrees.,007\n'
JSONL = '{"text": "The Nile is long.", "title": "Nile", "year": 1999}\n\n{"text": "Tea is hot.", "tags": ["x"]}\n'


def pdf(pages: Sequence[str | None], *, title: str = "", encrypt: str | None = None) -> bytes:
    """A PDF with one line of text per line of each page; None makes a page with no content at all."""
    count = len(pages)
    objects = ["<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(count))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {count} >>")
    objects.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
    for n, page in enumerate(pages):
        lines = "" if page is None else "".join(f"({line}) Tj 0 -20 Td " for line in page.split("\n"))
        stream = f"BT /F1 12 Tf 50 700 Td {lines}ET" if lines else ""
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * n} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects.append(f"<< /Title ({title}) /Author (A. B.) /CreationDate (D:20190102030405Z) >>")
    extra = f" /Encrypt {encrypt} /ID [<00> <00>]" if encrypt else ""
    return _assemble(objects, f"<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R{extra} >>")


def _assemble(objects: list[str], trailer: str) -> bytes:
    out, places = io.BytesIO(), []
    out.write(b"%PDF-1.4\n")
    for number, body in enumerate(objects, 1):
        places.append(out.tell())
        out.write(f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1"))
    start = out.tell()
    out.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    out.write("".join(f"{place:010d} 00000 n \n" for place in places).encode())
    out.write(f"trailer\n{trailer}\nstartxref\n{start}\n%%EOF\n".encode())
    return out.getvalue()


def locked_pdf(password: str) -> bytes:
    """A PDF that opens only with `password` (an empty one opens without)."""
    import pypdf

    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf(["Secret words."])))
    writer.encrypt(password, "owner", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def docx() -> bytes:
    """A Word document with a title, headings, lists, a table between paragraphs, and metadata."""
    import docx as word

    document = word.Document()
    document.core_properties.title, document.core_properties.author = "On tea", "A. B."
    document.add_heading("Tea", 0)
    document.add_heading("Brewing", 1)
    document.add_paragraph("Green tea is brewed at 80 degrees.")
    document.add_paragraph("Warm the pot", "List Bullet")
    document.add_paragraph("Pour the water", "List Bullet")
    table = document.add_table(2, 2)
    for cell, text in zip([c for row in table.rows for c in row.cells], ["Tea", "Minutes", "Sencha | Gyokuro", "2"]):
        cell.text = text
    document.add_paragraph("Black tea takes longer.")
    document.add_heading("History", 2)
    document.add_paragraph("First step", "List Number")
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


SAMPLES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "text": (".txt", lambda: TEXT.encode()),
    "markdown": (".md", lambda: MARKDOWN.encode()),
    "html": (".html", lambda: HTML.encode()),
    "pdf": (".pdf", lambda: pdf(["The first page.\nIts second line.", "The second page."], title="A Book")),
    "docx": (".docx", docx),
    "csv": (".csv", lambda: CSV.encode()),
    "jsonl": (".jsonl", lambda: JSONL.encode()),
    "xlsx": (".xlsx", office_samples.xlsx),
    "pptx": (".pptx", office_samples.pptx),
    "odf": (".odt", lambda: office_samples.odf(office_samples.ODT)),
    "epub": (".epub", office_samples.epub),
    "ipynb": (".ipynb", office_samples.notebook),
    "pandoc": (".rtf", lambda: office_samples.RTF),
    "eml": (".eml", office_samples.eml),
    "mbox": (".mbox", office_samples.mbox),
    "msg": (".msg", lambda: ole_file.msg(attachments={"terms.md": b"# Terms"})),
    "zip": (".zip", lambda: office_samples.packed({"a/terms.md": "# Terms", "b.txt": "plain"})),
}
"""Per loader, a suffix and what makes the bytes of a good file."""


def sample(name: str, folder: Path) -> Path:
    """Write the good file of loader `name` into `folder`."""
    suffix, make = SAMPLES[name]
    path = folder / f"sample{suffix}"
    path.write_bytes(make())
    return path


def load(loader: Loader, path: Path, data: bytes | str) -> tuple[list[Document], dict[str, int]]:
    """The documents of a file made of `data`, and the warnings they left."""
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    trace = Trace()
    with trace.stage("load"):
        documents = list(loader.load(path))
    return documents, dict(trace.warnings)


def one(loader: Loader, path: Path, data: bytes | str) -> Document:
    """The one document of a file, which leaves no warning."""
    (document,), warnings = load(loader, path, data)
    assert warnings == {}
    return document
