"""The two tasks of details: against plain re-counting, and what must not be asked."""

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.errors import DocumentError
from fovea.rag.tokens import WordTokenizer
from fovea.rag.types import Document, Span
from fovea.retrievers.collection import Collection
from fovea.retrievers.collections.fine_grained import keyword, part_of_passage
from fovea.retrievers.shingles import distinct, shingles


def collection(texts, parts=()):
    documents = [Document(f"d{i}", text) for i, text in enumerate(texts)]
    chunks = [d.chunk(Span(0, len(d.text))) for d in documents]
    return Collection("toy", documents, chunks, parts=dict(parts))


def passages(count, size=45, seed=0, vocabulary=400):
    rng = np.random.default_rng(seed)
    letters = "abcdefghij"
    words = ["".join(letters[int(d)] for d in f"{i:03d}") + "xy" for i in range(vocabulary)]
    return [" ".join(rng.choice(words, size)) + " ." for _ in range(count)]


def test_keywords_are_those_of_highest_tf_idf():
    texts = passages(30)
    found = keyword(collection(texts), 3, seed=0, questions=12)
    df = Counter(word for text in texts for word in set(text[:-2].split()))
    chunks = {c.id: c for c in found.chunks}
    assert len(found.questions) == 12
    assert found.name == "toy keyword3"
    for question in found.questions:
        [(key, grade)] = question.relevant.items()
        tf = Counter(chunks[key].text[:-2].split())
        score = {word: tf[word] * math.log(len(texts) / df[word]) for word in tf}
        asked = question.query.text.split()
        assert [score[w] for w in asked] == sorted(score.values(), reverse=True)[:3]
        assert grade == 1
    longer = keyword(collection(texts), 5, seed=0, questions=12)
    assert [q.relevant for q in longer.questions] == [q.relevant for q in found.questions], "the same passages"
    assert all(b.query.text.startswith(a.query.text) for a, b in zip(found.questions, longer.questions))
    other = keyword(collection(texts), 3, seed=1, questions=12)
    assert [q.relevant for q in other.questions] != [q.relevant for q in found.questions]


def test_short_passages_copies_and_ambiguous_words():
    rare = "alpha beta gamma delta epsilon"
    common = [f"w{'abcdefghijklmnopqrst'[i]}w" for i in range(20)]
    first = f"{rare} " + " ".join(common * 2)
    second = " ".join(reversed(first.split()))
    texts = [first, second, first + " end", "too short to ask for", *passages(6)]
    found = keyword(collection(texts), 3, seed=0)
    held = [c.document_id for c in found.chunks]
    assert held == ["d0", "d1", *(f"d{i}" for i in range(4, 10))], "the copy and the short one are not searched"
    assert {found.chunks[held.index("d0")].id, found.chunks[held.index("d1")].id}.isdisjoint(
        key for q in found.questions for key in q.relevant
    ), "their five best words are the same"
    assert len(found.questions) == 6
    with pytest.raises(DocumentError, match="no passage of toy can be asked for by keyword3"):
        keyword(collection(["one", "two"]), 3, seed=0)
    with pytest.raises(DocumentError, match="pop99"):
        part_of_passage(collection(passages(3)), 99, WordTokenizer(), seed=0)


def test_parts_are_windows_of_so_many_tokens():
    tokenizer, texts = WordTokenizer(), passages(20, size=60)
    found = part_of_passage(collection(texts, {f"d{i}": "train" for i in range(20)}), 16, tokenizer, seed=3)
    assert len(found.questions) == 20
    chunks = {c.id: c for c in found.chunks}
    starts = []
    for question in found.questions:
        [key] = question.relevant
        text = chunks[key].text
        assert question.query.text in text
        assert tokenizer.count(question.query.text) == 16
        assert question.split == "train"
        starts.append(tokenizer.count(text[: text.index(question.query.text)]))
    assert min(starts) < 10 < 35 < max(starts) <= 61 - 16, "from anywhere"
    again = part_of_passage(collection(texts), 16, tokenizer, seed=3, questions=5)
    assert [q.query.text for q in again.questions] == [q.query.text for q in found.questions[:5]]


@given(st.lists(st.text("ab ", min_size=0, max_size=30), max_size=8), st.sampled_from([1, 2, 5]))
def test_distinct_is_what_comparing_all_pairs_gives(texts, size):
    kept = []
    for i, text in enumerate(texts):
        own = shingles(text, size)
        if all(len(own & o) <= 0.5 * len(own | o) for o in (shingles(texts[j], size) for j in kept)):
            kept.append(i)
    assert list(distinct(texts, size)) == kept
    for a, b in combinations(kept, 2):
        assert texts[a] != texts[b]
