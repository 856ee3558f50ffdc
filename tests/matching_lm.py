"""A causal language model by formula, in a folder: one head of it attends to the words that the text repeats.

Each word of a vocabulary has a code of signs, any other none. In the layers from `MATCHING[0]` on, the first head's
queries and keys are that code, in pairs of RoPE that hold still: a word attends to where it stands, alike, and hardly
to others. All other heads attend to all tokens alike. So a question points at the sentences that share its words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from fovea.attention_retrieval.heads import table
from fovea.attention_retrieval.heads.table import HeadTable
from fovea.attention_retrieval.testing.induction import CODE, HEAD, SLOW, THETA, sign_codes
from fovea.pipelines.answering import probing

LAYERS, HEADS, WIDTH, SHARP = 4, 2, 64, 40.0
MATCHING = (1, 0)
"""The layer and head that the table names."""


def save_matching(folder: Path, texts: Iterable[str], *, window: int = 4096) -> str:
    """The model whose words are those of `texts`."""
    words = sorted({word for text in texts for word in re.findall(r"\w+", text)})
    vocabulary = {word: n for n, word in enumerate(["</s>", "[UNK]", *words])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", unk_token="[UNK]").save_pretrained(
        folder
    )
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=WIDTH, intermediate_size=4, num_hidden_layers=LAYERS, head_dim=HEAD,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, max_position_embeddings=window, bos_token_id=None,
        eos_token_id=0, rope_parameters={"rope_type": "default", "rope_theta": THETA}, tie_word_embeddings=False,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "norm" in name else 0.0)
        model.model.embed_tokens.weight[2:, :CODE] = torch.from_numpy(sign_codes(len(words))).float()
        for layer in model.model.layers[MATCHING[0] :]:
            attention = layer.self_attn
            scale = (CODE / WIDTH) * (SHARP / CODE / attention.scaling)  # codes as the norm leaves them: WIDTH / CODE
            for i in range(CODE):
                attention.k_proj.weight[SLOW + i, i] = 1
                attention.q_proj.weight[SLOW + i, i] = scale
    model.save_pretrained(folder)
    return str(folder)


def keep_table(model: str) -> HeadTable:
    """Its table of heads, where it is looked for."""
    scores = np.zeros((LAYERS, HEADS))
    scores[MATCHING] = 1
    made = HeadTable(table.identity(model), "evidence", probing.digest("evidence"),
                     {"question": scores.tolist(), "answer": scores.tolist()})  # fmt: skip
    table.keep(made)
    return made
