"""How much of the text of real files the loaders keep, beside other converters where they are installed.

    python benchmarks/converters.py --data FOLDER [--json]

The folder holds `.docx`, `.docm`, `.dotx` and `.html` files. What a file says is read from its XML or HTML by the
plainest means: the `w:t` of Word's body outside deletions, all strings of a page outside scripts and styles. `kept` is
the share of its characters (white space aside, as a multiset) that come out; `losing` counts files that lose more than
a hundredth, and `in silence` those that do so without a warning. `refused` counts files with an error. Peers (mammoth,
markitdown, pandoc by pypandoc) speak no warnings.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from lxml import etree, html

from fovea.pipelines.evaluation.measurements import Row, show
from fovea.pipelines.loaders.select import loader_for
from fovea.rag import registry
from fovea.rag.trace import Trace

WORD, PAGES = (".docx", ".docm", ".dotx"), (".html", ".htm", ".xhtml")
SAID = (
    "//*[local-name()='t'][namespace-uri()!='http://schemas.openxmlformats.org/officeDocument/2006/math']"
    "[not(ancestor::*[local-name()='del' or local-name()='moveFrom'])]"
    "[not(ancestor::*[local-name()='Fallback' and preceding-sibling::*//*[local-name()='t']])]"
)
LOST = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of documents")
    parser.add_argument("--verbose", action="store_true", help="name the files that lose more than a hundredth")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    print(show(measure(args.data, args.verbose), as_json=args.json))


def measure(folder: Path, verbose: bool) -> Iterator[Row]:
    for name, suffixes, said in (("word", WORD, word_text), ("html", PAGES, page_text)):
        files = {path: text for path in sorted(folder.rglob("*")) if path.suffix.lower() in suffixes
                 and (text := said(path)).strip()}  # fmt: skip
        for method, convert in {"fovea": ours, **peers()}.items() if files else ():
            yield from score(f"{name}, {len(files)} files", method, convert, files, verbose)


def score(data: str, method: str, convert: Callable | None, files: dict[Path, str], verbose: bool) -> Iterator[Row]:
    """One row a metric; `missing` where a peer is not installed."""
    total = kept = losing = silent = refused = 0
    began = time.process_time()
    for path, said in files.items() if convert else ():
        try:
            text, warned = convert(path)
        except Exception as error:
            refused += 1
            if verbose:
                print(f"{method}: {path.name} refused: {str(error)[:100]}")
            continue
        want = letters(said)
        have = sum((want & letters(text)).values())
        lost = 1 - have / want.total()
        total, kept = total + want.total(), kept + have
        losing, silent = losing + (lost > LOST), silent + (lost > LOST and not warned)
        if verbose and lost > LOST:
            print(f"{method}: {path.name} loses {lost:.1%}{', with a warning' if warned else ''}")
    seconds = (time.process_time() - began) / len(files)
    values = {"kept": kept / total if total else None, "losing": losing, "in silence": silent, "refused": refused,
              "ms a file": 1000 * seconds}  # fmt: skip
    for metric, value in values.items():
        yield Row("converters", data, method, metric, value if convert else None, n=len(files))


def letters(text: str) -> Counter[str]:
    return Counter("".join(text.split()))


def word_text(path: Path) -> str:
    try:
        with ZipFile(path) as archive:
            root = etree.fromstring(archive.read("word/document.xml"))
    except (BadZipFile, KeyError, etree.XMLSyntaxError, OSError):
        return ""
    return "\n".join(one.text or "" for one in root.xpath(SAID))


def page_text(path: Path) -> str:
    root = html.fromstring(path.read_bytes() or b"<p>")
    for one in root.xpath("//script | //style | //template | //noscript | //head"):
        one.drop_tree()
    return str(root.text_content())


def ours(path: Path) -> tuple[str, bool]:
    trace = Trace()
    loaders = [component() for component in registry.components("loader").values()]
    with trace.stage("load"):
        text = "\n".join(document.text for document in loader_for(path, loaders).load(path))
    return text, bool(trace.warnings)


def peers() -> dict[str, Callable | None]:
    """Other converters by name; None for those that are not installed."""

    def mammoth(path: Path) -> tuple[str, bool]:
        import mammoth

        with path.open("rb") as file:
            return mammoth.extract_raw_text(file).value, False

    def markitdown(path: Path) -> tuple[str, bool]:
        import markitdown

        return markitdown.MarkItDown().convert(path).text_content, False

    def pandoc(path: Path) -> tuple[str, bool]:
        import pypandoc

        return pypandoc.convert_file(path, "plain", extra_args=["--wrap=none", "-s"]), False

    found = {"mammoth": mammoth, "markitdown": markitdown, "pypandoc": pandoc}
    return {name: call if importlib.util.find_spec(name) else None for name, call in found.items()}


if __name__ == "__main__":
    main()
