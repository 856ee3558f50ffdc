"""Encodings: what is certain is read, what is likely is read with a warning, what is neither is refused."""

import codecs
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.loaders import decode, guess
from fovea.pipelines.loaders.csv import CsvLoader
from fovea.pipelines.loaders.decode import decoding
from fovea.pipelines.loaders.html import HtmlLoader
from fovea.pipelines.loaders.jsonl import JsonlLoader
from fovea.pipelines.loaders.markdown import MarkdownLoader
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
    assert warnings == ["a.txt: not UTF-8, read as cp1252, guessed; set `encoding` of its loader if that is wrong"]


CZECH = "Vážení zákazníci, prosíme o zaplacení účtu do pátku. Jinak bude smlouva zrušena a peníze nebudou vráceny."
POLISH = "Uprzejmie prosimy o dostarczenie dokumentów do piątku. W przeciwnym razie wypłata środków będzie wstrzymana."
HUNGARIAN = "Kérjük, őrizze meg ezt a levelet, mert később szükség lehet rá. A számla határideje péntek, köszönjük."
RUSSIAN = "Каждый день сюда приезжают тысячи туристов, чтобы увидеть Кремль и Красную площадь."
UKRAINIAN = "Шановні клієнти, просимо сплатити рахунок до п'ятниці. Інакше договір буде розірвано."
GREEK = "Κάθε χρόνο πολλοί άνθρωποι επισκέπτονται την Ακρόπολη και τα μουσεία."
TURKISH = "Her yıl milyonlarca turist Ayasofya'yı ve Topkapı Sarayı'nı görmeye gelir. İstanbul çok kalabalık."
HEBREW = "בכל שנה מגיעים אליה מבקרים רבים כדי לראות את העיר העתיקה ואת המוזיאונים."
ARABIC = "يزورها كل عام كثير من الناس لرؤية الأهرامات والمتحف المصري ونهر النيل."
JAPANESE = "毎年多くの観光客が浅草寺や皇居を見るためにやって来ます。東京は日本の首都です。"
KOREAN = "매년 많은 관광객이 경복궁과 박물관을 보기 위해 찾아옵니다."
CHINESE = "每年有很多游客来这里参观故宫和长城，还有许多博物馆。"
TAIWANESE = "每年有很多遊客來這裡參觀故宮博物院，還有許多夜市。"
GERMAN = "Der Kühlschrank wird jährlich geprüft. Die Prüfung übernimmt die zuständige Firma für große Geräte."
PORTUGUESE = "A reunião será amanhã às nove; não há informações sobre a situação. Os funcionários já estão lá."
LATVIAN = "Rītdien pienāks vilciens un atvedīs jaunas grāmatas skolai. Bērni ļoti priecāsies par šīm dāvanām."
THAI = "ทุกปีมีนักท่องเที่ยวมากมายมาเยี่ยมชมวัดและพระราชวัง"
PLAIN = "Notes of the day: the harbour was busy, and a ship arrived from the north.\n"
GUESSED = [
    ("cp1250", CZECH), ("cp1250", HUNGARIAN), ("cp1251", RUSSIAN), ("cp1251", UKRAINIAN), ("cp1253", GREEK),
    ("cp1254", TURKISH), ("cp1255", HEBREW), ("cp1256", ARABIC), ("cp1257", LATVIAN), ("koi8-r", RUSSIAN),
    ("iso-8859-2", POLISH), ("iso-8859-2", CZECH), ("iso-8859-5", RUSSIAN), ("shift_jis", JAPANESE),
    ("euc-jp", JAPANESE), ("iso-2022-jp", JAPANESE), ("euc-kr", KOREAN), ("gb18030", CHINESE), ("big5", TAIWANESE),
    ("utf-16-le", PLAIN), ("utf-16-be", RUSSIAN), ("cp437", GERMAN), ("cp850", PORTUGUESE), ("cp852", POLISH),
    ("cp866", RUSSIAN), ("cp874", THAI), ("cp1252", PORTUGUESE),
    ("cp1252", "It costs £30 – or €35 – at 5 °C, § 4 says."),
]  # fmt: skip


@pytest.mark.parametrize(("codec", "text"), GUESSED)
def test_other_encodings_are_guessed_aloud_and_read_in_silence_when_named(tmp_path, codec, text):
    for whole in (text, PLAIN * 2000 + text + "\n" + PLAIN * 2000):  # One line of it in the midst of a long file.
        read, (warning,) = load(tmp_path / "a.txt", whole.encode(codec))
        assert read == whole
        assert "guessed; set `encoding` of its loader" in warning
        assert load(tmp_path / "a.txt", whole.encode(codec), encoding=codec) == (whole, [])


@pytest.mark.parametrize(("codec", "text"), [("cp1251", "Цена: 5"), ("shift_jis", "東京"), ("iso8859-6", ARABIC)])
def test_what_is_too_short_or_torn_to_tell_is_refused(tmp_path, codec, text):
    data = text.encode(codec) + (b"\xff" if codec == "iso8859-6" else b"")
    with pytest.raises(DocumentError, match="no other encoding fits it surely"):
        load(tmp_path / "a.txt", data)


def test_a_guess_must_decode_the_whole_file_and_looks_at_a_sample_only(tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(guess, "codecs_of", lambda sample: looked.append(len(sample)) or ["ascii", "cp1251"])
    text = (RUSSIAN + "\n") * 50_000
    assert load(tmp_path / "a.txt", text.encode("cp1251"))[0] == text
    assert looked == [guess.SAMPLE]


def test_without_the_package_western_text_is_read_and_the_extra_named_for_the_rest(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "charset_normalizer", None)
    assert load(tmp_path / "a.txt", FRENCH.encode("cp1252"))[0] == FRENCH
    with pytest.raises(DocumentError, match=r'to have it guessed: pip install "fovea-rag\[files\]"'):
        load(tmp_path / "a.txt", RUSSIAN.encode("cp1251"))
    with pytest.raises(DocumentError, match="set `encoding: utf-16-le`"):
        load(tmp_path / "a.txt", PLAIN.encode("utf-16-le"))


@pytest.mark.parametrize("loader", [TextLoader, MarkdownLoader, HtmlLoader, CsvLoader, JsonlLoader])
def test_every_text_loader_guesses(tmp_path, loader):
    texts = {
        CsvLoader: f'text\n"{RUSSIAN}"\n',
        JsonlLoader: f'{{"text": "{RUSSIAN}"}}',
        HtmlLoader: f"<p>{RUSSIAN}</p>",
    }
    (tmp_path / "a").write_bytes(texts.get(loader, RUSSIAN).encode("cp1251"))
    trace = Trace()
    with trace.stage("load"):
        (document,) = loader().load(tmp_path / "a")
    assert RUSSIAN in document.text
    assert sum(trace.warnings.values()) == 1


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
