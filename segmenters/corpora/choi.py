"""Choi's set: texts spliced of pieces of the Brown corpus, each of another source (F. Choi, "Advances in domain
independent linear text segmentation", 2000).

A `.ref` file holds a sentence a line, and a line that begins with `==========` between two segments. The folder it lies
in says how long its segments are (`3-11`: three to eleven sentences). All of it is to test on: its 920 files are made
of some five thousand sentences, so what is trained on some of them has seen the others.

Other texts in this form, a sentence or a turn a line, may be learned from: those in folders called `train` and `dev`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fovea.rag.training.files import read_text
from fovea.segmenters.sectioned import Sectioned, Split
from fovea.segmenters.units import Units

RULE = "=========="
SPLITS: tuple[Split, ...] = ("train", "dev", "test")


def read_choi(path: Path, name: str) -> Sectioned:
    """The text of one `.ref` file; its corpus is called after its folder, `choi 3-11`, or `chats` in `chats/train`."""
    sentences: list[str] = []
    starts: set[int] = set()
    for line in read_text(path).splitlines():
        if line.startswith(RULE):
            starts.add(len(sentences))
        elif bare := " ".join(line.split()):
            sentences.append(bare)
    boundaries = np.array([gap + 1 in starts for gap in range(len(sentences) - 1)], bool)
    corpus, split = _place(path.resolve())
    return Sectioned(name, Units.given(sentences), boundaries, corpus, split)


def _place(path: Path) -> tuple[str, Split]:
    folder = path.parent
    for split in SPLITS:
        if folder.name == split:
            return folder.parent.name, split
    return f"choi {folder.name}", "test"
