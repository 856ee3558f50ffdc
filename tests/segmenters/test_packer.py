"""The packer: its optimum, its caps, its floors and overlaps."""

from itertools import combinations, pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.segmenter import Cut
from fovea.rag.testing.segmenters import check_laws
from fovea.rag.trace import Trace
from fovea.segmenters.packer import SMALL, W, best_way, pack
from fovea.segmenters.places import LADDER, characters, clauses, graphemes, parts, words
from tests.tokenizers_of_tests import TOKENIZERS, encoder

WORDS = encoder("words").tokenizer


def pieces(text, cuts, **budgets):
    return [text[s.start : s.end] for s in pack(text, [Cut(*c) for c in cuts], WORDS, **budgets)]


def cost(way, tokens, strength, floor):
    """The packer's formula, in thousandths, written down once more."""
    total = 0
    for i, j in pairwise(way):
        inside = max(strength[i + 1 : j], default=-1)
        total += 1000 + W * max(0, inside - min(strength[i], strength[j]))
        total += SMALL * 1000 * (tokens[j] - tokens[i] < floor)
    return total


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 999)), min_size=1, max_size=9),
    st.integers(5, 20),
    st.integers(0, 6),
)
def test_the_best_way_is_the_best_of_all_ways(atoms, room, floor):
    tokens, strength = [0], [1000]
    for size, level in atoms:
        tokens.append(tokens[-1] + size)
        strength.append(level)
    strength[-1] = 1000
    inner, last = range(1, len(atoms)), len(atoms)
    every = ([0, *some, last] for n in range(last) for some in combinations(inner, n))
    allowed = [w for w in every if all(j - i == 1 or tokens[j] - tokens[i] <= room for i, j in pairwise(w))]
    way = best_way(tokens, strength, room, room, floor)
    assert way in allowed
    assert cost(way, tokens, strength, floor) == min(cost(w, tokens, strength, floor) for w in allowed)


def test_equal_places_are_filled_from_the_left():
    assert best_way([0, 4, 8, 12, 16], [1000, 500, 500, 500, 1000], 8, 8, 0) == [0, 2, 4]
    assert best_way([0, 4, 8, 12], [1000, 500, 500, 1000], 8, 8, 0) == [0, 2, 3]


def test_a_strong_break_is_not_swallowed():
    text = "a a a a. b b. C c c c c c."
    weak, strong = text.index("b b"), text.index("C c")
    assert pieces(text, [(weak, 0.5), (strong, 0.9)], max_tokens=10) == ["a a a a. b b.", "C c c c c c."]
    assert pieces(text, [(weak, 0.5), (strong, 0.5)], max_tokens=11) == ["a a a a. b b.", "C c c c c c."]
    assert pieces(text, [(weak, 0.9), (strong, 0.5)], max_tokens=10) == ["a a a a.", "b b. C c c c c c."]


def test_hard_cuts_always_cut_and_soft_ones_only_when_forced():
    text = "one two three four"
    assert pieces(text, [(4, 1.0), (8, 0.9)]) == ["one", "two three four"]
    assert pieces(text, [(4, 0.9), (8, 0.9)]) == [text]


def test_cuts_that_meet_in_white_space_are_one_and_the_strongest_counts():
    assert pieces("a  b", [(1, 0.5), (2, 1.0)]) == pieces("a  b", [(1, 1.0), (2, 0.5)]) == ["a", "b"]


def test_white_space_at_the_end_of_a_chunk_is_not_counted():
    spans = pack("ab      cd", [Cut(3, 0.5)], encoder("triples").tokenizer, max_tokens=1)
    assert [(s.start, s.end) for s in spans] == [(0, 2), (8, 10)]


def test_a_tokenizer_that_adds_a_token_to_every_slice_leaves_no_crumbs():
    text = "w " * 60
    plus = SimpleNamespace(count=lambda t: WORDS.count(t) + 1, offsets=WORDS.offsets)
    cuts = [Cut(at, 0.5 + at % 3 / 10) for at in range(2, 118, 2)]
    sizes = [WORDS.count(text[s.start : s.end]) for s in pack(text, cuts, plus, max_tokens=10)]
    assert max(sizes) == 9
    assert min(sizes) >= 6


