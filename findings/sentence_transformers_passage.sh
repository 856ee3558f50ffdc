#!/usr/bin/env bash
# sentence-transformers 6.2.0 does not put a model's prompt `passage` (or `corpus`) before its documents.
#
# `encode_document` says that it "uses the first available prompt" of `document`, `passage` and `corpus`. But every model has
# a prompt `document`: the class puts an empty one there before the model's own settings are read. So a model that keeps
# {"query": ..., "passage": ...} encodes documents without any prompt and questions with theirs, and nothing warns. For the
# same reason `default_prompt_name` reaches `encode` alone, neither `encode_query` nor `encode_document`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check sentence-transformers==6.2.0
FOLDER=$folder "$folder/venv/bin/python" - <<'PY'
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

from sentence_transformers import SentenceTransformer
from sentence_transformers.models import StaticEmbedding
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

tokenizer = Tokenizer(WordLevel({"passage": 0, "query": 1, "moon": 2, "?": 3}, unk_token="?"))
tokenizer.pre_tokenizer = Whitespace()
folder = Path(os.environ["FOLDER"], "model")
SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu").save(str(folder))
settings = folder / "config_sentence_transformers.json"
kept = {"prompts": {"query": "query ", "passage": "passage "}, "default_prompt_name": "passage"}
settings.write_text(json.dumps(json.loads(settings.read_text()) | kept))
model = SentenceTransformer(str(folder), device="cpu")


def put_before(vector):
    return next(p for p in ("", "query ", "passage ") if abs(model.encode("moon", prompt=p) - vector).max() < 1e-6)


found = {f: put_before(getattr(model, f)("moon")) for f in ("encode_query", "encode_document", "encode")}
print("sentence-transformers", version("sentence-transformers"))
print("saved", kept)
for name, prompt in found.items():
    print(f"{name}('moon') reads {prompt + 'moon'!r}")
seen = found == {"encode_query": "query ", "encode_document": "", "encode": "passage "}
print("as described" if seen else "it has changed")
sys.exit(not seen)
PY
