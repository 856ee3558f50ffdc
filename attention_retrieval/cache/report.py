"""What a cache did, per layer and head: how much was scanned, how well it was found, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass
class HeadStats:
    """Sums over the searches of one kv head; times in seconds, of the CPU part alone."""

    layer: int
    head: int
    searches: int = 0
    keys: int = 0
    scanned: int = 0
    bytes: int = 0
    select: float = 0.0
    attend: float = 0.0
    build: float = 0.0
    insert: float = 0.0
    recalls: list[float] = field(default_factory=list)

    def read(self, rows: int, size: int, keys: int) -> None:
        """Of `keys` indexed keys a step has read `rows`, and `size` bytes."""
        self.searches += 1
        self.keys, self.scanned, self.bytes = self.keys + keys, self.scanned + rows, self.bytes + size

    def took(self, select: float, attend: float) -> None:
        """What a step took to find rows, and to attend to them."""
        self.select, self.attend = self.select + select, self.attend + attend

    def built(self, seconds: float) -> None:
        """An index was made."""
        self.build += seconds

    def inserted(self, seconds: float) -> None:
        """The index took tokens in."""
        self.insert += seconds

    def audited(self, recall: float) -> None:
        """A search was repeated exactly."""
        self.recalls.append(recall)

    @property
    def scanned_share(self) -> float | None:
        """Vectors scored of those there were, 0 to 1; None before the first search."""
        return self.scanned / self.keys if self.keys else None

    @property
    def recall(self) -> float | None:
        """Mean recall of the audits; None before the first."""
        return sum(self.recalls) / len(self.recalls) if self.recalls else None


@dataclass(frozen=True)
class HeadReport:
    """One line of a report: rates are 0 to 1, bytes a search, seconds a search and for the build."""

    layer: int
    head: int
    engine: str
    tokens: int
    indexed: int
    searches: int
    scanned: float | None
    bytes: float | None
    recall: float | None
    select: float | None
    attend: float | None
    build: float
    insert: float
    key_bytes: int
    index_bytes: int
    rows: int
    """Tokens that the head holds still."""
    held_bytes: int
    """Of its keys and values."""


@dataclass(frozen=True)
class Report:
    """Heads in order, and why their engine was taken; `print(report)` shows a table."""

    heads: Sequence[HeadReport]
    why: str

    def __iter__(self) -> Iterator[HeadReport]:
        return iter(self.heads)

    def __len__(self) -> int:
        return len(self.heads)

    @property
    def summary(self) -> str:
        """One line: the engine and why, and means over heads."""
        scanned = [head.scanned for head in self.heads if head.scanned is not None]
        recalls = [head.recall for head in self.heads if head.recall is not None]
        parts = [self.why]
        if scanned:
            parts.append(f"{100 * sum(scanned) / len(scanned):.1f} % of the indexed keys scanned")
        if recalls:
            parts.append(f"recall {sum(recalls) / len(recalls):.2f} in audits")
        return ", ".join(parts)

    def __str__(self) -> str:
        names = (
            "layer",
            "head",
            "engine",
            "indexed",
            "scanned %",
            "KB/search",
            "recall",
            "ms/search",
            "build s",
            "index %",
            "held",
            "MB",
        )
        rows = [names, *(self._row(head) for head in self.heads)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(names))]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows]
        return "\n".join([self.why, lines[0], "-" * len(lines[0]), *lines[1:]])

    @staticmethod
    def _row(head: HeadReport) -> tuple[str, ...]:
        def shown(value: float | None, scale: float, digits: int) -> str:
            return "-" if value is None else f"{value * scale:.{digits}f}"

        together = None if head.select is None or head.attend is None else head.select + head.attend
        return (
            str(head.layer),
            str(head.head),
            head.engine,
            f"{head.indexed:,}",
            shown(head.scanned, 100, 2),
            shown(head.bytes, 1 / 1024, 0),
            shown(head.recall, 1, 3),
            shown(together, 1000, 2),
            shown(head.build, 1, 2),
            shown(head.index_bytes / max(head.key_bytes, 1), 100, 1),
            f"{head.rows:,}",
            shown(head.held_bytes, 1e-6, 2),
        )
