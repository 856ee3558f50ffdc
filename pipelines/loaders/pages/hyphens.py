"""Words that were broken over two lines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from fovea.pipelines.loaders.pages.pdfium import HYPHEN

_BROKEN = re.compile(rf"(\w*){HYPHEN}(\s*)(\w*)")
_WORD = re.compile(r"\w+(?:-\w+)*")


def whole_words(pages: Iterable[str]) -> list[str]:
    """The pages with their broken words joined: with the hyphen where the document writes the word so elsewhere,
    without it between small letters, and else left as they are, with hyphen and line break.
    """
    pages = list(pages)
    if not any(HYPHEN in page for page in pages):
        return pages
    known = Counter(word.lower() for page in pages for word in _WORD.findall(page))

    def whole(match: re.Match[str]) -> str:
        before, space, after = match.groups()
        joined, hyphened = f"{before}{after}", f"{before}-{after}"
        if known[hyphened.lower()] > known[joined.lower()]:
            return hyphened
        if before[-1:].islower() and after[:1].islower():
            return joined
        return f"{before}-{space}{after}"

    return [_BROKEN.sub(whole, page) for page in pages]
