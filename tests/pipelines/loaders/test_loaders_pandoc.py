"""What Pandoc reads, and what it would lose."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.loaders.pandoc import PandocLoader
from fovea.pipelines.loaders.pandoc_tree.rtf import unicode_escapes
from fovea.rag.errors import DocumentError, MissingExtra
from tests.loader_samples import load, one
from tests.office_samples import RTF


def rtf(body: str, head: str = r"\ansicpg1252") -> str:
    return "{\\rtf1\\ansi" + head + "{\\fonttbl{\\f0 A;}{\\f1\\fcharset204 B;}}" + body + "\\par}"


def words(tmp_path, body, head=r"\ansicpg1252"):
    return one(PandocLoader(), tmp_path / "a.rtf", rtf(body, head)).text.strip()


def test_rtf_word_for_word(tmp_path):
    document = one(PandocLoader(), tmp_path / "a.rtf", RTF)
    assert document.text == "# Tea\n\nDon’t boil it —ever.\n"
    assert (document.title, document.metadata, document.media_type) == ("On tea", {"author": "A. B."}, "text/markdown")


def test_notes_tables_and_links(tmp_path):
    text = words(
        tmp_path,
        r"Tea{\footnote\pard Or chai.} and {\super 2} {\field{\*\fldinst HYPERLINK \"x\"}{\fldrslt link}}\par"
        r"\pard\trowd\cellx1000\cellx2000\intbl A\cell\pard\intbl B\cell\row"
        r"\trowd\cellx1000\cellx2000\pard\intbl 1\cell\pard\intbl 2\cell\row\pard end",
    )
    assert text == "Tea[^1] and ^2 link\n\n[^1]: Or chai.\n\n|  |  |\n| --- | --- |\n| A | B |\n| 1 | 2 |\n\nend"


@pytest.mark.parametrize(
    ("body", "head", "expected"),
    [
        (r"\'cc\'ee\'f1\'ea\'e2\'e0 \u1052?x", r"\ansicpg1251", "Москва Мx"),
        (r"\'93\'fa\'96\'7b", r"\ansicpg932", "日本"),
        (r"\'83A\'83\'42", r"\ansicpg932", "アィ"),
        (r"{\f1\'cc\'ee}{\f0\'e9}", r"\ansicpg1252", "Моé"),
        (r"don\u8217?t A\u8212-B\u8212\'97C", "", "don’t A—B—C"),
        (r"\uc0\u1052\u1054 x\uc2 \u1052\'81\'66y{\uc1\u1052?z}", "", "МОxМyМz"),
        (r"\u-10179?\u-8704? tea", "", "😀 tea"),
        (r"\u-4051?", "", "\uf02d"),
        (r"\'e9t\'e9", r"\ansicpg99999", "été"),
    ],
)
def test_letters_beyond_ascii(tmp_path, body, head, expected):
    assert words(tmp_path, body, head) == expected


@given(text=st.text(st.characters(min_codepoint=0xA1, max_codepoint=0xD7FF, categories=["L"]), min_size=1, max_size=20))
def test_every_letter_is_written_in_one_form(text):
    escaped = "".join(f"\\u{ord(c) - 65536 * (ord(c) > 32767)}?" for c in text)
    written = unicode_escapes(rtf(escaped).encode())
    assert written.count(b"\\'3f") == len(text)
    assert b"?" not in written


def test_definitions_lists_and_code_of_a_wiki(tmp_path):
    source = "= Tea =\n; Sencha : green\n# one\n## deep\n# two\n<pre># no heading</pre>\nCaf<sup>2</sup> 'n' ''so''\n"
    text = one(PandocLoader(), tmp_path / "a.mediawiki", source).text
    assert text == ("# Tea\n\n- Sencha: green\n1. one\n  1. deep\n2. two\n\n```\n# no heading\n```\n\nCaf^2 'n' so\n")


def test_docbook_and_fictionbook(tmp_path):
    docbook = "<article><title>Tea</title><sect1><title>Hot</title><para>Boil &amp; wait.</para></sect1></article>"
    document = one(PandocLoader(), tmp_path / "a.dbk", docbook)
    assert (document.title, document.text) == ("Tea", "# Hot\n\nBoil & wait.\n")
    book = (
        '<FictionBook xmlns="http://www.gribuser.ru/xml/fictionbook/2.0"><description><title-info><book-title>Tea'
        "</book-title></title-info></description><body><section><title><p>One</p></title><p>It was late.</p></section>"
        "</body></FictionBook>"
    )
    assert "It was late." in one(PandocLoader(), tmp_path / "a.fb2", book).text


def test_pandocs_tables_are_filled(tmp_path):
    source = '{|\n! Tea !! colspan="2" | Tins\n|-\n| rowspan="2" | Sencha || 1 || 2\n|-\n| 3 || 4 | 5\n|}\n'
    text = one(PandocLoader(), tmp_path / "a.mediawiki", source).text
    assert text.startswith("| Tea | Tins | Tins |\n| --- | --- | --- |\n| Sencha | 1 | 2 |\n| Sencha | 3 |")


def test_files_outside_are_not_read(tmp_path):
    (tmp_path / "secret").write_text("the secret")
    source = f'<!DOCTYPE a [<!ENTITY e SYSTEM "{tmp_path}/secret">]><article><para>x &e;</para></article>'
    (tmp_path / "a.dbk").write_text(source)
    try:
        text = "".join(document.text for document in PandocLoader().load(tmp_path / "a.dbk"))
    except DocumentError as error:
        text = str(error)
    assert "the secret" not in text


def test_refusals(tmp_path, monkeypatch):
    (tmp_path / "a.rtf").write_bytes(b"no rtf")
    with pytest.raises(DocumentError, match="this is no RTF"):
        list(PandocLoader().load(tmp_path / "a.rtf"))
    (tmp_path / "a.dbk").write_bytes(b"<article><para>")
    with pytest.raises(DocumentError, match="Pandoc cannot read it as docbook"):
        list(PandocLoader().load(tmp_path / "a.dbk"))
    (tmp_path / "b.rtf").write_bytes(RTF)

    def slow(*_, timeout, **__):
        raise subprocess.TimeoutExpired("pandoc", timeout)

    monkeypatch.setattr(subprocess, "run", slow)
    with pytest.raises(DocumentError, match="Pandoc took longer than 3 seconds over it"):
        list(PandocLoader(seconds=3).load(tmp_path / "b.rtf"))


def test_what_pandoc_warns_of_is_said(tmp_path, monkeypatch):
    import pypandoc

    stand_in = tmp_path / "pandoc"
    stand_in.write_text(
        "#!/bin/sh\ncat > /dev/null\necho '[WARNING] Something is odd.' >&2\n"
        """echo '{"meta": {}, "blocks": [{"t": "Para", "c": [{"t": "Str", "c": "words"}]}]}'\n"""
    )
    stand_in.chmod(0o755)
    monkeypatch.setattr(pypandoc, "get_pandoc_path", lambda: str(stand_in))
    (document,), warnings = load(PandocLoader(), tmp_path / "a.rtf", RTF)
    assert document.text == "words\n"
    assert warnings == {"a.rtf: Pandoc says: Something is odd.": 1}


def test_without_its_package_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.rtf").write_bytes(RTF)
    monkeypatch.setitem(sys.modules, "pypandoc", None)
    with pytest.raises(MissingExtra, match=r"fovea-rag\[pandoc\]"):
        list(PandocLoader().load(tmp_path / "a.rtf"))
