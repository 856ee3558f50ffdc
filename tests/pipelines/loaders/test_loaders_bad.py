"""Files that cannot be read: each is refused in words that name the file and say what to do."""

import os
import resource
import zipfile
from io import BytesIO

import pytest

from fovea.pipelines.loaders.csv import CsvLoader
from fovea.pipelines.loaders.docx import OLE, DocxLoader
from fovea.pipelines.loaders.html import HtmlLoader
from fovea.pipelines.loaders.jsonl import JsonlLoader
from fovea.pipelines.loaders.markdown import MarkdownLoader
from fovea.pipelines.loaders.pdf import PdfLoader
from fovea.pipelines.loaders.text import TextLoader
from fovea.rag import registry
from fovea.rag.errors import DocumentError, MissingExtra
from fovea.rag.trace import Trace
from tests.loader_samples import SAMPLES, docx, locked_pdf, pdf, sample

AES = (
    "<< /Filter /Standard /V 5 /R 6 /Length 256 /P -4 /StmF /StdCF /StrF /StdCF /CF << /StdCF << /CFM /AESV3 /Length 32"
    f" /AuthEvent /DocOpen >> >> /O <{'00' * 48}> /U <{'00' * 48}> /OE <{'00' * 32}> /UE <{'00' * 32}>"
    f" /Perms <{'00' * 16}> >>"
)

