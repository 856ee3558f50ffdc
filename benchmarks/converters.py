"""How much of the text and the structure of real files the loaders keep, beside other converters that are installed.

    python benchmarks/converters.py --data FOLDER [--json] [--verbose]

Read are `.docx .docm .dotx`, `.html .htm .xhtml`, `.pptx`, `.odt` and `.pdf`. What a file says is read by the plainest
means (`converters_said.py`). The metrics, per format and converter:

- `kept`: the share of its characters, white space aside and compatible forms folded, that come out, as a multiset.
- `losing`: files that lose more than a hundredth; `in silence`: those among them without a warning (peers have none).
- `headings`, `rows`: the shares of headings that come out as headings of Markdown, and of table rows that come out in
  one line of a table, cells in order. `order`, of PDF: the share of pairs of neighbouring words that stay neighbours.
- `refused`: files with an error; all their characters count as lost. `ms a file`: processor time, processes that a
  converter starts included, the mean over the files.
- `MB`: what the converter's packages and all that they require take on disk; their licence is in `settings`.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from converters_peers import CONVERTERS, Converter
from converters_said import READERS, Said

from fovea.pipelines.evaluation.measurements import Row, show

LOST = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of documents")
    parser.add_argument("--verbose", action="store_true", help="name the files that lose more than a hundredth")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    logging.disable()  # What PDF libraries say of fonts,
    warnings.simplefilter("ignore")  # and others of markup.
    rows = list(measure(args.data, args.verbose))
    print(show(rows, as_json=args.json))
    if not args.json:
        said = {row.method: row.settings["licence"] for row in rows if row.settings.get("licence")}
        print("\nlicences: " + "; ".join(f"{method} {licence}" for method, licence in said.items()))


def measure(folder: Path, verbose: bool) -> Iterator[Row]:
    """All rows: every converter of a format over the files that say something to the plain reader."""
    for kind, (suffixes, read) in READERS.items():
        paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in suffixes]
        files = {path: said for path in paths if letters((said := read(path)).text)}
        for converter in CONVERTERS[kind] if files else ():
            yield from score(f"{kind}, {len(files)} files", converter, files, verbose)


def score(data: str, converter: Converter, files: dict[Path, Said], verbose: bool) -> Iterator[Row]:
    """One row a metric; `missing` where the converter is not installed, or the files have nothing of the kind."""
    counts: Counter[str] = Counter()
    began = processor_seconds()
    outputs = {path: converted(converter, path, verbose) for path in files if converter.installed}
    seconds = (processor_seconds() - began) / len(files)
    for path, (text, warned) in outputs.items():
        counts["refused"] += text is None
        found = compared(files[path], text or "")
        counts.update(found)
        lost = 1 - found["kept"] / found["of kept"]
        counts["losing"] += lost > LOST
        counts["in silence"] += lost > LOST and not warned and text is not None
        if verbose and lost > LOST:
            print(f"{converter.name}: {path.name} loses {lost:.1%}{', with a warning' if warned else ''}")
    shares = {what: counts[what] / counts[f"of {what}"] if counts[f"of {what}"] else None
              for what in ("kept", "headings", "rows", "order")}  # fmt: skip
    values = {**shares, **{what: counts[what] for what in ("losing", "in silence", "refused")},
              "ms a file": 1000 * seconds, "MB": converter.megabytes}  # fmt: skip
    settings = {"licence": converter.licence, "packages": converter.versions}
    for metric, value in values.items():
        if metric not in shares or counts[f"of {metric}"] or not converter.installed:
            yield Row("converters", data, converter.name, metric, value if converter.installed else None,
                      n=len(files), settings=settings)  # fmt: skip


def converted(converter: Converter, path: Path, verbose: bool) -> tuple[str | None, bool]:
    """The text that comes out and whether there was a warning; None for an error."""
    try:
        return converter.convert(path)
    except Exception as error:
        if verbose:
            print(f"{converter.name}: {path.name} refused: {str(error)[:100]}")
        return None, True


def compared(said: Said, text: str) -> Counter[str]:
    """Counts of what was found, and `of` how many."""
    want, lines = letters(said.text), text.splitlines()
    found = Counter({"kept": (want & letters(text)).total(), "of kept": want.total()})
    heads = [bare(line) for line in lines if re.match(r"\W*#+ ", line)]
    cells = [bare(line) for line in lines if "|" in line]
    found["headings"], found["of headings"] = counted(([one] for one in said.headings), heads)
    found["rows"], found["of rows"] = counted(said.rows, cells)
    if said.ordered:
        pairs = Counter(pairwise(words(said.text)))
        found["order"], found["of order"] = (pairs & Counter(pairwise(words(text)))).total(), pairs.total()
    return found


def counted(wanted: Iterable[list[str]], lines: list[str]) -> tuple[int, int]:
    """How many of the rows of words stand in one of the lines, in order, and how many there are."""
    rows = [[bare(cell) for cell in row if bare(cell)] for row in wanted]
    patterns = [re.compile(".*?".join(map(re.escape, row))) for row in rows if row]
    return sum(any(map(pattern.search, lines)) for pattern in patterns), len(patterns)


def letters(text: str) -> Counter[str]:
    """Without white space and marks that nobody sees."""
    seen = "".join(unicodedata.normalize("NFKC", text).split())
    return Counter(letter for letter in seen if unicodedata.category(letter) != "Cf")


def bare(text: str) -> str:
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", text))


def words(text: str) -> list[str]:
    """The words, joined over line ends."""
    text = re.sub(r"(\w)[-\u00ad]\s*\n\s*(\w)", r"\1\2", unicodedata.normalize("NFKC", text))
    return re.findall(r"\w+", text.lower())


def processor_seconds() -> float:
    return sum(os.times()[:4])


if __name__ == "__main__":
    main()
