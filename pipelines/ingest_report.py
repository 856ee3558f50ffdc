"""IngestReport: what one ingestion did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from fovea.rag.trace import Trace


@dataclass
class IngestReport:
    """What one run did. `encoded` counts texts the encoder saw, `reused` chunks whose vectors were there already."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    """New names of sources that were moved or renamed, with the old ones."""
    unchanged: int = 0
    removed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    """Sources that were not asked for and whose files are no longer there: they stay until one says otherwise."""
    failed: dict[str, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    """How many files of unknown type there are, by suffix."""
    unknown: list[str] = field(default_factory=list)
    """Their names, the first of them."""
    chunks: int = 0
    encoded: int = 0
    reused: int = 0
    trace: Trace = field(default_factory=Trace)

    @property
    def ok(self) -> bool:
        """Whether every file could be read."""
        return not self.failed

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "added": self.added, "changed": self.changed, "moved": self.moved, "unchanged": self.unchanged,
            "removed": self.removed, "gone": self.gone, "failed": self.failed, "skipped": dict(self.skipped),
            "unknown": self.unknown,
            "chunks": self.chunks, "encoded": self.encoded, "reused": self.reused, "trace": self.trace.to_dict(),
        }  # fmt: skip
