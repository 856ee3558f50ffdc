"""The converters that `converters.py` compares, and what they weigh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from fovea.pipelines.loaders.select import loader_for
from fovea.rag import registry
from fovea.rag.trace import Trace


@dataclass(frozen=True)
class Converter:
    """One way to turn a file into text: its name, its function, the distributions that it needs."""

    name: str
    convert: Callable[[Path], tuple[str, bool]]
    needs: tuple[str, ...]

    @property
    def installed(self) -> bool:
        return all(map(version, map(plain, self.needs)))

    @property
    def versions(self) -> dict[str, str | None]:
        return {plain(name): version(plain(name)) for name in self.needs}

    @cached_property
    def megabytes(self) -> float:
        names = frozenset[str]().union(*(required(name) for name in self.needs))
        return sum(map(size, names)) / 1e6

    @property
    def licence(self) -> str | None:
        """As the metadata of the first of its packages has it; ours is the project's."""
        return licence(plain(self.needs[0])) if self.installed else None


def ours(path: Path) -> tuple[str, bool]:
    trace = Trace()
    with trace.stage("load"):
        text = "\n".join(document.text for document in loader_for(path, loaders()).load(path))
    return text, bool(trace.warnings)


@cache
def loaders() -> list:
    return [component() for component in registry.components("loader").values()]


def mammoth(path: Path) -> tuple[str, bool]:
    import mammoth

    with path.open("rb") as file:
        return mammoth.convert_to_markdown(file, convert_image=mammoth.images.img_element(lambda _: {})).value, False


def markitdown(path: Path) -> tuple[str, bool]:
    import markitdown

    return markitdown.MarkItDown().convert(path).text_content, False


def docx2python(path: Path) -> tuple[str, bool]:
    from docx2python import docx2python

    with docx2python(path) as read:
        return read.text, False


def pandoc(path: Path) -> tuple[str, bool]:
    import pypandoc

    return pypandoc.convert_file(path, "gfm", extra_args=["--wrap=none", "-s"]), False


def html2text(path: Path) -> tuple[str, bool]:
    import html2text

    reader = html2text.HTML2Text(bodywidth=0)
    return reader.handle(path.read_text("utf-8", "replace")), False


def pypdf(path: Path) -> tuple[str, bool]:
    from pypdf import PdfReader

    reader = PdfReader(path)
    if reader.is_encrypted:
        reader.decrypt("")
    return "\n".join(page.extract_text() for page in reader.pages), False


def pdfplumber(path: Path) -> tuple[str, bool]:
    import pdfplumber

    with pdfplumber.open(path) as file:
        return "\n".join(page.extract_text() for page in file.pages), False


def pdfminer(path: Path) -> tuple[str, bool]:
    from pdfminer.high_level import extract_text

    return extract_text(path), False


PANDOC = Converter("pandoc", pandoc, ("pypandoc-binary",))
CONVERTERS = {
    "word": [Converter("fovea", ours, ("lxml",)), Converter("mammoth", mammoth, ("mammoth",)),
             Converter("markitdown", markitdown, ("markitdown[docx]",)),
             Converter("docx2python", docx2python, ("docx2python",)), PANDOC],
    "html": [Converter("fovea", ours, ("lxml", "beautifulsoup4")),
             Converter("markitdown", markitdown, ("markitdown",)),
             Converter("html2text", html2text, ("html2text",)), PANDOC],
    "slides": [Converter("fovea", ours, ("python-pptx",)), Converter("markitdown", markitdown, ("markitdown[pptx]",)),
               PANDOC],
    "odt": [Converter("fovea", ours, ("lxml",)), PANDOC],
    "pdf": [Converter("fovea", ours, ("pypdfium2", "pypdf")), Converter("pypdf", pypdf, ("pypdf",)),
            Converter("pdfminer.six", pdfminer, ("pdfminer.six",)),
            Converter("pdfplumber", pdfplumber, ("pdfplumber",)),
            Converter("markitdown", markitdown, ("markitdown[pdf]",))],
}  # fmt: skip


def plain(requirement: str) -> str:
    return Requirement(requirement).name


def version(name: str) -> str | None:
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return None


def licence(name: str) -> str:
    said = distribution(name).metadata
    kinds = [line.rpartition(" :: ")[2] for line in said.get_all("Classifier", []) if line.startswith("License")]
    return said["License-Expression"] or "; ".join(kinds) or (said["License"] or "").partition("\n")[0]


@cache
def required(requirement: str) -> frozenset[str]:
    """The names of all distributions that a requirement such as `name[extra]` brings here, its own among them."""
    found, left = set[str](), [Requirement(requirement)]
    while left:
        one = left.pop()
        if version(one.name) is None or str(one) in found:
            continue
        found.add(str(one))
        for line in distribution(one.name).requires or ():
            inner = Requirement(line)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in ("", *one.extras)):
                left.append(inner)
    return frozenset(Requirement(one).name.lower().replace("_", "-") for one in found)


@cache
def size(name: str) -> int:
    files = [Path(str(distribution(name).locate_file(file))) for file in distribution(name).files or ()]
    return sum(file.stat().st_size for file in files if file.is_file())
