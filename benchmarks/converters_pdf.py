"""How much of the words of PDF files loaders keep, and how long they take: this loader, pypdf's plain text, and
`pdftotext` of poppler as the measure.

    python benchmarks/converters_pdf.py FOLDER [--json]

A file counts where pdftotext finds words. `kept` is the share of its words, as a multiset, that a converter has too
(joined over line ends, case and ligatures aside); `order` the share of its pairs of neighbouring words that are
neighbours there, which falls when columns are interleaved; seconds are of processor time.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import statistics
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from fovea.pipelines.loaders.pdf import PdfLoader


def fovea(path: Path) -> str:
    return next(iter(PdfLoader().load(path))).text


def pypdf(path: Path) -> str:
    from pypdf import PdfReader

    reader = PdfReader(path)
    if reader.is_encrypted:
        reader.decrypt("")
    return "\n".join(page.extract_text() for page in reader.pages)


def poppler(path: Path) -> str:
    done = subprocess.run(["pdftotext", "-enc", "UTF-8", path, "-"], capture_output=True, timeout=60)
    return done.stdout.decode("utf-8", "replace")


def tokens(text: str) -> list[str]:
    text = re.sub(r"(\w)[-\u00ad]\s*\n\s*(\w)", r"\1\2", unicodedata.normalize("NFKC", text))
    return re.findall(r"\w+", text.lower())


def shares(text: str, measure: str) -> tuple[float, float]:
    """The shares of the measure's words and of its pairs of neighbouring words that the text has."""
    own, true = tokens(text), tokens(measure)
    pairs = Counter(pairwise(true))
    words = (Counter(own) & Counter(true)).total() / len(true)
    return words, (Counter(pairwise(own)) & pairs).total() / max(pairs.total(), 1)


def measured(convert: Callable[[Path], str], path: Path) -> tuple[str, float, str]:
    began = time.process_time()
    try:
        text, failed = convert(path), ""
    except Exception as error:
        text, failed = "", f"{type(error).__name__}: {error}"
    return text, time.process_time() - began, failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--files", action="store_true", help="one line a file where fovea keeps less than .98")
    given = parser.parse_args()
    logging.disable()  # What pypdf says of fonts.
    rows: dict[str, list[tuple[float, float, float]]] = {"fovea": [], "pypdf": []}
    failures: Counter[str] = Counter()
    for path in sorted(given.folder.rglob("*.pdf")):
        try:
            measure = poppler(path)
        except subprocess.TimeoutExpired:
            continue
        if not tokens(measure):
            continue
        for name, convert in (("fovea", fovea), ("pypdf", pypdf)):
            text, seconds, failed = measured(convert, path)
            failures[name] += bool(failed)
            kept, order = shares(text, measure)
            rows[name].append((kept, order, seconds))
            if given.files and name == "fovea" and (kept < 0.98 or order < 0.9):
                print(f"{kept:.3f} {order:.3f} {seconds:.2f} s {path.name} {failed}", file=sys.stderr)
    found = []
    for name, values in rows.items():
        kept, order, seconds = zip(*values)
        for metric, value in (
            ("words kept, mean", statistics.mean(kept)),
            ("files that lose more than 2 %", sum(k < 0.98 for k in kept)),
            ("neighbours kept, mean", statistics.mean(order)),
            ("seconds a file, median", statistics.median(seconds)),
            ("seconds, all", sum(seconds)),
            ("files refused", failures[name]),
        ):
            found.append({"bench": "converters_pdf", "data": given.folder.name, "method": name, "settings": {},
                          "metric": metric, "value": round(value, 4), "low": None, "high": None, "n": len(values),
                          "seconds": round(sum(seconds), 2)})  # fmt: skip
    if given.json:
        print(json.dumps(found))
        return
    for row in found:
        print(f"{row['method']:8} {row['metric']:32} {row['value']:10.4f}  n={row['n']}")


if __name__ == "__main__":
    main()
