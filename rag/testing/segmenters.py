"""What every segmenter must keep to, for ours and for anybody's: call these from tests.

check_segmenter(MySegmenter(max_tokens=16), encoder, segment)   # every hostile text, all laws
check_laws(text, chunks, encoder.tokenizer.count, cap)          # one text, chunks made in any way
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from fovea.rag.encoder import Encoder
from fovea.rag.segmenter import Segmenter
from fovea.rag.types import Chunk, Document

Segment = Callable[[Document, Sequence[Segmenter], Encoder], list[Chunk]]

_PARAGRAPH = "The river rose in the night. By morning it had taken the bridge, the mill and two barns! Who knew?\n\n"
_MARKDOWN = """# T

## S
Text one. Two.

- a
  - b

```py
x = 1

y = 2
```

| a | b |
|---|---|
| 1. | 2 |

"""
_CODE = """import os

@deco
def f(a):
    # why
    return a


class A:
    def g(self):
        return {
        }
"""
HOSTILE: Mapping[str, str] = {
    "empty": "",
    "spaces": " \t \n \r\n \u3000\u2003",
    "blank lines": "top" + "\n" * 300 + "bottom",
    "one character": "x",
    "plain": _PARAGRAPH,
    "same paragraph eight times": _PARAGRAPH * 8,
    "crlf": "One line.\r\nAnother one.\r\n\r\nA paragraph after a gap.\r\n" * 6,
    "cr only": "One line.\rAnother one.\r\rA paragraph.\r" * 4,
    "long words": "a" * 5000 + " " + "b" * 1200 + "." + "xyz" * 700,
    "chinese": "他们早上出发了。路很长，天气也不好！没有人知道要走多久？" * 12,
    "chinese without marks": "春眠不觉晓处处闻啼鸟夜来风雨声花落知多少" * 25,
    "japanese": "「行こう。」と彼は言った。誰も答えなかった。" * 10,
    "thai": "ภาษาไทยไม่เว้นวรรคระหว่างคำ" * 12,
    "hindi": "यह पहला वाक्य है। यह दूसरा है॥ " * 10,
    "right to left": "היום יצאנו לדרך. מחר נחזור! כן? " * 8 + "وصلنا أمس. هل تعرف؟ " * 8,
    "emoji": "👩‍👩‍👧‍👦👍🏽🇫🇷🇩🇪❤️‍🔥 ok. " * 20 + "👩‍👩‍👧‍👦" * 30,
    "combining marks": "n\u0303o\u0308e\u0301 a" + "\u0301" * 400 + " z\u0335\u0327. " * 20,
    "tabs": "a\tb\tc\n1\t2\t3\n" * 30,
    "nbsp and zero width": "a\u00a0b\u200bc\u202fd\ufeffe. " * 30,
    "marks only": ".?!…。" * 60,
    "markdown": _MARKDOWN * 3,
    "open fence": "text\n\n```\n" + "line of code\n" * 40,
    "html": "<h1>T. x</h1><p>One. Two <b>x.</b></p><pre>a\n b</pre><script>if (a<b) {}</script><!-- c" * 4,
    "code": _CODE * 4,
    "control characters": "a\x00b\x0bc\x0cd\x1ce\x85f\u2028g\u2029h. " * 12,
    "log": "".join(f"2024-01-01T00:00:{i:02} INFO worker-{i} did x=/a/b/c_{i}.txt\n" for i in range(40)),
}
"""Texts that break splitters, by what is hard about them."""

MEDIA_TYPES = ("text/plain", "text/markdown", "text/html", "text/x-python")


def check_segmenter(
    segmenter: Segmenter,
    encoder: Encoder,
    segment: Segment,
    texts: Iterable[str] = tuple(HOSTILE.values()),
    media_types: Iterable[str] = MEDIA_TYPES,
) -> None:
    """Check cuts and chunks of every text, as `segment` (of `fovea.segmenters.chain`) makes them."""
    for text in texts:
        for media_type in media_types:
            document = Document("doc", text, "doc", media_type=media_type)
            check_cuts(segmenter, document, encoder)
            chunks = segment(document, [segmenter], encoder)
            check_chunks(chunks, document, segmenter, encoder)
            assert chunks == segment(document, [segmenter], encoder), "the same text gives the same chunks"


def check_cuts(segmenter: Segmenter, document: Document, encoder: Encoder) -> None:
    """Cuts rise strictly inside the text, and score in `(0, 1]`."""
    last = 0
    for at, score in segmenter.cuts(document.text, document, encoder):
        assert last < at < len(document.text), f"{segmenter.name}: cut {at} after {last}, of {len(document.text)}"
        assert 0 < score <= 1, f"{segmenter.name}: score {score} at {at}"
        last = at


def check_chunks(chunks: Sequence[Chunk], document: Document, segmenter: Segmenter, encoder: Encoder) -> None:
    """All laws of chunks made by `segmenter` as the last of a chain."""
    cap = segmenter.max_tokens or encoder.window
    check_laws(document.text, chunks, encoder.tokenizer.count, cap, segmenter.overlap)
    assert all(c.document_id == document.id and c.source == document.source for c in chunks)


def check_laws(
    text: str, chunks: Sequence[Chunk], count: Callable[[str], int], cap: int | None = None, overlap: int = 0
) -> None:
    """Exact slices, trimmed, in order; nothing but white space left out; caps of size and overlap held.

    Only a chunk that is a single code point may have more tokens than `cap`.
    """
    end = start = 0
    for number, chunk in enumerate(chunks):
        assert text[chunk.start : chunk.end] == chunk.text, f"chunk {number} is not its slice"
        assert chunk.text, f"chunk {number} is empty"
        assert chunk.text == chunk.text.strip(), f"chunk {number} is not trimmed"
        assert number == 0 or (chunk.start > start and chunk.end > end), f"chunk {number} is out of order"
        assert not text[end : chunk.start].strip(), f"text before chunk {number} is in no chunk"
        assert cap is None or count(chunk.text) <= cap or len(chunk.text) == 1, f"chunk {number} is over {cap} tokens"
        assert count(text[chunk.start : max(end, chunk.start)]) <= overlap, f"chunk {number} repeats over {overlap}"
        start, end = chunk.start, chunk.end
    assert not text[end:].strip(), "the end of the text is in no chunk"
