"""Encodings: what is certain is read, what is likely is read with a warning, what is neither is refused."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.loaders import decode
from fovea.pipelines.loaders.decode import decoding
from fovea.pipelines.loaders.text import TextLoader
from fovea.rag.errors import DocumentError
from fovea.rag.trace import Trace

FRENCH = "L'été, à l'hôtel, Zoé mangeait des œufs brouillés — 3 € pièce.\r\n" * 20


def load(path, data, **settings):
    path.write_bytes(data)
    trace = Trace()
    with trace.stage("load"):
        (document,) = TextLoader(**settings).load(path)
    return document.text, list(trace.warnings)


@pytest.mark.parametrize(
    ("mark", "codec"),
    [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
     (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"), (b"", "utf-8")],
)  # fmt: skip
def test_a_mark_decides_and_is_no_part_of_the_text(tmp_path, mark, codec):
    assert load(tmp_path / "a.txt", mark + (FRENCH + "字 😀").encode(codec)) == (FRENCH + "字 😀", [])


def test_western_text_is_read_with_a_warning_that_names_the_encoding(tmp_path):
    text, warnings = load(tmp_path / "a.txt", FRENCH.encode("cp1252"))
    assert text == FRENCH
    assert warnings == ["a.txt: not UTF-8, read as Windows-1252; set `encoding` of its loader if that is wrong"]


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("Москва — столица России, на реке.", "cp1251"),
        ("東京は日本の首都です。", "shift_jis"),
        ("北京是中国的首都。", "gb18030"),
        ("Η Αθήνα είναι η πρωτεύουσα", "cp1253"),
        ("ירושלים עיר", "cp1255"),
    ],
)
def test_other_scripts_are_never_guessed_but_read_when_named(tmp_path, text, codec):
    with pytest.raises(DocumentError, match="set `encoding` of this loader"):
        load(tmp_path / "a.txt", (text * 9).encode(codec))
    assert load(tmp_path / "a.txt", (text * 9).encode(codec), encoding=codec) == (text * 9, [])


def test_a_few_damaged_bytes_do_not_turn_the_rest_into_mojibake(tmp_path):
    data = FRENCH.encode()
    at = data.index("œ".encode())
    text, warnings = load(tmp_path / "a.txt", data[:at] + b"\xff" + data[at + 2 :])
    assert text == FRENCH.replace("œ", "\ufffd", 1)
    assert warnings == [f"a.txt: 1 damaged places in its UTF-8, the first at byte {at}, read as U+FFFD"]


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_characters_over_two_blocks_are_whole(tmp_path, monkeypatch, cut):
    monkeypatch.setattr(decode, "BLOCK", 4 - cut + 1)
    assert load(tmp_path / "a.txt", "😀é字x".encode() * 5) == ("😀é字x" * 5, [])
    with pytest.raises(DocumentError, match="byte 11 is not utf-8"):
        load(tmp_path / "a.txt", "😀é字xy".encode() + b"\xc3(", encoding="utf-8")


def test_coloured_logs_are_text_and_a_bell_or_two_do_not_matter(tmp_path):
    log = "\x1b[31mERROR\x1b[0m disk full\x07\n" * 3
    assert load(tmp_path / "a.log", log.encode())[0] == log


@given(data=st.binary(min_size=1, max_size=400))
def test_any_bytes_are_read_or_refused(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("b") / "a.txt"
    path.write_bytes(data)
    trace = Trace()
    try:
        with trace.stage("load"):
            (document,) = TextLoader().load(path)
    except DocumentError:
        return
    found = decoding(path)
    assert document.text == data.decode(found.codec, found.errors).replace("\0", "\ufffd")
    plain = found.codec.startswith("utf") and found.errors == "strict"
    assert plain == (not trace.warnings) or "\ufffd" in document.text
