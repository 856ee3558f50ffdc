"""Any LangChain text splitter as a segmenter: its pieces are located in the text, exactly, and cut where they end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from fovea.rag import registry, trace
from fovea.rag.segmenter import Cut, Segmenter
from fovea.rag.types import Document
from fovea.segmenters.locate import locate

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

        Raises DocumentError, naming the piece, if the splitter does not give the text back as it was.
        """
        end, overlapped = 0, False
        for span in locate(text, self.splitter.split_text(text), document.source or document.id):
            overlapped |= span.start < end
            if end and span.end > end:
                yield Cut(end, 1.0)
            end = max(end, span.end)
        if overlapped:
            trace.warn("the overlap of a LangChain splitter is not kept: set `overlap` on the langchain segmenter")

    def settings(self, *, speed: bool = True) -> dict[str, Any]:
        """The settings, the splitter described by its class and what of its state is plain data."""
        return {**super().settings(speed=speed), "splitter": _described(self.splitter)}


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
