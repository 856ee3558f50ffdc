"""Read a corpus, whatever it is: `read("folder")` knows the sets by what their files hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fovea.rag import trace
from fovea.rag.errors import ConfigError, DocumentError
from fovea.rag.training.files import read_json
from fovea.segmenters.corpora.choi import read_choi
from fovea.segmenters.corpora.markdown import read_markdown
from fovea.segmenters.corpora.qmsum import is_qmsum, read_qmsum
from fovea.segmenters.corpora.timeqa import is_timeqa, read_timeqa
from fovea.segmenters.sectioned import Sectioned

KNOWN = (
    ".ref files of Choi's set",
    ".json files of QMSum (meeting_transcripts, topic_list)",
    ".json files of TimeQA (a list of link, paras)",
    "or else .md and .txt files with Markdown headings",
)
NAMED = 5
"""Files that a warning names."""
_PROSE = (".md", ".txt")


def read(path: str | Path, *, level: int = 2) -> list[Sectioned]:
    """Every text of a file or folder, in the order of their corpora and names; a folder may hold several corpora.

    Markdown is read where there is nothing else, since a README is no corpus; `level` is the deepest heading that
    begins a section of it. Texts of a single unit, and Markdown of a single section, have no topics to find and are
    left out with a warning of the running trace.

    Raises ConfigError where there is no such path, DocumentError for a file that is broken, and where there is nothing
    to read.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise ConfigError(f"there is no {root}", where="data", fix="a file or folder with " + "; ".join(KNOWN))
    paths = list(_files(root))
    found = list(_known(root, paths)) or list(_markdown(root, paths, level))
    if not found:
        suffixes = ", ".join(sorted({p.suffix or "no suffix" for p in paths})) or "nothing"
        raise DocumentError(
            f"no corpus to segment in {root}: it holds {suffixes}",
            fix="a file or folder with " + "; ".join(KNOWN),
        )
    kept = [one for one in found if len(one.units) > 1]
    _left_out("texts of a single unit", [one.name for one in found if len(one.units) <= 1])
    return sorted(kept, key=lambda one: (one.corpus, one.name))


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for path in sorted(root.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts):
            yield path


def _name(root: Path, path: Path) -> str:
    return path.name if root.is_file() else path.relative_to(root).as_posix()


def _known(root: Path, paths: list[Path]) -> Iterator[Sectioned]:
    """What is in a form of a published corpus."""
    questions, others = {}, []
    for path in paths:
        if path.suffix == ".ref":
            yield read_choi(path, _name(root, path))
        elif path.suffix == ".json":
            data = read_json(path)
            if is_qmsum(data):
                yield read_qmsum(data, path, _name(root, path))
            elif is_timeqa(data):
                questions[path] = data
            else:
                others.append(_name(root, path))
    _left_out("JSON files of no corpus that is known", others)
    yield from read_timeqa(questions)


def _markdown(root: Path, paths: list[Path], level: int) -> Iterator[Sectioned]:
    corpus = (root.resolve().parent if root.is_file() else root.resolve()).name
    flat = []
    for path in paths:
        if path.suffix.lower() in _PROSE:
            one = read_markdown(path, _name(root, path), corpus, level)
            if one.boundaries.any():
                yield one
            else:
                flat.append(_name(root, path))
    _left_out("files of a single section", flat)


def _left_out(what: str, names: list[str]) -> None:
    """One warning for all of a kind: how many, and the first of them."""
    if names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        trace.warn(f"left out, {what}: {len(names)} ({', '.join(names[:NAMED])}{more})")
