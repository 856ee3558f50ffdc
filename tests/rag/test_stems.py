"""Stems: `holds` finds in a text what cutting all of it finds."""

from hypothesis import example, given
from hypothesis import strategies as st

from fovea.rag.folding import fold
from fovea.rag.stems import COMMON, STEM, holds, stems
from fovea.rag.tokens import cut

TEXTS = st.text(st.sampled_from("aeinst réÄß1,._-'中茶ไทย กิहिन्दी"), max_size=40)


@given(TEXTS, TEXTS)
@example("teas and teapots", "tea")
@example("steam", "team")
@example("绿茶用水", "茶")
@example("हिन्दी", "न्दी")
def test_holds_is_what_cutting_the_text_finds(text, other):
    folded = fold(text)
    every = {word[:STEM] for word in cut(folded)}
    for stem in every | {word[:STEM] for word in cut(fold(other))}:
        assert holds(folded, stem) == (stem in every), (folded, stem)


def test_forms_of_one_word_meet_and_short_words_do_not_begin_others():
    assert holds(fold("They were INVADING."), "invad")
    assert not holds("a teapot", "tea")
    assert holds("tea", "tea")


def test_stems_leave_common_words_out():
    assert stems("What is the brewing of teas?") == {"brewi", "teas"}
    assert not stems(" ".join(COMMON))
