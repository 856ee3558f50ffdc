#!/usr/bin/env bash
# bm25s 0.3.16 loses Hindi words and finds others for them; so does SQLite's FTS5 with its default tokenizer.
#
# `bm25s.tokenize` takes words for `\w\w+`, and to Python's `re` the vowel signs and the virama of Devanagari are no `\w`:
# they cut a word, and of its pieces those of one letter are dropped. Of पुस्तक (book) remains तक, which is the word for
# "until"; of पुत्र (son) nothing. FTS5's `unicode61` cuts at the same signs and keeps the single letters: दिन (day) and
# दान (gift) are both द न. Every Indic script and Thai have such signs. Neither warns.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check bm25s==0.3.16
"$folder/venv/bin/python" - <<'PY'
import sqlite3
import sys

import bm25s

texts = ["यह पुस्तक नई है", "शाम तक रुको", "राम का पुत्र"]
retriever = bm25s.BM25()
retriever.index(bm25s.tokenize(texts, stopwords=None, show_progress=False), show_progress=False)


def best(question):
    tokens = bm25s.tokenize([question], stopwords=None, return_ids=False, show_progress=False)
    return tokens[0], [text for text, score in zip(texts, retriever.get_scores(tokens[0])) if score > 0] if tokens[0] else []


print("bm25s", bm25s.__version__)
until, son = best("तक"), best("पुत्र")
print("तक (until): tokens", until[0], "finds", until[1])
print("पुत्र (son): tokens", son[0], "finds", son[1])

db = sqlite3.connect(":memory:")
db.execute("CREATE VIRTUAL TABLE days USING fts5(text)")
db.execute("INSERT INTO days VALUES ('दिन')")
gift = db.execute("SELECT text FROM days WHERE days MATCH 'दान'").fetchall()
print("SQLite", sqlite3.sqlite_version)
print("दान (gift) finds", gift)

seen = set(until[1]) == set(texts[:2]) and son == ([], []) and gift == [("दिन",)]
print("as described" if seen else "it has changed")
sys.exit(not seen)
PY
