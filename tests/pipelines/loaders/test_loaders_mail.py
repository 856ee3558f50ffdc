"""Mail: the words of a message, who wrote them, and what is attached."""

import sys

import pytest

from fovea.pipelines.loaders.eml import EmlLoader
from fovea.pipelines.loaders.mail.body import unfold
from fovea.pipelines.loaders.mbox import MboxLoader
from fovea.pipelines.loaders.msg import MsgLoader
from fovea.rag.errors import DocumentError, MissingExtra
from tests.loader_samples import load, one
from tests.office_samples import eml, letter, mbox, xlsx
from tests.ole_file import msg

HEAD = "# Tea order\n\nFrom: Ann <ann@example.org>\nTo: bob@example.org\nDate: Tue, 03 Mar 2026 10:00:00 +0100\n\n"
BODY = "Please order ten tins of Sencha.\n"


def test_a_message_and_its_attachment_word_for_word(tmp_path):
    path = tmp_path / "a.eml"
    (message, attached), warnings = load(EmlLoader(), path, eml())
    assert message.text == HEAD + BODY
    assert (message.id, message.title, message.media_type) == (path.as_posix(), "Tea order", "text/markdown")
    assert message.metadata == {
        "from": "Ann <ann@example.org>", "to": "bob@example.org", "date": "2026-03-03T10:00:00+01:00",
    }  # fmt: skip
    assert (attached.id, attached.text) == (f"{path.as_posix()}#terms.md", "# Terms\n\nPay later.\n")
    assert warnings == {}


def test_plain_text_is_preferred_and_html_read_where_it_is_blank(tmp_path):
    message = letter()
    message.add_alternative("<p>Please order <b>ten</b> tins.</p>", subtype="html")
    assert one(EmlLoader(), tmp_path / "a.eml", message.as_bytes()).text == HEAD + BODY
    message = letter()
    message.set_content(" \n")
    message.add_alternative("<h1>Order</h1><p>Ten tins.</p>", subtype="html")
    text = one(EmlLoader(), tmp_path / "b.eml", message.as_bytes()).text
    assert text == HEAD + "# Order\n\nTen tins.\n"


def test_text_between_pictures_is_all_read(tmp_path):
    message = letter()
    message.make_mixed()
    message.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="a.png")
    message.add_attachment("After the picture.\n", disposition="inline")
    (document,), warnings = load(EmlLoader(), tmp_path / "a.eml", message.as_bytes())
    assert document.text == HEAD + BODY + "\nAfter the picture.\n"
    assert warnings == {"a.eml: members of unknown type (.png), left out": 1}


def test_words_that_look_like_structure_are_words(tmp_path):
    message = letter()
    message.set_content("# not a heading\n| not | a table\n")
    assert one(EmlLoader(), tmp_path / "a.eml", message.as_bytes()).text == (
        HEAD + "\\# not a heading\n\\| not | a table\n"
    )


def test_attached_messages_are_read_with_what_is_attached_to_them(tmp_path):
    message = letter(Subject="Fwd")
    inner = letter(Subject="Inner: one")
    inner.add_attachment(xlsx(), maintype="application", subtype="octet-stream", filename="prices.xlsx")
    message.add_attachment(inner)
    documents, warnings = load(EmlLoader(), tmp_path / "a.eml", message.as_bytes())
    assert [document.id.partition("#")[2] for document in documents] == [
        "", "Inner- one.eml", "Inner- one.eml#prices.xlsx",
    ]  # fmt: skip
    assert not warnings


def raw(body: bytes, *headers: str) -> bytes:
    return "\r\n".join(["Subject: Raw", "From: a@example.org", *headers, "", ""]).encode() + body


def test_encodings_named_wrong_or_not_at_all(tmp_path):
    good = raw("Köln".encode("latin-1"), "Content-Type: text/plain; charset=iso-8859-1")
    assert "Köln" in one(EmlLoader(), tmp_path / "a.eml", good).text
    assert "Köln" in one(EmlLoader(), tmp_path / "b.eml", raw("Köln".encode())).text
    words = "Grüße aus Köln, wo es heute regnet; bitte schickt uns drei Kisten Tee."
    for n, kind in enumerate(("text/plain; charset=utf-8", "text/plain; charset=nonsense", "text/plain")):
        data = raw(words.encode("cp1252"), f"Content-Type: {kind}", "Content-Transfer-Encoding: 8bit")
        (document,), warnings = load(EmlLoader(), tmp_path / f"c{n}.eml", data)
        assert words in document.text
        assert len(warnings) == 1, "the guess is said"


def test_parts_that_cannot_be_told_apart_are_text(tmp_path):
    for kind in ("multipart/mixed; boundary=", "multipart/mixed", "multipart/alternative; boundary=b"):
        assert "hello" in one(EmlLoader(), tmp_path / "a.eml", raw(b"hello\r\n", f"Content-Type: {kind}")).text