def test_small_parts_join_across_the_weaker_break_then_the_smaller_neighbour():
    text = "a a a a a | b | c c c"
    b, c = text.index("| b"), text.index("| c")
    assert pieces(text, [(b, 1.0), (c, 1.0)], min_tokens=3, max_tokens=10) == ["a a a a a", "| b | c c c"]
    assert pieces(text, [(b, 1.0), (c, 1.0)], min_tokens=3, max_tokens=5) == ["a a a a a", "| b", "| c c c"]
    assert pieces("a b", [(2, 1.0)], min_tokens=9) == ["a b"]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.integers(2, 20), st.data())
def test_no_small_part_is_left_that_could_be_joined(sizes, cap, data):
    floor = data.draw(st.integers(1, cap - 1))
    text, cuts = "", []
    for size in sizes:
        cuts += [Cut(len(text), 1.0)] if text else []
        text += "w " * size
    counts = [WORDS.count(text[s.start : s.end]) for s in pack(text, cuts, WORDS, max_tokens=cap, min_tokens=floor)]
    for a, b in pairwise(counts):
        assert min(a, b) >= floor or a + b > cap
    assert sum(counts) == sum(sizes)


def test_overlap_begins_at_a_cut_else_at_a_word():
    text = "A b c. D e. F g h i. J k."
    cuts = [(at, 0.5) for at in (text.index("D"), text.index("F"), text.index("J"))]
    found = pieces(text, cuts, max_tokens=9, overlap=3)
    assert found[1].startswith("D e. F"), "the cut at most three tokens before"
    assert found[2].startswith("h i. J"), "no cut is near enough: words"


@given(st.text("ab.,;é漢👩 \n", max_size=80), st.sampled_from(TOKENIZERS), st.integers(1, 12), st.data())
def test_any_cuts_any_budget(text, tokenizer, cap, data):
    places = sorted(data.draw(st.sets(st.integers(1, max(1, len(text) - 1)))) & set(range(1, len(text))))
    scores = data.draw(st.lists(st.sampled_from([0.1, 0.5, 0.9, 1.0]), min_size=len(places), max_size=len(places)))
    cuts = [Cut(*pair) for pair in zip(places, scores)]
    floor, overlap = data.draw(st.integers(0, cap - 1)), data.draw(st.integers(0, cap - 1))
    counts = encoder(tokenizer).tokenizer
    spans = pack(text, cuts, counts, max_tokens=cap, min_tokens=floor, overlap=overlap)
    chunks = [SimpleNamespace(start=s.start, end=s.end, text=text[s.start : s.end]) for s in spans]
    check_laws(text, chunks, counts.count, cap, overlap)


def test_a_character_over_the_cap_is_kept_whole_and_warned_of():
    trace = Trace()
    with trace.stage("segment"):
        spans = pack("漢👩", [], encoder("bytes").tokenizer, max_tokens=2)
    assert [(s.start, s.end) for s in spans] == [(0, 1), (1, 2)]
    assert trace.warnings["a single character has more tokens than max_tokens"] == 2


FAMILY = "👩‍👩‍👧‍👦"


@pytest.mark.parametrize("unit", [FAMILY, "👍🏽", "🇫🇷", "e\u0301", "❤️", "한"], ids=ascii)
def test_graphemes_are_cut_only_when_nothing_else_helps(unit):
    text = unit * 40
    whole = len(encoder("triples").tokenizer.offsets(unit)) + 2
    for chunk in pack(text, [], encoder("triples").tokenizer, max_tokens=whole):
        assert chunk.start % len(unit) == chunk.end % len(unit) == 0


def test_places():
    text = "When it rained, we (all) left: foo/bar_baz camelCase 天气也不好。走"

    def cut(rule):
        return [text[a:b] for a, b in pairwise([0, *rule(text, 0, len(text)), len(text)])]

    assert cut(clauses) == ["When it rained, ", "we (all) ", "left: ", "foo/bar_baz camelCase 天气也不好。走"]
    assert cut(words)[:4] == ["When ", "it ", "rained, ", "we "]
    assert cut(words)[-6:] == ["天", "气", "也", "不", "好。", "走"]
    assert "bar_" in cut(parts)
    assert "Case 天气也不好。" in cut(parts)
    assert len(cut(graphemes)) == len(cut(characters)) == len(text) - text.count(" ")


@given(st.text(max_size=60))
def test_places_rise_inside_and_before_text(text):
    for rule in LADDER:
        found = rule(text, 0, len(text))
        assert found == sorted(set(found))
        assert all(0 < at < len(text) and not text[at].isspace() for at in found)
