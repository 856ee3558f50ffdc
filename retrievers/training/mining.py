"""Hard negatives: passages that a retriever puts high for a question, and that are not said to answer it.

They teach more than random ones (V. Karpukhin et al., "Dense passage retrieval", 2020: BM25's; L. Xiong et al.,
"Approximate nearest neighbor negative contrastive learning", 2021: the encoder's own). Some do answer, since nobody
judged them: the first `skip` may be left out, and what says nearly the same as a passage that answers always is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fovea.rag.corpus import Corpus
from fovea.rag.retrieval import Retriever
from fovea.retrievers.shingles import shingles

if TYPE_CHECKING:
    from fovea.rag.types import Chunk
    from fovea.retrievers.collection import Collection

SHINGLE, ALIKE = 5, 0.5
"""Passages whose runs of so many words have a higher Jaccard index say nearly the same."""


def hard_negatives(
    collection: Collection, retriever: Retriever, corpus: Corpus, *, count: int, skip: int = 0
) -> list[list[Chunk]]:
    """For each question at most `count` chunks, best first, of what the retriever finds in the collection's corpus.

    Hits that answer are passed over, then the first `skip` others, then near-duplicates of those that answer. The same
    list every time, as far as the retriever gives the same hits. O(questions) searches.
    """
    texts = {chunk.id: chunk.text for chunk in collection.chunks}
    found = []
    for question in collection.questions:
        answers = [shingles(texts[key], SHINGLE) for key in question.relevant]
        hits = retriever.search(question.query, 2 * count + skip + len(answers), corpus)
        wrong = [hit.chunk for hit in hits if hit.chunk.id not in question.relevant]
        found.append(list(_unlike(wrong[skip:], answers))[:count])
    return found


def _unlike(chunks: list[Chunk], answers: list[set[str]]) -> Iterator[Chunk]:
    for chunk in chunks:
        own = shingles(chunk.text, SHINGLE)
        if all(len(own & other) <= ALIKE * len(own | other) for other in answers):
            yield chunk
