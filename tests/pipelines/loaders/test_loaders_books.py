"""Books and notebooks: chapters in the order of reading, cells with what they printed."""

import json

import pytest

from fovea.pipelines.loaders.epub import EpubLoader
from fovea.pipelines.loaders.ipynb import IpynbLoader
from fovea.rag.errors import DocumentError
from fovea.rag.headings import headings
from tests.loader_samples import load, one
from tests.office_samples import epub, notebook, packed


def test_a_book_word_for_word(tmp_path):
    document = one(EpubLoader(), tmp_path / "a.epub", epub())
    assert document.text == "# One\n\nIt was tea.\n\n# Two\n\nIt was late.\n"
    assert (document.title, document.media_type) == ("The tea book", "text/markdown")
    assert document.metadata == {"author": "A. B.", "language": "en", "year": 2020}


def test_elements_that_xhtml_closes_at_once_swallow_nothing(tmp_path):
    data = epub({"one.xhtml": '<h1>One</h1><p><a id="p1"/>before <i/>after<br/>below</p><div/><p>end</p>'})
    text = one(EpubLoader(), tmp_path / "a.epub", data).text
    assert all(word in text for word in ("before", "after", "below", "end", "It was late"))


def test_missing_pages_are_counted_and_strange_names_found(tmp_path):
    data = epub({"a b%20c.xhtml": "<p>Never found.</p>", "three.xhtml": "<p>Third.</p>"})
    (document,), warnings = load(EpubLoader(), tmp_path / "a.epub", data)
    assert "Third." in document.text
    assert warnings == {"a.epub: pages that are missing or no text, left out": 1}


def test_locked_books_are_refused_and_hidden_fonts_are_no_lock(tmp_path):
    def lock(algorithm):
        return (
            '<encryption xmlns:e="http://www.w3.org/2001/04/xmlenc#"><e:EncryptedData>'
            f'<e:EncryptionMethod Algorithm="{algorithm}"/></e:EncryptedData></encryption>'
        )

    font = epub(**{"META-INF/encryption.xml": lock("http://www.idpf.org/2008/embedding")})
    assert "It was tea." in one(EpubLoader(), tmp_path / "a.epub", font).text
    (tmp_path / "b.epub").write_bytes(
        epub(**{"META-INF/encryption.xml": lock("http://www.w3.org/2001/04/xmlenc#aes128-cbc")})
    )
    with pytest.raises(DocumentError, match="encrypted: this EPUB book opens only with a password"):
        list(EpubLoader().load(tmp_path / "b.epub"))
    (tmp_path / "c.epub").write_bytes(packed({"x": "y"}))
    with pytest.raises(DocumentError, match=r"this is no EPUB book: it has no META-INF/container\.xml"):
        list(EpubLoader().load(tmp_path / "c.epub"))


def book(*cells, **more):
    return json.dumps({"cells": list(cells), "metadata": {}, "nbformat": 4, **more})


def code(source="run()", *outputs):
    return {"cell_type": "code", "source": source, "outputs": list(outputs)}


def data(**forms):
    return {"output_type": "execute_result", "data": {kind.replace("_", "/"): text for kind, text in forms.items()}}


def test_a_notebook_word_for_word(tmp_path):
    document = one(IpynbLoader(), tmp_path / "a.ipynb", notebook())
    assert document.text == "# Tea\n\nSome *words*.\n\n```python\nprint(6 * 7)\n```\n\n```\n42\n```\n"
    assert (document.title, document.metadata) == ("Tea", {"language": "python"})


def test_results_come_in_their_best_form_and_pictures_are_counted(tmp_path):
    cell = code(
        "run()",
        data(text_plain="  a  b\n0 1  2", text_html="<table><tr><td>1</td></tr></table>"),
        data(text_html="<table><tr><th>a</th></tr><tr><td>1</td></tr></table>"),
        data(text_markdown="**bold**", text_plain="<Markdown>"),
        data(image_png="iVBOR", text_plain="<Figure size 640x480>"),
        data(application_json="{}"),
        {"output_type": "error", "ename": "E", "evalue": "bad", "traceback": ["\x1b[0;31mE\x1b[0m: bad"]},
    )
    (document,), warnings = load(IpynbLoader(), tmp_path / "a.ipynb", book(cell))
    for words in ("```\n  a  b\n0 1  2\n```", "| a |\n| --- |\n| 1 |", "**bold**", "```\nE: bad\n```"):
        assert words in document.text
    assert "Figure" not in document.text
    assert warnings == {
        "a.ipynb: pictures, left out": 1,
        "a.ipynb: results in a form that is no text, left out": 1,
    }


def test_results_can_be_left_out_counted(tmp_path):
    cell = code("print(1)", {"output_type": "stream", "text": "1\n"})
    (document,), warnings = load(IpynbLoader(outputs=False), tmp_path / "a.ipynb", book(cell))
    assert document.text == "```\nprint(1)\n```\n"
    assert warnings == {"a.ipynb: what code printed, left out (outputs: true reads it)": 1}


def test_a_fence_left_open_does_not_swallow_the_next_cell(tmp_path):
    cells = [{"cell_type": "markdown", "source": s} for s in ("~~~\nopen", "# After", "```inline``` words", "# Last")]
    text = one(IpynbLoader(), tmp_path / "a.ipynb", book(*cells)).text
    assert [heading.words for heading in headings(text, "text/markdown")] == ["After", "Last"]


def test_code_with_fences_keeps_them(tmp_path):
    text = one(IpynbLoader(), tmp_path / "a.ipynb", book(code("x = '''\n```\n# no heading\n'''"))).text
    assert headings(text, "text/markdown") == []


def test_notebooks_of_version_3(tmp_path):
    cells = [
        {"cell_type": "heading", "level": 2, "source": "Old"},
        {"cell_type": "code", "input": "1 + 1", "outputs": [{"output_type": "pyout", "text": ["2"]}]},
    ]
    text = one(IpynbLoader(), tmp_path / "a.ipynb", json.dumps({"worksheets": [{"cells": cells}], "nbformat": 3})).text
    assert text == "## Old\n\n```\n1 + 1\n```\n\n```\n2\n```\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"a": 1}', "this is no notebook: it has no cells"), ("[]", "no cells"), ("{", "JSONDecodeError")],
)
def test_what_is_no_notebook_is_refused(tmp_path, text, message):
    (tmp_path / "a.ipynb").write_text(text)
    with pytest.raises(DocumentError, match=message):
        list(IpynbLoader().load(tmp_path / "a.ipynb"))
