#!/usr/bin/env bash
# kvpress 0.5.5 compresses in the forward call that starts a text, and in no other.
#
# A long prompt is often read in pieces, to bound memory. Of a prompt of 200 tokens, read at once under a press with
# compression_ratio=0.5, the cache keeps 100 rows; read as 100 + 100 it keeps 150, and as four times 50 it keeps 175: the
# first piece alone shrinks, and no warning says that the rest was kept whole. (`kvpress/presses/base_press.py`: a press
# does nothing unless the call's tokens are all there are so far.) A memory or quality figure that was measured on a prompt
# read in pieces is not of the ratio that was asked for.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check kvpress==0.5.5 transformers==5.2.0 torch==2.13.0
"$folder/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import torch
from kvpress import KnormPress, StreamingLLMPress
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=100, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
)
model = LlamaForCausalLM(config).eval()
ids = torch.arange(200)[None] % 100


def rows(press, pieces):
    """Rows in the cache after each piece of the prompt."""
    cache, at, found = DynamicCache(config=config), 0, []
    with torch.no_grad(), press(model):
        for piece in pieces:
            model(ids[:, at : at + piece], past_key_values=cache, use_cache=True)
            at += piece
            found.append(cache.get_seq_length())
    return found


print("kvpress", version("kvpress"), "transformers", version("transformers"))
found = {}
for kind in (KnormPress, StreamingLLMPress):
    for pieces in ((200,), (100, 100), (50, 50, 50, 50)):
        found[kind.__name__, pieces] = rows(kind(compression_ratio=0.5), pieces)
        print(f"{kind.__name__}, pieces of {pieces}: rows kept {found[kind.__name__, pieces]}")
expected = {(200,): [100], (100, 100): [50, 150], (50, 50, 50, 50): [25, 75, 125, 175]}
as_described = all(kept == expected[pieces] for (_, pieces), kept in found.items())
print("as described" if as_described else "it has changed")
sys.exit(not as_described)
PY
