"""Recall against state as a picture: a point a method, drawn in SVG by hand, and the line of those no other beats."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10
from pathlib import Path

from fovea.pipelines.evaluation.measurements import Row
from fovea.rag.errors import ConfigError
from fovea.rag.write_whole import write_whole

WIDE, HIGH, LEFT, RIGHT, ABOVE, BELOW = 760, 440, 62, 24, 42, 52
INK, FRONT, GRID = "#5b6770", "#d1651c", "#e4e4e4"
LEAST = 0.01
"""Kilobytes below this are drawn here."""
Point = tuple[float, float, str]
"""Kilobytes, recall, name."""


def points(rows: Sequence[Row]) -> list[Point]:
    """Methods that have both, of the data that was recalled last, in order of their kilobytes."""
    data = [row.data for row in rows if row.metric == "recall"][-1:]
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if [row.data] == data and row.value is not None:
            found.setdefault(row.method, {})[row.metric] = row.value
    return sorted((max(LEAST, of["state kB"]), of["recall"], name) for name, of in found.items())


def front(found: Sequence[Point]) -> list[Point]:
    """Those of which no other recalls more for less."""
    best: list[Point] = []
    for point in sorted(found, key=lambda each: (each[0], -each[1])):
        if not best or point[1] > best[-1][1]:
            best.append(point)
    return best


def draw(rows: Sequence[Row]) -> str:
    """The SVG. Raises ConfigError where there is nothing to draw."""
    found = points(rows)
    if not found:
        raise ConfigError("no recall was measured: there is nothing to draw", where="--plot", fix="--tasks recall")
    title = next(row.data for row in reversed(rows) if row.metric == "recall")
    low, high = floor(log10(found[0][0])), ceil(log10(found[-1][0]) + 0.15)

    def place(kb: float, recall: float) -> tuple[float, float]:
        across = (log10(kb) - low) / (high - low) * (WIDE - LEFT - RIGHT)
        return round(LEFT + across, 1), round(HIGH - BELOW - recall * (HIGH - ABOVE - BELOW), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" font-family="sans-serif" font-size="12" '
        'fill="#333">',
        f'<rect width="{WIDE}" height="{HIGH}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="13" font-weight="bold">{escape(title)}</text>',
        f'<text x="{(LEFT + WIDE) / 2}" y="{HIGH - 12}" text-anchor="middle">kilobytes kept, float32</text>',
    ]
    for n in range(6):
        x, y = place(10.0**low, n / 5)
        parts.append(f'<line x1="{x}" y1="{y}" x2="{WIDE - RIGHT}" y2="{y}" stroke="{GRID}"/>')
        parts.append(f'<text x="{x - 8}" y="{y + 4}" text-anchor="end">{n / 5:.1f}</text>')
    for power in range(low, high + 1):
        x, y = place(10.0**power, 0)
        parts.append(f'<line x1="{x}" y1="{ABOVE}" x2="{x}" y2="{y}" stroke="{GRID}"/>')
        parts.append(f'<text x="{x}" y="{y + 18}" text-anchor="middle">{10.0**power:g}</text>')
    best = front(found)
    line = " ".join("{},{}".format(*place(kb, recall)) for kb, recall, _ in best)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{FRONT}" stroke-width="2"/>')
    for kb, recall, name in found:
        (x, y), tip = place(kb, recall), f"{escape(name)}: recall {recall:.3f}, {kb:,.1f} kB"
        ink = FRONT if (kb, recall, name) in best else INK
        parts.append(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{ink}"><title>{tip}</title></circle>')
        parts.append(f'<text x="{x + 6}" y="{y - 5}" font-size="11">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def save(path: Path, rows: Sequence[Row]) -> None:
    """Write the picture, whole."""
    text = draw(rows)
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))
