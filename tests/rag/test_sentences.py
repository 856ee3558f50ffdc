"""Sentence boundaries: they decide what a citation quotes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.sentences import sentences
from tests.growth import MOST, growth

CASES = {
    "plain": ["One two.", "Three four!", "Five?"],
    "titles and initials": ["Dr. J. R. Smith Jr. paid Mr. Lee $3.50 in the U.S. on Jan. 5.", "He left."],
    "acronym before a starter": ["It met in the U.S.", "The vote failed."],
    "number word": ["He said no.", "See no. 5 and Fig. 3."],
    "quotes and brackets": ['"Why?" he asked.', "(Really.)", "“No.”", "Yes."],
    "mark inside a name": ["Yahoo! is old.", "So it is."],
    "references": ["It fell.[12]", "It rose.[3][4]", "End."],
    "ellipsis": ["He waited... and left.", "Then…", "Nothing."],
    "decimals and versions": ["Use 3.11.2 or v2.0 at example.org/a.b today.", "Done."],
    "mountains and forts": ["They climbed Mt. Fuji near Ft. Worth.", "It is 5 ft.", "The end is near Pt. Reyes."],
    "times before titles": [
        "At 5 a.m. Mr. Lee left.",
        "He was back at 6 P.M.",
        "Mrs. Lee left the U.S.",
        "Dr. Roe too.",
    ],
    "time before a weekday": ["Some of them, e.g. Dr. Roe, did ten reps.", "It is due at 5 p.m. Friday.", "So hurry."],
    "number signs": ["See N°. 1026 and Nº. 3 or Nr. 5 and Abb. 2.", "Tel. 555 or Ext. 3."],
    "spaced ellipsis": [
        "A habit . . . was weak.",
        ". . . The end was not . . . .",
        "It ended there . . . .",
        "What now?",
    ],
    "ellipsis before I": [
        "I was not really ... well, the thing is . . . I did not.",
        "He left...",
        "I stayed.",
    ],
    "ellipsis in brackets": ['"He [...] used it (...) Monday [. . .]" (Smith 55).', "Then."],
    "lower case throughout": ["hello there.", "how are you"],
    "emphasis": ["**Bold.**", "_Next._", "Last."],
    "german": ["Das ist z.B. gut.", "Es war spät."],
    "spanish": ["¿Qué?", "¡Hola!", "Bien."],
    "arabic": ["كيف حالك؟", "بخير.", "شكرا"],
    "greek question": ["Τι;".replace(";", "\u037e"), "Ναι."],
}
JOINED = {
    "chinese": ["你好。", "他走了！", "“真的？”", "是的……好。"],
    "japanese quotation goes on": ["「行こう。」と言った。", "次。"],
    "ascii mark before a character": ["真的吗?", "对!", "好"],
    "hindi": ["यह है।", "वह है॥"],
    "burmese and khmer": ["က။", "ខ។"],
}
LAYOUT = {
    "# Title\nText goes\non. More.": ["# Title", "Text goes\non.", "More."],
    "Intro:\n- one\n- two. And three\n* four": ["Intro:", "- one", "- two.", "And three", "* four"],
    "1. first\n2. second. Tail\nwrapped\n3. third": ["1. first", "2. second.", "Tail\nwrapped", "3. third"],
    "1. First Item\n2.1. Second\n(a) Third": ["1. First Item", "2.1. Second", "(a) Third"],
    "born on May\n12. The next": ["born on May\n12.", "The next"],
    "| a. B | c |\n|---|---|\n| 1. X | 2. |\nafter": ["| a. B | c |", "|---|---|", "| 1. X | 2. |", "after"],
    "no mark\n\nnext block\r\n\r\nthird": ["no mark", "next block", "third"],
    "page one\fpage two": ["page one", "page two"],
    "Ciao.\r\nBene.": ["Ciao.", "Bene."],
    "Title\n=====\nBody": ["Title\n=====", "Body"],
    "": [],
    " \n\t\r\n": [],
}


def pieces(text: str) -> list[str]:
    return [text[s.start : s.end] for s in sentences(text)]


@pytest.mark.parametrize("expected", CASES.values(), ids=CASES)
def test_sentences_apart_by_spaces(expected):
    assert pieces(" ".join(expected)) == expected
    assert pieces("\r\n".join(expected)) == expected
    assert pieces("\n \n".join(expected)) == expected


@pytest.mark.parametrize("expected", JOINED.values(), ids=JOINED)
def test_scripts_without_spaces(expected):
    assert pieces("".join(expected)) == expected


@pytest.mark.parametrize(("text", "expected"), LAYOUT.items())
def test_layout(text, expected):
    assert pieces(text) == expected


ALPHABET = st.sampled_from(
    [*"aB1.!?…。।\"')]»|#-* \t\n\r\f\u2029é漢👩\u200d\u0301", "\r\n\r\n", "U.S. ", "Dr. ", "1. "]
)


@given(st.lists(ALPHABET, max_size=60).map("".join) | st.text(max_size=80))
def test_spans_are_ordered_trimmed_and_cover_everything(text):
    at = 0
    for span in sentences(text):
        assert not text[at : span.start].strip()
        piece = text[span.start : span.end]
        assert piece
        assert piece == piece.strip()
        at = span.end
    assert not text[at:].strip()


HOSTILE = [
    "a",
    ".",
    ". ",
    "(",
    '."',
    "\n",
    " ",
    ".[1]",
    ".\u00a0»",
    "a\n",
    "#",
    "1.1",
    "- ",
    "。",
    "| ",
    "1.\n",
    "\r",
    ". ",
    " . .",
    "a.m. Mr. ",
]


@pytest.mark.parametrize("unit", HOSTILE, ids=repr)
def test_linear_on_hostile_text(unit):
    assert growth(lambda size: lambda: sentences(unit * (size // len(unit))), 20_000) < MOST


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Tea 2.50\nScone 3.75\nTotal $6.25\nThank you.", ["Tea 2.50", "Scone 3.75", "Total $6.25", "Thank you."]),
        ("Name    Age\nAnn     30\nBob     41", ["Name    Age", "Ann     30", "Bob     41"]),
        ("a\tb\n1\t2\n", ["a\tb", "1\t2"]),
        ("The ticket cost\n2.50\nand was lost.", ["The ticket cost\n2.50\nand was lost."]),
        ("2.1 The term.\n2.2 The cap", ["2.1 The term.", "2.2 The cap"]),
    ],
)
def test_rows_and_clauses_stand_by_themselves(text, parts):
    assert [text[span.start : span.end] for span in sentences(text)] == parts