def test_a_body_that_cannot_be_read_is_counted_and_the_message_stays(tmp_path):
    odd = raw(bytes(range(0x80, 0x100)) * 3 + b" words", "Content-Type: text/plain; charset=utf-8")
    (document,), warnings = load(EmlLoader(), tmp_path / "a.eml", odd)
    assert "words" in document.text
    assert len(warnings) == 1
    deep = raw(b"<div>" * 3000 + b"x", "Content-Type: text/html")
    (document,), warnings = load(EmlLoader(), tmp_path / "b.eml", deep)
    assert document.title == "Raw"
    assert len(warnings) <= 1
    assert "x" in document.text or warnings


def test_encoded_headers_and_broken_dates(tmp_path):
    data = b"Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\nFrom: x\r\nDate: yesterday\r\n\r\nwords\r\n"
    document = one(EmlLoader(), tmp_path / "a.eml", data)
    assert document.title == "Grüße"
    assert document.metadata == {"from": "x", "date": "yesterday"}


def test_flowed_text_is_joined_and_signatures_stay():
    assert unfold("one \ntwo\n\n> quoted \n> on\n-- \nAnn") == "one two\n\n> quoted on\n-- \nAnn"
    assert unfold("\u30ab \n\u30ab", drop_space=True) == "\u30ab\u30ab"
    assert unfold(" >not quoted") == ">not quoted"


def test_calendars_beside_the_text_are_read(tmp_path):
    message = letter()
    message.add_alternative(
        b"BEGIN:VCALENDAR\r\nSUMMARY:Tea\r\nEND:VCALENDAR\r\n", "text", "calendar", filename="i.ics"
    )
    documents, _ = load(EmlLoader(), tmp_path / "a.eml", message.as_bytes())
    assert "SUMMARY:Tea" in documents[1].text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"just words\nand more\n", "this is no e-mail message: it has no headers such as From, Date or Subject"),
        (
            raw(b"x", "Content-Type: application/pkcs7-mime; smime-type=enveloped-data"),
            "encrypted: this message opens only with the key of its receiver",
        ),
        (raw(b"--b\r\n\r\nx\r\n--b--", 'Content-Type: multipart/encrypted; boundary="b"'), "encrypted: this message"),
    ],
)
def test_refusals(tmp_path, data, message):
    (tmp_path / "a.eml").write_bytes(data)
    with pytest.raises(DocumentError, match=message) as caught:
        list(EmlLoader().load(tmp_path / "a.eml"))
    assert caught.value.fix


def test_winmail_is_counted(tmp_path):
    message = letter()
    message.add_attachment(b"\x78\x9f", maintype="application", subtype="ms-tnef", filename="winmail.dat")
    _, warnings = load(EmlLoader(), tmp_path / "a.eml", message.as_bytes())
    assert warnings == {"a.eml: attachments in Outlook's own format (winmail.dat), left out": 1}


def test_messages_of_apple_mail(tmp_path):
    data = eml()
    (message, _), _ = load(EmlLoader(), tmp_path / "a.emlx", b"%d\n%b<plist/>" % (len(data), data))
    assert message.text == HEAD + BODY


def test_a_mailbox_is_its_messages(tmp_path):
    path = tmp_path / "a.mbox"
    documents, warnings = load(MboxLoader(), path, mbox())
    assert [document.id.removeprefix(path.as_posix()) for document in documents] == ["#1.eml", "#2.eml"]
    assert [document.title for document in documents] == ["Tea order", "Second"]
    assert not warnings
    quoted = mbox().replace(BODY.encode(), b"x\n\n>From here on\n")
    assert "From here on" in load(MboxLoader(), path, quoted)[0][0].text
    (tmp_path / "b.mbox").write_bytes(b"no mailbox")
    with pytest.raises(DocumentError, match="this is no mailbox"):
        list(MboxLoader().load(tmp_path / "b.mbox"))


def test_an_outlook_message_word_for_word(tmp_path):
    path = tmp_path / "a.msg"
    (message, attached), warnings = load(MsgLoader(), path, msg(attachments={"terms.md": b"# Terms\n"}))
    assert message.text == (
        "# Tea order\n\nFrom: Ann <ann@example.org>\nTo: Bob <bob@example.org>\n"
        "Date: Tue, 03 Mar 2026 09:00:00 +0000\n\n" + BODY
    )
    assert message.metadata["date"] == "2026-03-03T09:00:00+00:00"
    assert (attached.id, attached.text) == (f"{path.as_posix()}#terms.md", "# Terms\n")
    assert not warnings


def test_outlooks_html_and_own_attachments(tmp_path):
    data = msg(body="", html=b"<p>Ten tins.</p>", attachments={"x": b"1"}, method=5)
    (document,), warnings = load(MsgLoader(), tmp_path / "a.msg", data)
    assert document.text.endswith("Ten tins.\n")
    assert warnings == {"a.msg: attached messages in Outlook's own form, left out; save them as files": 1}


def test_without_its_package_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.msg").write_bytes(msg())
    monkeypatch.setitem(sys.modules, "oxmsg", None)
    with pytest.raises(MissingExtra, match=r"fovea-rag\[office\]"):
        list(MsgLoader().load(tmp_path / "a.msg"))
    (tmp_path / "b.msg").write_bytes(b"no message of Outlook's")
    monkeypatch.undo()
    with pytest.raises(DocumentError, match="this is no Outlook message"):
        list(MsgLoader().load(tmp_path / "b.msg"))
