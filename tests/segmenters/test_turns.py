"""Turns: names, times and words of chats, transcripts and subtitles, and nothing lost between them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.segmenters.turns import Turn, spans, turns
from tests.growth import MOST, growth


def said(text):
    return turns([text[span.start : span.end] for span in spans(text)])


def pairs(text):
    return [(turn.speaker, turn.words) for turn in said(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Ann: Hi.\nBob: You: there?\nAnn: Yes,\n  I am.\n",
            [("Ann", "Hi."), ("Bob", "You: there?"), ("Ann", "Yes, I am.")],
        ),
        ("<Ann> Hi.\n<Bob> Yes.\n<Ann> So.", [("Ann", "Hi."), ("Bob", "Yes."), ("Ann", "So.")]),
        ("ANN LEE: Hi.\nBOB: Yes.\nANN LEE: So.", [("ANN LEE", "Hi."), ("BOB", "Yes."), ("ANN LEE", "So.")]),
        ("张三：你好\n李四：好\n张三：走吧", [("张三", "你好"), ("李四", "好"), ("张三", "走吧")]),
        ("Hi.\n\nYes: I see.\r\nSo.", [("", "Hi."), ("", "Yes: I see."), ("", "So.")]),
        ("Note: one\nSee: two", [("", "Note: one"), ("", "See: two")]),
        ("http://a\nhttp://b\nhttp://c", [("", "http://a"), ("", "http://b"), ("", "http://c")]),
        ("", []),
        (" \n\t\n", []),
    ],
    ids=["names", "brackets", "capitals", "wide colon", "lines", "no name twice", "addresses", "empty", "blank"],
)
def test_speakers_and_words(text, expected):
    assert pairs(text) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("[10:15] Ann: a\n[10:17:30] Ann: b", [36900, 37050]),
        ("[12/03/24, 10:15:32 PM] Ann: a\n[12/03/24, 12:00:00 AM] Ann: b", [80132, 0]),
        ("2024-03-12 10:15 - Ann: a\n2024-03-12 10:16 - Ann: b", [36900, 36960]),
        ("10:15 <Ann> a\n10:16 <Ann> b", [36900, 36960]),
        ("Ann: a\nAnn: b", [None, None]),
    ],
)
def test_times(text, seconds):
    assert said(text) == [Turn("Ann", seconds[0], "a"), Turn("Ann", seconds[1], "b")]


SUBTITLES = """WEBVTT

1
00:00:01.000 --> 00:00:02.000
<v Ann>Hi there.

2
00:00:04.500 --> 00:00:06.000
<v Bob>Yes,
sure.
"""


def test_subtitles():
    assert said(SUBTITLES) == [Turn("", None, "WEBVTT"), Turn("Ann", 1.0, "Hi there."), Turn("Bob", 4.5, "Yes, sure.")]
    plain = SUBTITLES.replace("WEBVTT\n\n", "").replace("<v Ann>", "").replace("<v Bob>", "").replace(".000", ",000")
    assert said(plain) == [Turn("", 1.0, "Hi there."), Turn("", 4.5, "Yes, sure.")]


LINES = st.lists(
    st.sampled_from(["Ann: ", "Bob：", "<v A>", "[1:02] ", "0:01 --> 0:02", "7", "a b", " ", "\n", "\r\n", "\t", "?"])
)


@given(LINES.map("".join) | st.text(max_size=80))
def test_spans_are_trimmed_in_order_and_leave_nothing_out(text):
    end = 0
    for span in spans(text):
        assert end <= span.start < span.end
        assert not text[end : span.start].strip()
        assert text[span.start : span.end] == text[span.start : span.end].strip()
        end = span.end
    assert not text[end:].strip()
    assert len(said(text)) == len(spans(text))


@pytest.mark.parametrize("piece", ["Ann: Hi.\n", " ", "a", "<", "[1:0", "\n", "0:01 --> 0:02\n", "a:", "1 "])
def test_time_is_in_proportion_to_the_text(piece):
    assert growth(lambda size: lambda: said(piece * (size // len(piece))), 4000) < MOST
