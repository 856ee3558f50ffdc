"""Title and headings: what the author wrote above a chunk. No model writes anything, and nothing is read twice.

Where there is neither, the document's first sentence is said instead: in prose it names what "it" is further down.
"""

from __future__ import annotations

from collections.abc import Sequence

from fovea.rag.headings import HTML, body, headings, trail
from fovea.rag.sentences import sentences
from fovea.rag.situator import Situator
from fovea.rag.types import Chunk, Document

LONGEST = 400
"""Characters of a sentence that can introduce a document; a longer one is a page without full stops."""
FEWEST = 3
"""Words of such a sentence."""


class HeadingSituator(Situator, name="headings"):
    """`title. heading. heading`: the document's title and the trail of headings above the chunk, in Markdown and HTML;
    without these, the document's first sentence. What the chunk itself begins with is not said of it again.
    """

    def texts(self, document: Document, chunks: Sequence[Chunk]) -> list[str]:
        """What stands above each chunk. O(length of the document)."""
        found, title = headings(document.text, document.media_type), " ".join(document.title.split())
        introduction = first_sentence(document)
        said = []
        for chunk in chunks:
            above = [heading.words for heading in trail(found, chunk.start, chunk.end, document.text)]
            if above and above[0].casefold() == title.casefold():
                above = above[1:]
            parts = [title, *above] if title or above else [introduction]
            said.append(self.separator.join(part for part in parts if part and not _begins(chunk, part)))
        return said


def first_sentence(document: Document) -> str:
    """The first sentence of some words, white space made even; "" where there is none of a sentence's length."""
    if document.media_type in HTML:
        return ""  # What comes first there is markup.
    text = document.text[body(document.text, document.media_type) :].lstrip()[: 4 * LONGEST]
    found = (" ".join(text[span.start : span.end].split()) for span in sentences(text))
    first = next((sentence for sentence in found if len(sentence.split()) >= FEWEST), "")
    return first if len(first) <= LONGEST else ""


def _begins(chunk: Chunk, words: str) -> bool:
    """Whether the chunk begins with these words: in a line of their own, or in a sentence as long as they are."""
    first = chunk.text.lstrip().split("\n", 1)[0].strip("#*_ \r\t")
    return first == words or (len(words.split()) >= FEWEST and " ".join(chunk.text.split()).startswith(words))