REFUSALS = [
    (TextLoader(), "a.txt", b"", "the file is empty\n  fix: remove it, or put text into it"),
    (TextLoader(), "a.txt", b" \n\t\r\n", "holds no text\n  fix: remove it, or put text into it"),
    (
        TextLoader(),
        "a.txt",
        b"\x7fELF" + bytes(100),
        "this is not text: it holds a NUL byte\n  fix: remove it, or rename it to the suffix of what it is",
    ),
    (
        MarkdownLoader(),
        "a.md",
        b"words \x01\x02\x03\x04\x05\x06\x07\x08\x0e\x0f" * 5,
        "this is not text: it holds 50 control characters in its first 80 bytes\n"
        "  fix: remove it, or rename it to the suffix of what it is",
    ),
    (
        TextLoader(max_bytes=1000),
        "a.txt",
        b"x" * 2000,
        "2,000 bytes are more than the limit of 1,000\n"
        "  fix: split it, or raise the limit in the pipeline: load: [{use: text, max_bytes: 2000}]",
    ),
    (
        TextLoader(encoding="utf-8"),
        "a.txt",
        "Köln am Rhein".encode("latin-1"),
        "byte 1 is not utf-8\n  fix: set `encoding` of this loader to the right one, or save it as UTF-8",
    ),
    (
        TextLoader(),
        "a.txt",
        "Москва — столица России".encode("cp1251"),
        "not UTF-8 (byte 0), and not Windows-1252 either: 100% of its letters are beyond ASCII\n"
        "  fix: save it as UTF-8, or set `encoding` of this loader, such as cp1251, gb18030, shift_jis",
    ),
    (
        TextLoader(),
        "a.txt",
        "Notes of the day".encode("utf-16-le"),
        "this looks like utf-16-le without a byte-order mark\n"
        "  fix: set `encoding: utf-16-le` of this loader, or save it as UTF-8",
    ),
    (TextLoader(), "a.txt", b"\xff\xfea\x00b", "byte 4 is not utf-16\n  fix: save it as UTF-8"),
    (HtmlLoader(), "a.html", b"<script>render()</script>", "holds no text\n  fix: remove it, or put text into it"),
    (
        HtmlLoader(drop=("p[",)),
        "a.html",
        b"<p>x",
        "the html loader's `drop` holds an invalid CSS selector: <any>\n"
        "  fix: mend it in the pipeline: load: [{use: html, drop: [...]}]",
    ),
    (PdfLoader(), "a.pdf", pdf([]), "it has no pages\n  fix: export it again from the program it comes from"),
    (
        PdfLoader(),
        "a.pdf",
        pdf([None, None, None]),
        "its 3 pages hold no text\n"
        "  fix: run OCR over it first (ocrmypdf in.pdf out.pdf), if its pages are pictures of text",
    ),
    (
        PdfLoader(),
        "a.pdf",
        locked_pdf("secret"),
        "encrypted: it opens only with a password\n"
        "  fix: save a copy without the password (qpdf --password=... --decrypt in.pdf out.pdf) and ingest that",
    ),
    (
        PdfLoader(),
        "a.pdf",
        b"Not a PDF at all.",
        "cannot be read as PDF: <any>\n  fix: open it in the program it comes from and save it again, or remove it",
    ),
    (
        DocxLoader(),
        "a.docx",
        docx()[:9000],
        "cannot be read as Word document: it is damaged or cut off (<any>)\n"
        "  fix: copy it again from where it comes from, or save it again in Word",
    ),
    (
        DocxLoader(),
        "a.docx",
        OLE + bytes(600),
        "this is a Word document of before 2007, or protected by a password\n"
        "  fix: save it as .docx without a password",
    ),
    (
        DocxLoader(max_bytes=50_000),
        "a.docx",
        docx(),
        "unpacked, its text takes {size} bytes, more than the limit of 50,000\n"
        "  fix: split it, or raise the limit in the pipeline: load: [{use: docx, max_bytes: {plain}}]",
    ),
    (
        CsvLoader(),
        "a.csv:3",
        b'a,b\n1,2\n3,"x" y\n',
        "not CSV: ',' expected after '\"'\n"
        "  fix: mend the quotes on that line, or if the file does not quote: load: [{use: csv, quote: ''}]",
    ),
    (
        CsvLoader(),
        "a.csv:4",
        b'a,b\n1,2\n3,"never closed\n4,5\n',
        "not CSV: unexpected end of data\n"
        "  fix: mend the quotes on that line, or if the file does not quote: load: [{use: csv, quote: ''}]",
    ),
    (
        CsvLoader(text=("body",)),
        "a.csv:2",
        b"title,Body\n1,2\n",
        "no field 'body'\n  allowed: title, Body\n  did you mean 'Body'?\n"
        "  fix: mend the line, or leave it out: load: [{use: csv, bad_lines: skip}]",
    ),
    (CsvLoader(), "a.csv", b"a,b,c\n", "holds no text\n  fix: remove it, or put text into it"),
    (
        JsonlLoader(),
        "a.jsonl:2",
        b'{"text": "fine"}\n{"text": "cut\n',
        "not JSON: Invalid control character at character 14\n"
        "  fix: mend the line, or leave it out: load: [{use: jsonl, bad_lines: skip}]",
    ),
    (
        JsonlLoader(),
        "a.jsonl:1",
        b'{"text": "x", "score": NaN}\n',
        "not JSON that can be read: NaN is no JSON number\n"
        "  fix: mend the line, or leave it out: load: [{use: jsonl, bad_lines: skip}]",
    ),
    (
        JsonlLoader(),
        "a.jsonl:1",
        b'{"headline": "x", "story": "y"}\n',
        "no field holds the text\n  fix: name it: load: [{use: jsonl, text: [FIELD]}]; this one has headline, story",
    ),
    (
        JsonlLoader(id="id"),
        "a.jsonl:2",
        b'{"text": "x", "id": 1}\n{"text": "y", "id": 1}\n',
        "the id '1' was used before\n  fix: make ids unique",
    ),
    (
        JsonlLoader(),
        "a.json:4",
        b'[\n{"text": "x"},\n{"text": \n',
        "not JSON: Expecting value at character 1\n  fix: mend it, or write JSON Lines",
    ),
    (
        JsonlLoader(bad_lines="skip"),
        "a.jsonl",
        b"x\ny\n",
        "every line of it is unusable\n  fix: set bad_lines: fail",
    ),
]


@pytest.mark.parametrize(("loader", "place", "data", "message"), REFUSALS)
def test_refusals_word_for_word(tmp_path, loader, place, data, message):
    path = tmp_path / place.partition(":")[0]
    path.write_bytes(data)
    with pytest.raises(DocumentError) as caught:
        list(loader.load(path))
    if path.suffix == ".docx" and "{size}" in message:
        size = sum(i.file_size for i in zipfile.ZipFile(path).infolist() if i.filename.endswith((".xml", ".rels")))
        message = message.replace("{size}", f"{size:,}").replace("{plain}", str(size))
    before, given, after = message.partition("<any>")  # Words of a library, which may change with its version.
    assert str(caught.value).startswith(f"{tmp_path.as_posix()}/{place}: {before}")
    assert str(caught.value).endswith(after) if given else str(caught.value).endswith(f"{place}: {message}")


def test_aes_without_its_package_says_which(tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf(["Secret."], encrypt=AES))
    with pytest.raises(DocumentError, match="encrypted") as caught:
        list(PdfLoader().load(tmp_path / "a.pdf"))
    assert "cryptography" in str(caught.value) or "password" in str(caught.value)


