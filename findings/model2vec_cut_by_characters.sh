#!/usr/bin/env bash
# model2vec 0.10.0 cuts a text by characters before it counts tokens, so that texts of fewer than `max_length` tokens lose
# their end.
#
# `max_length` (512 by default) is documented as tokens: "Any tokens beyond this length are truncated". But `encode` first
# keeps `max_length` times the median length of the vocabulary's tokens in characters. Half of all tokens are longer than
# the median, and spaces are counted too: 300 words of ten letters, 300 tokens, are cut where the median token has four.
# Nothing warns. `max_length=None` reads the whole text, as sentence-transformers does with the same folder.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check model2vec==0.10.0
"$folder/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import numpy as np
from model2vec import StaticModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

words = ["tea", "sea", "oak", "[UNK]", "lighthouse", "watermelon"]
tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = Whitespace()
model = StaticModel(np.eye(len(words), dtype=np.float32), tokenizer)
text = " ".join(["lighthouse"] * 299 + ["watermelon"])
tokens = len(tokenizer.encode(text).ids)
last = {cut: float(model.encode(text, max_length=cut)[words.index("watermelon")]) for cut in (512, None)}
print("model2vec", version("model2vec"), "median length of a token", model.median_token_length)
print(f"{tokens} tokens, {len(text)} characters; max_length {model.max_length}")
for cut, weight in last.items():
    print(f"max_length {cut}: weight of the last token {weight:.4f}")
seen = tokens < model.max_length and last[512] == 0 and last[None] > 0
print("as described" if seen else "it has changed")
sys.exit(not seen)
PY
