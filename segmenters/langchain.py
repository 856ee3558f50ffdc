"""Any LangChain text splitter as a segmenter: its pieces are located in the text, which is cut where they end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from fovea.rag import registry, trace
from fovea.rag.segmenter import Cut, Segmenter
from fovea.rag.types import Document
from fovea.segmenters.align import align
from fovea.segmenters.structure.kinds import strengths

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder


class LangChainSegmenter(Segmenter, name="langchain"):
    """Cuts where the pieces of a LangChain `TextSplitter` end. For use from Python: YAML cannot hold the object."""

    splitter: Any
    """A `langchain_text_splitters.TextSplitter`."""

    @field_validator("splitter")
    @classmethod
    def _is_splitter(cls, splitter: Any) -> Any:
        if not is_splitter(splitter):
            raise ValueError(f"expected a LangChain TextSplitter object (from Python, not YAML), got {splitter!r}")
        return splitter

    def cuts(self, text: str, document: Document, encoder: Encoder) -> Iterator[Cut]:
        """A cut with score 1 after each piece; the splitter's overlap is left to the `overlap` of this segmenter.

        The pieces may differ from the text in white space and case and lack its separators: chunks are slices of the
        text all the same. Where pieces are not found even so, which is a counted warning, the text between their
        neighbours is cut by structure, as `recursive` does.
        """
        spans = align(text, self.splitter.split_text(text))
        trace.warn(
            "a LangChain splitter changed these pieces of the text so much that they are not found in it: "
            "their part is cut by structure",
            spans.count(None),
        )
        found: dict[int, float] = {}
        end, lost, overlapped = 0, not spans, False
        for span in spans:
            if span is None:
                lost = True
                continue
            overlapped |= span.start < end
            found |= _by_structure(text, document, end, span.start) if lost else {}
            end, lost = max(end, span.end), False
            found[end] = 1.0
        found |= _by_structure(text, document, end, len(text)) if lost else {}
        if overlapped:
            trace.warn("the overlap of a LangChain splitter is not kept: set `overlap` on the langchain segmenter")
        yield from (Cut(at, found[at]) for at in sorted(found) if 0 < at < len(text))

    def settings(self, *, speed: bool = True) -> dict[str, Any]:
        """The settings, the splitter described by its class and what of its state is plain data."""
        return {**super().settings(speed=speed), "splitter": _described(self.splitter)}


def _by_structure(text: str, document: Document, start: int, end: int) -> dict[int, float]:
    """Places and strengths of cuts from `start` to `end`, both included."""
    inside = {at: strength for at, strength in strengths(text, document.media_type).items() if start < at < end}
    return {start: 1.0, **inside, end: 1.0}


def is_splitter(thing: object) -> bool:
    """Whether `thing` is a LangChain text splitter; imports nothing."""
    module = sys.modules.get("langchain_text_splitters")
    return module is not None and isinstance(thing, module.TextSplitter)


@registry.adapter("segmenter")
def adapt(thing: object) -> LangChainSegmenter | None:
    """A LangChain splitter as a segmenter; None for anything else."""
    return LangChainSegmenter(splitter=thing) if is_splitter(thing) else None


def _described(thing: Any) -> dict[str, Any]:
    """Class and plain attributes; of a function its name, since what it closes over cannot be told."""
    plain = {key: _plain(value) for key, value in sorted(vars(thing).items())}
    return {"class": f"{type(thing).__module__}.{type(thing).__qualname__}", **plain}


def _plain(value: Any) -> Any:
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return getattr(value, "__qualname__", type(value).__qualname__)
