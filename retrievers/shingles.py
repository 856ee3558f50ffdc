"""Shingles: runs of words by which one tells that two texts say the same (A. Broder, "On the resemblance and
containment of documents", 1997).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from fovea.rag.tokens import words


def shingles(text: str, size: int) -> set[str]:
    """Every run of `size` words, a shorter text being one; of a text with no words at all, the text."""
    found = words(text) or text.split() or [""]
    return {" ".join(found[i : i + size]) for i in range(max(1, len(found) - size + 1))}


def distinct(texts: Iterable[str], size: int = 5, most: float = 0.5) -> Iterator[int]:
    """The numbers of the texts that are like none before them that was kept:

        |A & B| / |A | B| <= most for their sets of shingles (Jaccard; Broder's resemblance)

    O(words) for texts that share little; a shingle that m of them hold costs O(m) for each.
    """
    holders: dict[str, list[int]] = defaultdict(list)
    sizes: dict[int, int] = {}
    for number, text in enumerate(texts):
        own = shingles(text, size)
        shared = Counter(at for one in own for at in holders.get(one, ()))
        if any(count > most * (len(own) + sizes[at] - count) for at, count in shared.items()):
            continue
        sizes[number] = len(own)
        for one in own:
            holders[one].append(number)
        yield number
