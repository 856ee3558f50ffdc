"""Placed: where the path of a setting is. One that is relative starts from the folder of the YAML that names it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo


def placed(path: str, info: ValidationInfo) -> Path:
    """The path; in Python, where there is no YAML, it starts from the working directory.

    The folder is `base` in pydantic's context: `Source.context` in `fovea.pipelines.spec.yaml_source`.
    """
    return Path((info.context or {}).get("base", "")) / Path(path).expanduser()


def named(said: str, info: ValidationInfo) -> str:
    """A name, or the path of what lies in the folder of the YAML: that comes before a name, and before what lies in the
    working directory. What begins with a point is a path: in the folder of the YAML, where it is in neither.
    """
    base = str((info.context or {}).get("base", ""))
    if not os.path.isabs(base) or not said or os.path.isabs(said):
        return said
    there = os.path.normpath(os.path.join(base, said))
    return there if _exists(there) or (said.startswith(".") and not _exists(said)) else said


NameOrPath = Annotated[str, AfterValidator(named)]
"""Of a model, or of weights."""


def _exists(path: str) -> bool:
    try:
        return os.path.exists(path)
    except (OSError, ValueError):  # longer than a path may be, or with a NUL
        return False
