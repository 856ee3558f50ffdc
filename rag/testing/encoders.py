"""Conformance of encoders: what every component of this kind must hold to, whatever its model.

    def test_mine():
        check_encoder(MyEncoder())

Each check raises AssertionError with what was got. An encoder whose model is random or tiny passes: nothing here asks
whether the vectors mean anything.
"""

from __future__ import annotations

import numpy as np

from fovea.rag.encoder import Encoder, Tokenizer
from fovea.rag.trace import Trace

PLAIN = [
    "The Moon orbits the Earth in 27 days.",
    "Green tea is brewed at 80 degrees, black tea at 95.",
    "rivers",
    "A sentence that is somewhat longer than the others, so that a batch needs padding and an order.",
    "The Moon orbits the Earth in 28 days.",
]

HOSTILE = [
    "",
    " ",
    "\n" * 300,
    "two lines\r\nand\ta tab",
    "e\u0301 and \u00e9, \U0001f98a\U0001f468\u200d\U0001f469\u200d\U0001f467, \u0930\u094d\u092e",
    "\u6c49\u5b57\u4e4b\u95f4\u6ca1\u6709\u7a7a\u683c" * 5,
    "x" * 5000,
    "the same again. " * 8,
    "null \x00 and bell \x07 and \ufffd",
    "a lone \ud800 surrogate",
    "[CLS] [SEP] [PAD] <s> </s>",
]
"""Texts that real documents hold and that break naive code."""

CLOSE = 1e-5
"""How far the components of a vector may move with the company it is encoded in."""


def check_encoder(encoder: Encoder) -> None:
    """Every law of the kind."""
    check_shapes(encoder)
    check_order_and_company(encoder)
    check_hostile_text(encoder)
    check_tokenizer(encoder.tokenizer)
    check_long_text(encoder)
    check_fingerprint(encoder)


def check_shapes(encoder: Encoder) -> None:
    """Float32 unit rows of length `dim` in both roles; no texts give no rows."""
    for role in ("document", "query"):
        vectors = encoder.encode(PLAIN, role)
        assert vectors.shape == (len(PLAIN), encoder.dim), f"{vectors.shape}, dim {encoder.dim}"
        assert vectors.dtype == np.float32, f"{vectors.dtype}"
        _unit(vectors)
        none = encoder.encode([], role)
        assert none.shape == (0, encoder.dim), f"no texts gave {none.shape}"
        assert none.dtype == np.float32, f"no texts gave {none.dtype}"


def check_order_and_company(encoder: Encoder) -> None:
    """The same text gives the same vector: again, in another order, among others and alone."""
    together = encoder.encode(PLAIN)
    assert np.array_equal(together, encoder.encode(PLAIN)), "the same call twice gave different vectors"
    _close(together[::-1], encoder.encode(PLAIN[::-1]), "another order")
    _close(together, np.concatenate([encoder.encode([text]) for text in PLAIN]), "each alone")
    _close(np.repeat(together[:2], 40, axis=0), encoder.encode([t for t in PLAIN[:2] for _ in range(40)]), "many")
    far = together @ together.T - np.eye(len(PLAIN))
    assert far.max() < 1 - 1e-7, "different texts gave the same vector"


def check_hostile_text(encoder: Encoder) -> None:
    """Any string gives a finite unit vector, and does not disturb its neighbours."""
    mixed = encoder.encode([*HOSTILE, *PLAIN])
    _unit(mixed)
    _close(mixed[len(HOSTILE) :], encoder.encode(PLAIN), "plain texts beside hostile ones")


def check_tokenizer(tokenizer: Tokenizer) -> None:
    """Offsets are ordered ranges of the very text, as many as are counted, and leave no word out."""
    for text in (*PLAIN, *HOSTILE):
        offsets = tokenizer.offsets(text)
        assert offsets.dtype == np.int64, f"{offsets.dtype}"
        assert offsets.shape == (tokenizer.count(text), 2), f"{offsets.shape}, counted {tokenizer.count(text)}"
        starts, ends = offsets[:, 0], offsets[:, 1]
        assert (starts <= ends).all(), f"backward token in {text[:40]!r}"
        assert (np.diff(offsets, axis=0) >= 0).all(), f"tokens out of order in {text[:40]!r}"
        assert not len(offsets) or (starts[0] >= 0 and ends[-1] <= len(text)), f"a token outside of {text[:40]!r}"
    for text in PLAIN:
        covered = {i for a, b in tokenizer.offsets(text) for i in range(a, b)}
        left = [c for i, c in enumerate(text) if i not in covered and not c.isspace()]
        assert not left, f"{left} of {text!r} in no token"


def check_long_text(encoder: Encoder) -> None:
    """What fits is encoded without a word; a longer text is warned of and read to its end."""
    if encoder.window is None:
        return
    fits = _of_tokens(encoder.tokenizer, encoder.window)
    assert not _warnings(encoder, [fits]), "a text as long as the window was warned of"
    long = fits + " and then " + fits + " at last "
    warned = _warnings(encoder, [long + "moon", "short", long + "tea"])
    assert sum(warned.values()) == 2, f"two long texts, warnings {dict(warned)}"
    assert str(encoder.window) in next(iter(warned)), f"{next(iter(warned))!r} does not name the window"
    one, two = encoder.encode([long + "moon", long + "tea"])
    assert np.abs(one - two).max() > 1e-6, "the end of a long text does not reach its vector"
    _unit(np.stack([one, two]))


def check_fingerprint(encoder: Encoder) -> None:
    """Equal settings have equal fingerprints, and a fingerprint does not change with use."""
    before = encoder.fingerprint
    encoder.encode(PLAIN[:1])
    assert encoder.fingerprint == before, "the fingerprint changed with use"
    assert encoder.model_copy(deep=False).fingerprint == before, "a copy has another fingerprint"


def _of_tokens(tokenizer: Tokenizer, tokens: int) -> str:
    text = "moon"
    while tokenizer.count(text + " moon") <= tokens:
        text += " moon"
    return text


def _warnings(encoder: Encoder, texts: list[str]) -> dict[str, int]:
    trace = Trace()
    with trace.stage("encode"):
        encoder.encode(texts)
    return dict(trace.warnings)


def _unit(vectors: np.ndarray) -> None:
    norms = np.linalg.norm(vectors, axis=1)
    assert np.isfinite(vectors).all(), "a component that is not finite"
    assert np.abs(norms - 1).max() < CLOSE, f"a row of length {norms[np.abs(norms - 1).argmax()]}"


def _close(a: np.ndarray, b: np.ndarray, what: str) -> None:
    apart = float(np.abs(a - b).max())
    assert apart <= CLOSE, f"{what}: components differ by {apart:.2g}"
