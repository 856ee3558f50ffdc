#!/usr/bin/env bash
# transformers 5.2.0, which kvpress 0.5.5 asks for: generate(prefill_chunk_size=n) gives every piece of the prompt the
# positions of the prompt's end.
#
# A prompt of 200 tokens in pieces of 100 is read at positions 100 to 199 twice; in pieces of 64, three times at 136 to 199.
# So the answer is another one than without pieces, for any model with positions, with and without an attention mask, and
# nothing says so. In 5.12.0 the pieces follow each other, and the logits are those of the whole prompt.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
cat >"$folder/seen.py" <<'PY'
import sys
from importlib.metadata import version

import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=100, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    initializer_range=0.3,
)  # fmt: skip
model = LlamaForCausalLM(config).eval()
ids = torch.randint(0, 100, (1, 200))
seen = []


def note(module, args, kwargs):
    positions = kwargs["position_ids"] if "position_ids" in kwargs else args[1]
    seen.append((int(positions.min()), int(positions.max())))


model.model.rotary_emb.register_forward_pre_hook(note, with_kwargs=True)


def read(pieces):
    """Positions of each piece, and the logits of the first token of the answer."""
    seen.clear()
    with torch.no_grad():
        made = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, do_sample=False, pad_token_id=0,
            prefill_chunk_size=pieces, output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
    return list(seen), made.logits[0]


_, whole = read(None)
found = {pieces: read(pieces) for pieces in (100, 64)}
print("transformers", version("transformers"))
for pieces, (positions, logits) in found.items():
    print(f"pieces of {pieces}: positions {positions}, logits off by {float((logits - whole).abs().max()):.4f}")
wrong = {100: [(100, 199)] * 2, 64: [(136, 199)] * 3 + [(192, 199)]}
right = {100: [(0, 99), (100, 199)], 64: [(0, 63), (64, 127), (128, 191), (192, 199)]}
expected, near = (wrong, False) if sys.argv[1] == "wrong" else (right, True)
as_described = all(
    positions == expected[pieces] and ((logits - whole).abs().max() < 1e-3) == near
    for pieces, (positions, logits) in found.items()
)
print("as described" if as_described else "it has changed")
sys.exit(not as_described)
PY
pip="$folder/venv/bin/pip install --quiet --disable-pip-version-check"
$pip transformers==5.2.0 torch==2.13.0
"$folder/venv/bin/python" "$folder/seen.py" wrong
$pip transformers==5.12.0
"$folder/venv/bin/python" "$folder/seen.py" right
