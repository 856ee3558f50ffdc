"""A GGUF file of quantised weights as a plain folder of transformers: made once, then loaded as any other model.

Weights are unpacked to bfloat16: the blocks of 4 bits, a scale and a minimum are rounded to 8 bits of precision, as the
published weights are, and the folder is half of what float32 takes.
"""

from __future__ import annotations

from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from fovea.rag import progress
from fovea.rag.engines import no_bars
from fovea.rag.errors import ModelError, require

NEEDED = ("torch", "transformers", "gguf", "safetensors")


def require_all() -> None:
    """Raise MissingExtra where something that unpacks a model is not installed."""
    for module in NEEDED:
        require(module, extra="local", needed_by="unpacking a language model")


def plain(gguf: Path, folder: Path) -> Path:
    """Write config, tokenizer, chat template and weights of `gguf` to `folder`; raises ModelError where that fails."""
    require_all()
    with progress.bar(f"unpack {gguf.name} to bfloat16", 3) as bar, no_bars(), redirect_stderr(StringIO()):
        try:
            tokenizer = _tokenizer(gguf)
            bar.advance(note="weights")
            model = _model(gguf)
            bar.advance(note="saving")
            tokenizer.save_pretrained(folder)
            model.save_pretrained(folder)
            bar.advance()
        except Exception as error:  # files fail in as many ways as there are libraries below
            words = " ".join(str(error).split())[:400]
            raise ModelError(f"transformers cannot unpack {gguf.name}: {type(error).__name__}: {words}") from error
    return folder


def _model(gguf: Path) -> Any:
    """The model in bfloat16. One that transformers unpacks by its own choice cannot be saved: it is asked to."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    return AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )


def _tokenizer(gguf: Path) -> Any:
    """The tokenizer; where the file says `smollm`, each digit is split off before the rest is.

    transformers does not know that word and splits as GPT-2 does: a blank line before a number would be other tokens
    than in training.
    """
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    split = GGUFReader(gguf).get_field("tokenizer.ggml.pre")
    if split is not None and split.contents() == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    return tokenizer
