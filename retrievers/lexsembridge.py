"""LexSemBridge: the words of a question turn some dimensions of its vector up and others down.

    s  = softmax(A w + a)                     (dim,), all positive: no dimension changes its sign
    q' = s * q / |s * q|                      the passages' vectors stay as they are

w says how much each token t of the vocabulary counts:

    SLR, statistical   c                                                if t is in the question, else 0
    LLR, learned       max over its places j of relu(v . h_j + b)       h_j: the encoder's state there; 0 if absent
    CLR, contextual    log(1 + relu(E_t . layernorm(gelu(H h + b))))    for any t; h: the question's vector times
                                                                        sqrt(dim), E: the encoder's word vectors

S. Zhan et al., "LexSemBridge: fine-grained dense representation enhancement through token-aware embedding
augmentation", 2025, as its published code trains it. That code neither saves A nor applies it when it measures; here
it is both. Deviations: CLR reads the pooled state where theirs reads [CLS], and H with tied word vectors stands for the
masked-language head that sentence encoders lack; [SEP] counts no more than other special tokens; A has rows for the
tokens seen most in training alone, and others contribute nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.encoder import Encoder
from fovea.rag.errors import ConfigError
from fovea.rag.placed import NameOrPath
from fovea.rag.types import Query
from fovea.rag.wordpieces import ModelTokenizer
from fovea.retrievers.learned import LearnedRetriever

if TYPE_CHECKING:
    import numpy as np

SATURATED = 20
"""A dimension with so many times its even share 1 / dim has taken over; that is a training gone wrong."""


class Read(NamedTuple):
    """A question as the encoder reads it."""

    vector: np.ndarray
    """Float32 `(dim,)`, of unit length."""
    ids: np.ndarray
    """Its tokens, int `(tokens,)`."""
    states: np.ndarray | None = None
    """The encoder's last states, float32 `(tokens, width)`; LLR alone needs them."""


class LexSemBridgeRetriever(LearnedRetriever, name="lexsembridge"):
    """The chunks nearest to the question's vector after the modulation. O(tokens * dim) beside the search, for CLR
    O(kept tokens * dim).

    What the paper's forms gain over `dense` is little; the cards of the weights say how much.
    """

    weights: NameOrPath = "lexsembridge_slr"
    """The name of shipped weights, or the path of one's own. They say which w."""

    def vector(self, query: Query, corpus: Corpus) -> np.ndarray:
        """q' of a question: float32 `(dim,)`, of unit length.

        Raises ConfigError for another encoder or tokenizer than those of the weights, ModelError for weights that
        cannot be had.
        """
        variant = self.for_corpus(corpus).about["variant"]
        shares = modulation(read := self._read(query, corpus, variant), variant, self.arrays)
        trace.warn(
            f"one dimension took over {SATURATED} times its share: train {self.weights!r} again, with a lower "
            "learning_rate",
            bool(shares.max() > SATURATED / len(shares)),
        )
        return enhance(read.vector, shares)

    def _read(self, query: Query, corpus: Corpus, variant: str) -> Read:
        import numpy as np

        if variant == "llr":  # One run of the model gives the vector too.
            [(vector, ids, states)] = corpus.encoder.token_states([query.text], "query")
            return Read(self.start(query, corpus) if self.after else vector, ids, states)
        assert isinstance(corpus.encoder.tokenizer, ModelTokenizer)
        ids = np.array(corpus.encoder.tokenizer.ids([query.text])[0], np.int64)
        return Read(self.start(query, corpus), ids)

    def fit(self, encoder: Encoder) -> None:
        """Raise ConfigError unless the weights are for the encoder and its tokenizer."""
        super().fit(encoder)
        trained, tokenizer = self.trained, encoder.tokenizer
        named = tokenizer.label if isinstance(tokenizer, ModelTokenizer) else type(tokenizer).__name__
        if not isinstance(tokenizer, ModelTokenizer) or tokenizer.identity != trained.about["tokenizer"]:
            raise ConfigError(
                f"the weights {self.weights!r} of {self.name} read tokens of {trained.about['tokenizer_name']}, the "
                f"encoder here has {named}",
                where=f"retrieve {self.name}",
                fix=f"encoder: {{use: sentence_transformer, model: {trained.about['encoder_name']}}}, or "
                f"fovea train {self.kind} {self.name} with this encoder",
            )

    @cached_property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """The weights, ready to compute with."""
        return widened(self.trained.arrays)


def widened(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays in float32: rows kept in 8 bits under `NAME` times their scales under `NAME.scale`."""
    import numpy as np

    found = {name: array for name, array in arrays.items() if not name.endswith(".scale")}
    for name, array in found.items():
        if array.dtype == np.int8:
            found[name] = array * arrays[f"{name}.scale"].astype(np.float32)[:, None]
    return found


def enhance(vector: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """s * q / |s * q|: float32 `(dim,)`."""
    import numpy as np

    turned = (vector * (shares * len(shares))).astype(np.float32)
    return turned / max(float(np.linalg.norm(turned)), 1e-12)


def modulation(read: Read, variant: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """s: float32 `(dim,)`, all positive, of sum 1."""
    import numpy as np

    rows, weights = contextual(read, arrays) if variant == "clr" else present(read, variant, arrays)
    logits = weights @ arrays["matrix"][rows] + arrays["bias"]
    grown = np.exp(logits - logits.max())
    return grown / grown.sum()


def present(read: Read, variant: str, arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The rows of A of the question's tokens, and w there: `(n,)` each; what has no row is left out."""
    import numpy as np

    kept = arrays["tokens"]
    at = np.searchsorted(kept, read.ids).clip(max=len(kept) - 1)
    known = kept[at] == read.ids
    rows, back = np.unique(at[known], return_inverse=True)
    if variant == "slr":
        return rows, np.full(len(rows), arrays["scale"][0], np.float32)
    assert read.states is not None
    weights = np.zeros(len(rows), np.float32)
    np.maximum.at(weights, back, read.states[known] @ arrays["direction"] + arrays["floor"][0])
    return rows, weights


def contextual(read: Read, arrays: Mapping[str, np.ndarray]) -> tuple[slice, np.ndarray]:
    """All rows of A, and w there `(kept,)`, from the question's vector."""
    import numpy as np

    pooled = read.vector * np.sqrt(np.float32(len(read.vector)))
    hidden = gelu(arrays["hidden.weight"] @ pooled + arrays["hidden.bias"])
    hidden = (hidden - hidden.mean()) / np.sqrt(hidden.var() + np.float32(1e-5))
    return slice(None), np.log1p(np.maximum(arrays["words"] @ hidden, 0))


def gelu(x: np.ndarray) -> np.ndarray:
    """x times the share of the normal distribution under x."""
    import math

    import numpy as np

    return x * np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()], np.float32)
