"""Nothing in a text acts on the terminal that shows it."""

import json

from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.errors import DocumentError
from fovea.rag.printable import ACTING, counted, printable, to_json


def test_acting_characters_are_shown_as_escapes():
    assert printable("\x1b[31mred\x07\n") == "\\x1b[31mred\\x07\\n"
    assert printable("a\nb\tc\x9b", keep="\n\t") == "a\nb\tc\\x9b"
    assert printable("\u202egnp.exe\udcff") == "\\u202egnp.exe\\udcff"
    assert printable("ä 漢 🫖 e\u0301") == "ä 漢 🫖 e\u0301"


@given(st.text())
def test_what_is_printed_can_be_written_and_does_nothing(text):
    shown = printable(text)
    assert not ACTING.search(shown)
    shown.encode("utf-8")


@given(
    st.recursive(st.text() | st.characters(categories=["Cs"]), lambda s: st.lists(s) | st.dictionaries(st.text(), s))
)
def test_json_reads_back_and_does_nothing(data):
    text = to_json(data)
    assert not ACTING.search(text.replace("\n", ""))
    assert json.loads(text) == data


def test_one_thing_and_several():
    assert [counted(n, "files") for n in (0, 1, 2, 2000)] == ["0 files", "1 file", "2 files", "2,000 files"]
    assert counted(1, "reused") == "1 reused"


def test_errors_show_names_so():
    assert str(DocumentError("broken", where="a\n\x1b[2J.txt", got="b", allowed=["b\x1b"])) == (
        "a\\n\\x1b[2J.txt: broken\n  allowed: b\\x1b\n  did you mean 'b\\x1b'?"
    )
