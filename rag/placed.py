"""Placed: where the path of a setting is. One that is relative starts from the folder of the YAML that names it."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationInfo


def placed(path: str, info: ValidationInfo) -> Path:
    """The path; in Python, where there is no YAML, it starts from the working directory.

    The folder is `base` in pydantic's context: `Source.context` in `fovea.pipelines.spec.yaml_source`.
    """
    return Path((info.context or {}).get("base", "")) / Path(path).expanduser()
