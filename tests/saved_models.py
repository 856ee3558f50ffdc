"""Tiny models of every make that sentence-transformers saves: random weights, real files, real code."""

from __future__ import annotations

import json
from pathlib import Path

from tests.tiny import save_bert, vocabulary

PROMPTS = {"query": "tea: ", "document": "moon "}


def save(folder: Path, modules: list, config: dict | None = None, **settings) -> Path:
    """The folder of a model made of `modules`; `config` is written over what the library saves of the whole."""
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(modules=modules, device="cpu", **settings).save(str(folder))
    if config:
        file = folder / "config_sentence_transformers.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return folder


class Maker:
    """Modules of one BERT that is saved once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        save_bert(folder / "bert")

    def transformer(self, window: int = 24, **settings):
        """Width 32."""
        from sentence_transformers.models import Transformer

        return Transformer(str(self.folder / "bert"), max_seq_length=window, **settings)

    def pooled(self, mode="mean", *, include_prompt: bool = True, window: int = 24, **settings) -> list:
        """A transformer and its pooling."""
        from sentence_transformers.models import Pooling

        return [self.transformer(window, **settings), Pooling(32, mode, include_prompt=include_prompt)]

    def save(self, name: str, modules: list, config: dict | None = None, **settings) -> Path:
        """The model's folder."""
        return save(self.folder / name, modules, config, **settings)


def static(dim: int = 16, seed: int = 0):
    """A vector a token, and their mean."""
    import torch
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import BertPreTokenizer

    torch.manual_seed(seed)
    tokenizer = Tokenizer(WordPiece({t: i for i, t in enumerate(vocabulary())}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return StaticEmbedding(tokenizer, embedding_dim=dim)


def words(dim: int = 16):
    """A vector a word between spaces, by a tokenizer that does not say where its tokens lie."""
    import torch
    from sentence_transformers.models import WordEmbeddings
    from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer

    torch.manual_seed(0)
    vocab = ["PADDING", *(w for w in vocabulary() if w.isalpha() and len(w) > 1)]
    return WordEmbeddings(WhitespaceTokenizer(vocab=vocab), torch.randn(len(vocab), dim).numpy(), max_seq_length=12)


def save_sparse(folder: Path, *, without_inference: bool = False, **settings) -> Path:
    """A SPLADE of a tiny BERT, or one that looks the terms of a question up in a table."""
    import torch
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sentence_transformer.modules import Router
    from sentence_transformers.sparse_encoder.modules import MLMTransformer, SparseStaticEmbedding, SpladePooling
    from transformers import BertConfig, BertForMaskedLM

    save_bert(folder / "bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary()), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, initializer_range=0.3,
    )  # fmt: skip
    BertForMaskedLM(config).eval().save_pretrained(folder / "bert")
    modules = [MLMTransformer(str(folder / "bert")), SpladePooling("max")]
    if without_inference:
        tokenizer = modules[0].tokenizer
        table = SparseStaticEmbedding(tokenizer, weight=torch.rand(len(vocabulary())), frozen=True)
        modules = [Router.for_query_document([table], modules)]
    SparseEncoder(modules=modules, device="cpu", **settings).save(str(folder / "model"))
    return folder / "model"


def save_multi_vector(folder: Path, *, colbert: bool = False) -> Path:
    """A vector a token; as ColBERT has it, with marks before texts, questions of a fixed length, and no punctuation."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Transformer

    save_bert(folder / "bert")
    told = {"query_length": 16, "document_length": 40, "query_expansion": {"strategy": "fixed", "length": 16}}
    width = {"in_features": 32, "out_features": 8, "bias": False, "module_input_name": "token_embeddings"}
    MultiVectorEncoder(
        modules=[
            Transformer(str(folder / "bert"), **(told if colbert else {})),
            Dense(**width, module_output_name="token_embeddings"),
            MultiVectorMask(skiplist_words=[",", ".", "!", ":"] if colbert else None),
            Normalize(module_input_name="token_embeddings", module_output_name="token_embeddings"),
        ],
        device="cpu", prompts={"query": "tea ", "document": "moon "} if colbert else None,
    ).save(str(folder / "model"))  # fmt: skip
    return folder / "model"


def save_decoder(folder: Path):
    """A Qwen3 of two layers with the tokens of the tiny BERT, and a mark at the end, as its embedding models have."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

    torch.manual_seed(0)
    vocab = {t: i for i, t in enumerate(vocabulary())}
    tokenizer = Tokenizer(WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", vocab["[SEP]"])])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", eos_token="[SEP]", padding_side="left",
        model_max_length=64,
    )  # fmt: skip
    config = Qwen3Config(
        vocab_size=len(vocab), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=64, initializer_range=0.3,
    )  # fmt: skip
    Qwen3Model(config).eval().save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder
