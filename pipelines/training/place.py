"""The folder of `fovea train --out`: looked at before anything is learned, so that nothing else is written over."""

from __future__ import annotations

from pathlib import Path

from fovea.rag.errors import ConfigError
from fovea.rag.training import card
from fovea.rag.write_whole import refuse_unwritable

CARD = "README.md"
MODEL = ("config.json", "modules.json")
"""What a model's own folder holds."""


def place(out: str) -> Path:
    """The folder, which is made; raises ConfigError for one that cannot be written, a model's, and one with a README.md
    that is no card of weights.
    """
    folder, fix = Path(out), "--out FOLDER, a new one"
    try:
        refuse_unwritable(folder / CARD)
    except OSError as error:
        what = f"no folder for weights: {error.strerror}"
        raise ConfigError(what, where=f"--out {out}", fix=fix) from None
    if theirs := _theirs(folder):
        what = f"weights would be written over what no training wrote: {theirs} is there"
        raise ConfigError(what, where=f"--out {out}", fix=fix)
    return folder


def _theirs(folder: Path) -> str:
    """A file that says that the folder is another's, or nothing."""
    if (folder / CARD).exists():
        return "" if card.is_one(folder / CARD) else CARD
    begun = (folder / "checkpoint.safetensors").exists()
    return next((name for name in MODEL if not begun and (folder / name).exists()), "")
