"""Every loader takes time in proportion to its file, whatever is repeated in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from fovea.rag import registry
from fovea.rag.errors import FoveaError
from fovea.rag.trace import Trace
from tests import office_samples, ole_file
from tests.growth import MOST, growth
from tests.loader_samples import SAMPLES, pdf
from tests.pipelines.loaders import word_samples

Make = Callable[[int], str | bytes]
PAGE = {
    "links": lambda n: f"<p>{'<a href=x>a</a> ' * n}",
    "links without end": lambda n: f"<p>{'<a href=x>a ' * n}",
    "raised": lambda n: f"<p>{'a<sup>1</sup> ' * n}",
    "raised without end": lambda n: f"<p>{'a<sup>1 ' * n}",
    "lowered without end": lambda n: f"<p>{'a<sub>b' * n}",
    "emphasis without end": lambda n: f"<p>{'<b>a<i>b<code>' * n}",
    "emphasis": lambda n: f"<p>{'<b>a</b> <i>b</i> ' * n}",
    "boxes": lambda n: "<div>" * n + "a" + "</div>" * n,
    "boxes without end": lambda n: "<div>a " * n,
    "lists in lists": lambda n: "<ul><li>a" * n,
    "items": lambda n: f"<ol reversed>{'<li>a' * n}</ol>",
    "lists": lambda n: "<ol reversed><li>a</ol>" * n,
    "cells": lambda n: f"<table><tr>{'<td>a' * n}</table>",
    "rows": lambda n: f"<table>{'<tr><th>a<td>b' * n}</table>",
    "rows that reach down": lambda n: f"<table>{'<tr><td rowspan=0>a<td>b' * n}</table>",
    "tables in tables": lambda n: "<table><tr><td>a" * n,
    "one wide row": lambda n: f"<table><tr>{'<td>a' * n}{'<tr><td>b' * n}</table>",
    "buttons": lambda n: f"<p>{'<button>a</button> ' * n}",
    "buttons in buttons": lambda n: "<div><button>a" * n,
    "fields": lambda n: "<p>" + "a <input value=b> " * n,
    "options": lambda n: f"<select>{'<option selected>a' * n}</select>",
    "formulas": lambda n: "<p>" + "<math><mfrac><mn>1</mn><mn>2</mn></mfrac></math> " * n,
    "one formula": lambda n: f"<math>{'<msup><mi>a</mi><mn>2</mn></msup>' * n}</math>",
    "hidden": lambda n: "<p>" + "<span aria-hidden=true>a</span> " * n,
    "hidden in hidden": lambda n: "<div hidden>a" * n,
    "navigation": lambda n: "<nav>a" * n,
    "headings": lambda n: "<h2>a</h2>" * n,
    "headings without end": lambda n: "<h2>a" * n,
    "breaks": lambda n: f"<p>{'a<br> ' * n}",
    "spaces": lambda n: f"<p>a{' ' * 40 * n}b",
    "blank lines in code": lambda n: "<pre>" + "a \n" * 8 * n,
    "code in lines": lambda n: f"<pre>{'<div>a</div>' * n}</pre>",
    "comments without end": lambda n: "<!-- a" * n,
    "angles": lambda n: "<p>" + "<" * 40 * n,
    "references": lambda n: "<p>" + "&amp" * 10 * n,
    "quotations": lambda n: "<q>a" * n,
    "fractions": lambda n: "<p>" + "<sup>1</sup>/<sub>2</sub>" * n,
    "figures before": lambda n: "<p>" + "1" * 20 * n + "<sup>2</sup>⁄3" * n,
}
WORDS = {
    "paragraphs": lambda n: word_samples.paragraph("a") * n,
    "runs": lambda n: word_samples.paragraph(*["a "] * n),
    "raised": lambda n: word_samples.paragraph(*[word_samples.run("1", '<w:vertAlign w:val="superscript"/>'), "a"] * n),
    "numbered": lambda n: word_samples.numbered("a") * n,
    "deeper": lambda n: "".join(word_samples.numbered("a", i % 9) for i in range(n)),
    "cells": lambda n: word_samples.table(["a"] * n),
    "rows": lambda n: word_samples.table(*[["a", "b"]] * n),
    "tables in tables": lambda n: "<w:tbl><w:tr><w:tc>" * min(n, 60) + "</w:tc></w:tr></w:tbl>" * min(n, 60),
    "fields": lambda n: word_samples.paragraph(
        *['<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText>PAGE</w:instrText></w:r>'] * n
    ),
    "spaces": lambda n: word_samples.paragraph("a" + " " * 50 * n + "b"),
    "symbols": lambda n: word_samples.paragraph(*['<w:r><w:sym w:font="Wingdings" w:char="F0FC"/></w:r>'] * n),
    "insertions": lambda n: word_samples.paragraph(*[f"<w:ins>{word_samples.run('a')}</w:ins>"] * n),
}
LINES = {
    "spaces": " ",
    "tabs": "\t",
    "empty lines": "\n",
    "one line": "a",
    "words": "a ",
    "fences": "```\n",
    "ticks": "` ",
    "quotations": "> ",
    "items": "- a\n",
    "items in items": "- ",
    "brackets": "[",
    "links": "[a](b) ",
    "definitions": "[a]: b\n",
    "tables": "| a | b |\n| - | - |\n",
    "pipes": "|",
    "dashes": "-",
    "rules": "---\n",
    "headings": "# a\n",
    "underlines": "a\n===\n",
    "tags": "<b>",
    "comments": "<!-- ",
    "stars": "*",
    "figures": "1",
    "carriage returns": "\r",
    "accents": "é",
    "key": "a: b\n",
    "braces": "{",
    "commands": "\\section{a}\n",
    "open commands": "\\section{",
    "org": "* a\n",
    "sections": "== a ==\n",
}


def lines(pattern: str, before: str = "") -> Make:
    return lambda n: before + (pattern * (40 * n // len(pattern) + 1))[: 40 * n]


def body(name: str, end: str = "") -> dict[str, Make]:
    return {case: lines(pattern) for case, pattern in LINES.items()}


def _csv() -> dict[str, Make]:
    return {
        "columns": lambda n: "a," * 4 * n + "b\n" + "1," * 4 * n + "2\n",
        "names": lambda n: ",".join(f"a{i}" for i in range(4 * n)) + "\n" + "1," * 4 * n + "\n",
        "one name": lambda n: "a,text\n" + "1,b\n" * n,
        "names without words": lambda n: "," * 4 * n + "\n" + "1," * 4 * n + "\n",
        "names that are numbered": lambda n: ",".join(["a", "a 2", "a 3"] * n) + "\n" + "1," * 3 * n + "\n",
        "rows": lambda n: "a,text\n" + "1,b c\n" * n,
        "short rows": lambda n: "a," * n + "b\n" + "1\n" * n,
        "blank rows": lambda n: "\n" * n + "a,text\n1,b\n" + "\n" * n,
        "titles above": lambda n: "title\n" * n + "a,b,text\n" + "1,2,c\n" * n,
        "quotes": lambda n: 'a,text\n1,"' + '""' * 20 * n + '"\n',
        "an open quote": lambda n: 'a,text\n1,"' + "b\n" * 5 * n,
        "figures": lambda n: "a,text\n" + "1" * 20 * n + ",b\n",
        "marks": lambda n: "a,text\n" + "-" * 20 * n + "z,b\n",
        "decimal commas": lambda n: "a;text\n" + "1,2" * 10 * n + ";b\n",
    }


def _jsonl() -> dict[str, Make]:
    return {
        "records": lambda n: '{"text": "a"}\n' * n,
        "fields": lambda n: json.dumps({"text": "a"} | {f"f{i}": i for i in range(n)}),
        "deep": lambda n: '{"text": "a", "b": ' + '{"a": ' * n,
        "lists": lambda n: json.dumps({"text": "a", "b": ["c"] * 10 * n}),
        "empty lines": lambda n: '{"text": "a"}' + "\n" * 20 * n + '{"text": "a"}',
        "broken": lambda n: '{"text": \n' * n,
    }


def _notebook() -> dict[str, Make]:
    def cells(*cells: dict) -> str:
        return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})

    def code(text: str) -> dict:
        out = {"output_type": "stream", "name": "stdout", "text": text}
        return {"cell_type": "code", "metadata": {}, "source": "a", "outputs": [out]}

    return {
        "cells": lambda n: cells(*[{"cell_type": "markdown", "metadata": {}, "source": "# a"}] * n),
        "code": lambda n: cells(*[code("a")] * n),
        "colours": lambda n: cells(code("\x1b[" * 20 * n)),
        "fences": lambda n: cells({"cell_type": "markdown", "metadata": {}, "source": "```\n" * 10 * n}),
        "carriage returns": lambda n: cells(code("a\r" * 20 * n)),
    }


def _workbook(rows: Callable[[int], list[list[object]]], **more: object) -> Make:
    def make(n: int) -> bytes:
        import io

        import openpyxl

        book = openpyxl.Workbook()
        for row in rows(n):
            book.active.append(row)
        out = io.BytesIO()
        book.save(out)
        return out.getvalue()

    return make


def _sheets(n: int) -> bytes:
    import io

    import openpyxl

    book = openpyxl.Workbook()
    for i in range(max(n // 20, 1)):
        book.create_sheet(f"s{i}").append(["a", "b"])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _merged(n: int) -> bytes:
    import io

    import openpyxl

    book = openpyxl.Workbook()
    for i in range(1, n // 4 + 2):
        book.active.cell(2 * i, 1, "a")
        book.active.merge_cells(start_row=2 * i, end_row=2 * i, start_column=1, end_column=3)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _slides(text: Callable[[int], str], slides: int = 1) -> Make:
    def make(n: int) -> bytes:
        import io

        from pptx import Presentation

        show = Presentation()
        for _ in range(slides or max(n // 25, 1)):
            slide = show.slides.add_slide(show.slide_layouts[1])
            slide.placeholders[1].text = text(n)
        out = io.BytesIO()
        show.save(out)
        return out.getvalue()

    return make


def _odf(inside: Callable[[int], str], kind: str = "text") -> Make:
    return lambda n: office_samples.odf(f"<office:{kind}>{inside(n)}</office:{kind}>")


def _letter(text: Callable[[int], str], subtype: str = "plain", **headers: Callable[[int], str]) -> Make:
    def make(n: int) -> bytes:
        message = office_samples.letter(**{name: value(n) for name, value in headers.items()})
        message.set_content(text(n), subtype=subtype)
        return message.as_bytes()

    return make


CASES: dict[str, tuple[str, dict[str, Make]]] = {
    "text": (".txt", body("text")),
    "markdown": (".md", body("markdown") | {"front matter": lines("a: b\n", "---\n")}),
    "text as rst": (".rst", body("rst")),
    "text as tex": (".tex", body("tex")),
    "html": (".html", PAGE),
    "docx": (
        ".docx",
        {name: lambda n, make=make: word_samples.word(make(n)) for name, make in WORDS.items()}
        | {
            "footnotes": lambda n: word_samples.word(
                word_samples.paragraph(*[f'<w:r><w:footnoteReference w:id="{i}"/></w:r>' for i in range(n)]),
                footnotes="".join(
                    f'<w:footnote w:id="{i}">{word_samples.paragraph("a")}</w:footnote>' for i in range(n)
                ),
            )
        },
    ),
    "pdf": (
        ".pdf",
        {
            "lines": lambda n: pdf(["a\n" * n]),
            "pages": lambda n: pdf(["a"] * (n // 4 + 1)),
            "words": lambda n: pdf(["a " * 5 * n]),
            "hyphens": lambda n: pdf(["a-\n" * n]),
            "figures": lambda n: pdf(["1 2 3\n" * n]),
        },
    ),
    "xlsx": (
        ".xlsx",
        {
            "rows": _workbook(lambda n: [["a", i] for i in range(n)]),
            "columns": _workbook(lambda n: [["a"] * n, ["b"] * n]),
            "one wide row": _workbook(lambda n: [["a"] * n, *[["b"]] * n]),
            "sheets": _sheets,
            "merged": _merged,
        },
    ),
    "pptx": (
        ".pptx",
        {
            "paragraphs": _slides(lambda n: "a\n" * n),
            "spaces": _slides(lambda n: "a" + " " * 40 * n),
            "slides": _slides(lambda n: "a", 0),
        },
    ),
    "odf": (
        ".odt",
        {
            "paragraphs": _odf(lambda n: "<text:p>a</text:p>" * n),
            "spans": _odf(lambda n: f"<text:p>{'<text:span>a</text:span>' * n}</text:p>"),
            "spans in spans": _odf(
                lambda n: f"<text:p>{'<text:span>' * min(n, 200)}{'</text:span>' * min(n, 200)}</text:p>"
            ),
            "spaces": _odf(lambda n: f"<text:p>{'<text:s/>a' * n}</text:p>"),
            "items": _odf(
                lambda n: f"<text:list>{'<text:list-item><text:p>a</text:p></text:list-item>' * n}</text:list>"
            ),
            "headings": _odf(lambda n: '<text:h text:outline-level="1">a</text:h>' * n),
            "notes": _odf(
                lambda n: (
                    "<text:p>" + '<text:note text:note-class="footnote"><text:note-body><text:p>a</text:p>'
                    "</text:note-body></text:note>" * n + "</text:p>"
                )
            ),
            "rows": _odf(
                lambda n: (
                    "<table:table>" + "<table:table-row><table:table-cell><text:p>a</text:p></table:table-cell>"
                    "</table:table-row>" * n + "</table:table>"
                )
            ),
            "cells": _odf(
                lambda n: (
                    "<table:table><table:table-row>" + "<table:table-cell><text:p>a</text:p>"
                    "</table:table-cell>" * n + "</table:table-row></table:table>"
                )
            ),
        },
    ),
    "epub": (
        ".epub",
        {
            "chapters": lambda n: office_samples.epub({f"{i}.xhtml": "<p>a</p>" for i in range(n // 8 + 1)}),
            "links": lambda n: office_samples.epub({"a.xhtml": "<p>" + '<a href="#x">a</a> ' * n + "</p>"}),
            "notes": lambda n: office_samples.epub(
                {"a.xhtml": "".join(f'<p id="i{i}"><a href="#i{i}">1</a></p>' for i in range(n))}
            ),
            "raised": lambda n: office_samples.epub({"a.xhtml": "<p>" + "a<sup>1</sup>" * n + "</p>"}),
        },
    ),
    "ipynb": (".ipynb", _notebook()),
    "eml": (
        ".eml",
        {
            "lines": _letter(lambda n: "a\n" * n),
            "quotations": _letter(lambda n: "".join(f"{'>' * (i % 9)} a\n" for i in range(n))),
            "deep quotations": _letter(lambda n: ">" * 900 + " a\n" + "> a\n" * n),
            "page": _letter(PAGE["links"], "html"),
            "spaces": _letter(lambda n: "a" + " " * 20 * n + "\nb\n"),
            "addresses": _letter(lambda n: "a", To=lambda n: ", ".join(["a@example.org"] * (n // 4 + 1))),
        },
    ),
    "mbox": (
        ".mbox",
        {
            "letters": lambda n: office_samples.mbox() * (n // 8 + 1),
            "quoted": lambda n: b"From x\nSubject: a\n\n" + b">From a\n" * n,
            "beginnings": lambda n: b"From x\n\na\n\n" * (n // 4),
        },
    ),
    "msg": (
        ".msg",
        {
            "lines": lambda n: ole_file.msg(body="a\r\n" * n),
            "page": lambda n: ole_file.msg(html=b"<b>" * n),
            "attachments": lambda n: ole_file.msg(attachments={f"a{i}.txt": b"a" for i in range(n // 16 + 1)}),
        },
    ),
    "zip": (
        ".zip",
        {
            "members": lambda n: office_samples.packed({f"{i}.txt": "a" for i in range(n // 2 + 1)}),
            "folders": lambda n: office_samples.packed({"a/" * 100 + f"{i}.txt": "a" for i in range(n // 8 + 1)}),
        },
    ),
    "jsonl": (".jsonl", _jsonl()),
    "csv": (".csv", _csv()),
}


def docling(n: int) -> dict[str, object]:
    texts = [{"self_ref": f"#/texts/{i}", "label": "text", "text": "a", "children": []} for i in range(n)]
    children = [{"$ref": f"#/texts/{i}"} for i in range(n)]
    return {
        "schema_name": "DoclingDocument",
        "version": "1.0.0",
        "name": "a",
        "texts": texts,
        "body": {"self_ref": "#/body", "children": children},
    }


CASES["jsonl as docling"] = (".json", {"texts": lambda n: json.dumps(docling(n))})
CASES["pandoc"] = (".rtf", {
    "paragraphs": lambda n: b"{\\rtf1\\ansi " + b"a\\par " * n + b"}",
    "groups": lambda n: b"{\\rtf1\\ansi " + b"{a} " * n + b"}",
    "escapes": lambda n: b"{\\rtf1\\ansi\\ansicpg1252 " + b"\\'e9" * n + b"}",
    "fonts": lambda n: b"{\\rtf1\\ansi{\\fonttbl" + b"".join(b"{\\f%d\\fcharset0 A;}" % i for i in range(n)) + b"} a}",
    "open fonts": lambda n: b"{\\rtf1\\ansi{\\fonttbl" + b"\\f1 " * 5 * n + b"} a}",
})  # fmt: skip
SLOW: dict[tuple[str, str], str] = {}
"""What is not in proportion, and why."""


def test_every_loader_is_here():
    assert {name.split()[0] for name in CASES} == set(registry.components("loader"))
    assert set(SAMPLES) <= set(CASES)


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, (_, cases) in CASES.items() for case in cases])
def test_time_is_in_proportion_to_the_file(name, case, tmp_path):
    if (name, case) in SLOW:
        pytest.skip(SLOW[name, case])
    if name == "pandoc" and not shutil.which("pandoc"):
        pytest.importorskip("pypandoc")
    assert growth(lambda n: reading(name, case, n, tmp_path), SIZES.get(name, 100)) < MOST


SIZES: dict[str, int] = {
    "html": 120,
    "text": 800,
    "markdown": 600,
    "text as rst": 400,
    "text as tex": 400,
    "xlsx": 60,
    "mbox": 50,
    "zip": 50,
}
"""How often a thing is repeated in the smaller of two files."""


def reading(name: str, case: str, n: int, folder: Path) -> Callable[[], object]:
    suffix, cases = CASES[name]
    path = folder / f"{n}{suffix}"
    data = cases[case](n)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    loader = registry.find("loader", name.split()[0])()

    def read() -> None:
        with Trace().stage("load"), suppress(FoveaError):
            list(loader.load(path))

    return read
