"""Folding, words and terms: what readers see as the same is found, what differs is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.folding import fold
from fovea.rag.terms import index_terms, query_terms
from fovea.rag.tokens import words
from tests.growth import MOST, TIMES, growth

SAME = [
    ("ﬁrst eﬃcient workﬂow ﬆ", "first efficient workflow st"),
    ("Daten\u00adbank\u00adserver", "Datenbankserver"),
    ("Server\u200bfarm w\u2060o\ufeffr\u200dd", "Serverfarm word"),
    ("Ｆｕｌｌ　ｗｉｄｔｈ　４２", "full width 42"),
    ("ｶﾞｽ ﾊﾞｽ", "ガス バス"),
    ("Straße STRASSE", "strasse Straße"),
    ("Łódź Ørsted Đorđe Þór Æsop œuvre ħ", "lodz orsted dorde thor aesop oeuvre h"),
    ("naïve Ångström", "NAIVE angstrom"),
    ("İstanbul ısı DİYARBAKIR", "istanbul isi diyarbakir"),
    ("ΟΔΟΣ οδός", "οδοσ ΟΔΌΣ"),
    ("كـــتاب كِتَابٌ أحمد", "كتاب كتاب احمد"),
    ("کتاب ایران", "كتاب ايران"),
    ("שָׁלוֹם", "שלום"),
    ("1,234,567 12,34,567 1'234'567", "1234567 1234567 1234567"),
    ("1\u00a0234\u202f567 1\u2009234 1.234.567", "1234567 1234 1234567"),
    ("١٢٣٤ ४२ ๔๒ ١٬٢٣٤", "1234 42 42 1234"),
    ("don’t O’Neill’s", "don't O'Neill's"),
    ("e‑mail co‐op", "e-mail co-op"),
    ("นํ้า เเม่", "น้ำ แม่"),
    ("Ё ё", "Е е"),
    ("H₂O m² ½ №5 Ⅳ", "H2O m2 1/2 No 5 IV"),
    ("3½ 10⁶ Revenue¹ Acme™", "3 1/2 10 6 Revenue 1 Acme"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_readers_see_as_the_same_has_the_same_terms(one, other):
    assert words(one) == words(other) != []
    assert index_terms(one) == index_terms(other)
    assert query_terms(one) == query_terms(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ガス", "カス"), ("ハ", "バ"), ("パ", "バ"), ("は", "ば"), ("कि", "की"), ("क़", "क"), ("কি", "কী"), ("กา", "กี"),
        ("й", "и"), ("ї", "і"), ("1, 2", "12"), ("1,2,3", "123"), ("2019,100", "2019100"), ("1,23", "123"),
        ("2.10.1", "2.1.10"), ("10-20", "1020"), ("192.168.100.200", "192168100200"), ("日", "目"), ("가", "각"),
    ],
)  # fmt: skip
def test_what_differs_stays_apart(one, other):
    assert set(query_terms(one)) != set(query_terms(other))


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("กาแฟ", "ผมชอบดื่มกาแฟดำ"), ("ตลาด", "เขาไปตลาด"), ("ກາເຟ", "ຂ້ອຍດື່ມກາເຟ"), ("កាហ្វេ", "ខ្ញុំចូលចិត្តកាហ្វេ"),
        ("ကော်ဖီ", "ကျွန်တော်ကော်ဖီသောက်တယ်"), ("绿茶", "我喜欢在月亮下喝绿茶。"), ("茶", "绿茶用水"), ("ガス", "都市ガス料金"),
        ("학교", "그는 학교에서 공부한다"), ("किताब", "यह किताब अच्छी है।"), ("বাংলা", "আমি বাংলা বলি"),
        ("தமிழ்", "நான் தமிழ் பேசுகிறேன்"),
        ("2.10.1", "see v2.10.1-rc1."), ("email", "an e-mail"), ("e-mail", "an email"),
        ("example.com", "x@example.com"),
        ("database", "the data-\n  base fell"), ("ABC123", "part ABC-123,"), ("foobar", "foo_bar()"),
        ("4.2", "§ 4.2: x"),
        ("C++", "C++, Java"), ("C#", "(C#)"), (".NET", "the .NET runtime"), ("10.0.0.1", "at 10.0.0.1:80"),
    ],
)  # fmt: skip
def test_a_word_is_found_inside_a_sentence(word, sentence):
    assert set(query_terms(word)) & set(index_terms(sentence)) - set(words("c net 1 2 4 10 0 base data"))


@pytest.mark.parametrize(
    ("word", "sentence"),
    [("กาแฟ", "เขาไปตลาด"), ("กาแฟ", "การแพทย์"), ("กาแฟ", "แฟกา"), ("绿茶", "茶绿"), ("绿茶", "绿水和茶"),
     ("学校", "校学"), ("ガス", "カス"), ("ハス", "バス"), ("학교", "교학")],
)  # fmt: skip
def test_sharing_characters_is_not_sharing_words(word, sentence):
    assert not set(query_terms(word)) & set(index_terms(sentence))


def test_marks_that_join_make_terms_of_their_own():
    assert index_terms("Release v2.10.1 (C++)") == ["release", "v2", "10", "1", "c", "2．10．1", "2", "c＋＋"]
    assert index_terms("A sentence. Another...so, and/or") == ["a", "sentence", "another", "so", "and", "or", "and／or"]
    assert query_terms("2.10.1 2.10.1") == ["2", "10", "1", "2．10．1"]
    long = "a." * 200 + "a"
    assert set(index_terms(long)) == {"a"}, "of very long names the parts alone"


SCRIPTS = st.sampled_from(
    "aZéßłøıİσςΣйёкחםקﬁﬀガｶﾞハバはば々〇ー中文字กาแฟดำเไ้ํຂນກ្មខော်မ ़̈̆क़िी्বাதமி"
    "한글ﻻلاـَِّ١٢०१0129,.'-_/@:+#& \n\u00ad\u200b\u00a0\u202f’‑™²½"
)


@given(st.one_of(st.text(SCRIPTS, max_size=40), st.text(max_size=40)))
def test_folding_again_changes_nothing(text):
    assert fold(fold(text)) == fold(text)


@given(st.text(SCRIPTS, max_size=40), st.text(SCRIPTS, max_size=40))
def test_every_text_finds_itself_and_terms_need_no_quoting(before, text):
    asked, indexed = query_terms(text), set(index_terms(f"{before} {text}"))
    assert bool(asked) == bool(words(text))
    assert not asked or set(asked) & indexed
    assert all(t and not any(c.isspace() or (c.isascii() and not c.isalnum()) for c in t) for t in indexed)
    assert set(words(text)) <= set(index_terms(text)), "what is said of words holds of the index"
    assert set(asked) <= set(index_terms(text))


@given(
    st.lists(st.sampled_from(["กาแฟ", "绿茶", "ガス", "학교", "word", "हिन्दी", "2.10.1", "naïve"]), min_size=1),
    st.data(),
)
def test_each_word_of_a_passage_finds_it(passage, data):
    asked = data.draw(st.sampled_from(passage))
    for between in ("", " ", "。"):
        if between or asked not in ("word", "हिन्दी", "2.10.1", "naïve"):
            assert set(query_terms(asked)) <= set(index_terms(between.join(passage)))


@pytest.mark.parametrize(
    "text", ["a.b-" * 30_000, "-" * 100_000, "1," * 50_000, "กา" * 40_000, "a" * 100_000 + "-", "\u0301" * 90_000]
)
def test_long_texts_take_time_in_step(text):
    assert growth(lambda size: lambda: index_terms(text[:size]), len(text) // TIMES) < MOST