def test_a_pdf_whose_password_is_empty_opens(tmp_path):
    (tmp_path / "a.pdf").write_bytes(locked_pdf(""))
    (document,) = PdfLoader().load(tmp_path / "a.pdf")
    assert document.text == "Secret words.\n"


def test_one_damaged_page_does_not_take_the_others_with_it(tmp_path):
    data = pdf(["First page.", "Second page.", "Third page."])
    at = data.index(b"/Contents 7 0 R")
    (tmp_path / "a.pdf").write_bytes(data[:at] + b"/Contents (bad) " + data[at + 16 :])
    trace = Trace()
    with trace.stage("load"):
        (document,) = PdfLoader().load(tmp_path / "a.pdf")
    assert "First page." in document.text
    assert "Third page." in document.text
    assert document.page_at(document.text.index("Third")) == 3
    assert sum(trace.warnings.values()) == 1


def test_the_parsers_own_exception_stays_attached(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4 garbage")
    with pytest.raises(DocumentError) as caught:
        list(PdfLoader().load(tmp_path / "a.pdf"))
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_huge_file_is_refused_without_being_read(name, tmp_path):
    path = tmp_path / f"huge{SAMPLES[name][0]}"
    with path.open("wb") as file:
        file.truncate(200 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DocumentError, match="209,715,200 bytes are more than the limit"):
        list(registry.components("loader")[name]().load(path))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 << 10


def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path):
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", bytes(100_000_000))
    (tmp_path / "a.docx").write_bytes(out.getvalue())
    assert len(out.getvalue()) < 200_000
    with pytest.raises(DocumentError, match="unpacked"):
        list(DocxLoader().load(tmp_path / "a.docx"))


def test_xml_entities_are_not_followed(tmp_path):
    (tmp_path / "secret").write_text("the secret")
    good = zipfile.ZipFile(BytesIO(docx()))
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for entry in good.namelist():
            data = good.read(entry)
            if entry == "word/document.xml":
                head, _, rest = data.partition(b"?>")
                entity = f'<!DOCTYPE d [<!ENTITY e SYSTEM "file://{tmp_path}/secret">]>'.encode()
                data = head + b"?>" + entity + rest.replace(b"Green tea", b"Green &e; tea")
            archive.writestr(entry, data)
    (tmp_path / "a.docx").write_bytes(out.getvalue())
    try:
        text = "".join(d.text for d in DocxLoader().load(tmp_path / "a.docx"))
    except DocumentError as error:
        text = str(error)
    assert "the secret" not in text


def test_deep_nesting_ends_in_words(tmp_path):
    (tmp_path / "a.html").write_text("<div>" * 3000 + "deep")
    (tmp_path / "a.jsonl").write_text('{"text": "x", "y": ' + "[" * 100_000 + "]" * 100_000 + "}\n")
    for loader, name in ((HtmlLoader(), "a.html"), (JsonlLoader(), "a.jsonl")):
        with pytest.raises(DocumentError, match="recursion"):
            list(loader.load(tmp_path / name))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_file_one_may_not_read(name, tmp_path):
    path = sample(name, tmp_path)
    path.chmod(0)
    with pytest.raises(DocumentError, match="Permission denied"):
        list(registry.components("loader")[name]().load(path))


@pytest.mark.parametrize(("name", "module"), [("pdf", "pypdf"), ("docx", "docx"), ("html", "bs4"), ("html", "lxml")])
def test_a_missing_package_names_the_extra(name, module, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"fovea-rag\[files\]"):
        list(registry.components("loader")[name]().load(sample(name, tmp_path) if name != "docx" else _docx(tmp_path)))


def _docx(folder):
    (folder / "a.docx").write_bytes(b"PK")
    return folder / "a.docx"


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"encoding": "zlib"}, "zlib"),
        ({"encoding": "utf-99"}, "utf-99"),
        ({"encoding": "rot13"}, "rot13"),
        ({"max_bytes": 0}, "max_bytes"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, word):
    with pytest.raises(ValueError, match=word):
        TextLoader(**settings)


def test_a_missing_file_suggests_its_neighbour(tmp_path):
    (tmp_path / "moon.txt").write_text("x")
    with pytest.raises(DocumentError, match=r"did you mean .*/moon\.txt\?"):
        list(TextLoader().load(tmp_path / "mon.txt"))
