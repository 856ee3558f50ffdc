"""Drop passages that say again what a better one says."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.retrieval import Refiner
from fovea.rag.types import Hit, Query
from fovea.retrievers.shingles import shingles
from fovea.retrievers.vectors import vectors_of

if TYPE_CHECKING:
    import numpy as np

Share = Annotated[float, Field(gt=0, le=1)]


class NearDuplicates(Refiner, name="near_duplicates"):
    """Drops a hit if a share `repeated` of its shingles, runs of `shingle` words, is in one better hit: Broder's
    containment `|A & B| / |A|` (1997, "On the resemblance and containment of documents").

    Containment, not resemblance: a short passage inside a long one adds nothing, a long one around a short one does.
    Case, accents, punctuation and white space do not count. Texts that differ in a word or number here and there
    (a form, a price list) can lie above the threshold: set it to 1 to drop exact repetition alone.
    """

    repeated: Share = 0.9
    """The share of a hit's shingles found in a better hit from which it is dropped."""
    shingle: PositiveInt = 4
    """Words in a shingle; a text with fewer words is one shingle."""
    cosine: Share | None = None
    """Also drop a hit whose vector has at least this inner product with a better one's: for paraphrases."""

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        """The hits that say something new, in their order, the first always. O(words), and O(hits^2) with `cosine`."""
        products = self._products(hits, corpus)
        stage = trace.current()
        kept: list[int] = []
        holders: dict[str, list[int]] = defaultdict(list)
        for i, hit in enumerate(hits):
            own = shingles(hit.chunk.text, self.shingle)
            if reason := self._repeats(i, own, holders, kept, products):
                at, how = reason
                stage.drop(hit, f"repeats {hits[at].chunk.where} ({how})")
                continue
            kept.append(i)
            for shingle in own:
                holders[shingle].append(i)
        return [hits[i] for i in kept]

    def _repeats(
        self,
        i: int,
        own: set[str],
        holders: dict[str, list[int]],
        kept: list[int],
        products: np.ndarray | None,
    ) -> tuple[int, str] | None:
        """The better hit that hit `i` repeats, and in what sense."""
        shared = Counter(at for shingle in own for at in holders.get(shingle, ()))
        for at, count in shared.most_common(1):
            if count >= self.repeated * len(own):
                return at, f"{count / len(own):.0%} of its text"
        if products is not None and kept:
            at = max(kept, key=lambda j: float(products[i, j]))
            if products[i, at] >= self.cosine:
                return at, f"cosine {products[i, at]:.3f}"
        return None

    def _products(self, hits: Sequence[Hit], corpus: Corpus) -> np.ndarray | None:
        if self.cosine is None or not hits:
            return None
        vectors = vectors_of(hits, corpus)
        return vectors @ vectors.T
