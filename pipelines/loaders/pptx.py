"""PowerPoint slides as Markdown: a page and a heading a slide."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fovea.pipelines.loaders.file_loader import FileLoader
from fovea.pipelines.loaders.packed import package, xml
from fovea.pipelines.loaders.slides.shapes import in_order, write_shape
from fovea.pipelines.loaders.slides.words import alternative, words
from fovea.pipelines.loaders.writer import Writer
from fovea.rag.errors import require
from fovea.rag.headings import first_heading
from fovea.rag.trace import warn
from fovea.rag.types import Document, Scalar

NEEDED_BY = "the loader 'pptx'"


class PptxLoader(FileLoader, name="pptx"):
    """One document a presentation; each slide is a page (`Document.pages`), its title a heading.

    Shapes come row by row and from the left, as they lie on the slide, groups included; tables and the numbers of
    charts are pipe tables, SmartArt is a list, pictures give their alternative text. Notes and comments follow their
    slide, named as such. Hidden slides are read, counted; footers and pictures without a description are left out,
    counted.
    """

    suffixes = (".pptx", ".pptm", ".ppsx", ".ppsm", ".potx")
    packages = {"pptx": "office"}
    format = "PowerPoint presentation"

    def read(self, path: Path) -> Iterator[Document]:
        """The presentation as one document."""
        pptx = require("pptx", extra="office", needed_by=NEEDED_BY)
        with package(path, self), path.open("rb") as file:
            show = pptx.Presentation(file)
        writer = Writer()
        for slide in show.slides:
            _slide(writer, slide, path.name)
        if writer.text.strip():
            metadata = _metadata(show)
            name, title = path.as_posix(), " ".join(str(metadata.pop("title", "")).split())
            yield Document(
                name,
                writer.text,
                name,
                title or first_heading(writer.text),
                "text/markdown",
                metadata,
                writer.pages,
            )


def _slide(writer: Writer, slide: Any, name: str) -> None:
    writer.page()
    warn(f"{name}: hidden slides, read too", slide._element.get("show") in ("0", "false"))
    title = slide.shapes.title
    if title is not None:
        writer.heading(1, " ".join(words(p) for p in title.text_frame._txBody.iter("{*}p")))
    shapes = [shape for shape in slide.shapes if title is None or shape.shape_id != title.shape_id]
    for shape in in_order(shapes):
        write_shape(writer, shape, name)
    alternative(writer, slide.shapes._spTree)
    if slide.has_notes_slide and (frame := slide.notes_slide.notes_text_frame) is not None and frame.text.strip():
        writer.paragraph(f"Notes: {frame.text.strip()}")
    for relation in slide.part.rels.values():
        if relation.reltype.endswith("/comments") and not relation.is_external:
            for comment in xml(relation.target_part.blob, needed_by=NEEDED_BY).iter("{*}cm"):
                said = "".join(t.text or "" for t in comment.iter("{*}text", "{*}t"))
                writer.item(f"Comment: {said}")


def _metadata(show: Any) -> dict[str, Scalar]:
    core = show.core_properties
    year = core.created.year if core.created else 0
    fields = {"title": core.title, "author": core.author, "year": year, "slides": len(show.slides)}
    return {key: value for key, value in fields.items() if value}
