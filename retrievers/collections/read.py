"""Read a collection, whatever it is: `read("folder")` knows the sets by what their files hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fovea.rag import trace
from fovea.rag.errors import ConfigError, DocumentError
from fovea.rag.training.files import json_lines, read_json
from fovea.retrievers.collection import Collection
from fovea.retrievers.collections.beir import read_beir
from fovea.retrievers.collections.squad import is_squad, read_squad
from fovea.retrievers.collections.squality import is_squality, read_squality
from fovea.retrievers.collections.timeqa import is_timeqa, read_timeqa

KNOWN = (
    "a folder of BEIR (corpus.jsonl, queries.jsonl, qrels/*.tsv)",
    ".json of TimeQA (a list of link, paras, questions)",
    ".json of SQuAD and XQuAD (data of paragraphs with qas)",
    ".jsonl of SQuALITY (document, questions with responses)",
)
_SETS: tuple[tuple[Callable[[Any], bool], Callable[[Mapping[Path, Any]], Collection]], ...] = (
    (is_timeqa, read_timeqa),
    (is_squad, read_squad),
    (is_squality, read_squality),
)


def read(path: str | Path) -> Collection:
    """The collection of a folder, or of one file.

    Raises ConfigError where there is no such path, DocumentError for a file that is broken, and where there is no
    collection, or more than one.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise ConfigError(f"there is no {root}", where="data", fix="; or ".join(KNOWN))
    if (root / "corpus.jsonl").exists():
        return read_beir(root)
    found: dict[int, dict[Path, Any]] = {}
    for file in [root] if root.is_file() else sorted(p for p in root.iterdir() if p.suffix in (".json", ".jsonl")):
        data = [row for _, row in json_lines(file)] if file.suffix == ".jsonl" else read_json(file)
        number = next((n for n, (known, _) in enumerate(_SETS) if known(data)), None)
        if number is None:
            trace.warn("JSON files of no collection that is known were left out")
        else:
            found.setdefault(number, {})[file] = data
    if len(found) != 1:
        what = "several collections" if found else "no collection to retrieve from"
        raise DocumentError(f"{what} in {root}", fix="the path of one: " + "; or ".join(KNOWN))
    [(number, files)] = found.items()
    return _SETS[number][1](files)
