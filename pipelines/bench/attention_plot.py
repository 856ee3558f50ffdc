"""Recall against bytes as a picture: a curve a method, drawn in SVG by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from math import ceil, floor, log10
from pathlib import Path

from fovea.pipelines.evaluation.measurements import Row
from fovea.rag.errors import ConfigError
from fovea.rag.write_whole import write_whole

WIDE, HIGH, LEFT, BELOW, RIGHT, ABOVE = 760, 440, 62, 52, 170, 42
INKS = ("#2563a8", "#d1651c", "#2e8b57", "#b3324b", "#7a52a8", "#8a6d2f", "#3c9aa5", "#c2559b", "#5b6770", "#84a52e")
Curve = list[tuple[float, float, str]]
"""Points `(kilobytes, recall, name)`, in order of the bytes."""
Place = Callable[[float, float], tuple[float, float]]
"""Where a point of so many kilobytes and so much recall lies in the picture."""


def curves(rows: Sequence[Row], k: int) -> dict[str, Curve]:
    """The settings of a method as one curve."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.value is not None and row.metric in (f"recall@{k}", "kB"):
            found.setdefault(row.method, {})[row.metric] = row.value
    made: dict[str, Curve] = {}
    for method, metrics in found.items():
        if len(metrics) == 2 and " + " not in method:  # a correction changes what is made of a search, not the search
            made.setdefault(method.split(" ")[0], []).append((metrics["kB"], metrics[f"recall@{k}"], method))
    return {name: sorted(curve) for name, curve in made.items()}


def draw(rows: Sequence[Row], k: int, title: str) -> str:
    """The SVG. Raises ConfigError where there is nothing to draw."""
    found = curves(rows, k)
    if not found:
        raise ConfigError("no method has both recall and bytes: there is nothing to draw", where="--plot")
    sizes = [x for curve in found.values() for x, _, _ in curve]
    low, high = floor(log10(min(sizes)) * 4) / 4, ceil(log10(max(sizes)) * 4) / 4
    high = max(high, low + 0.25)
    bottom = min(0.9, floor(min(y for curve in found.values() for _, y, _ in curve) * 10) / 10)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (log10(x) - low) / (high - low) * (WIDE - LEFT - RIGHT)
        up = (y - bottom) / (1 - bottom) * (HIGH - ABOVE - BELOW)
        return round(LEFT + across, 1), round(HIGH - BELOW - up, 1)

    parts = [*_frame(title, k), *_across(low, high, place, bottom), *_up(bottom, place, low)]
    for n, (name, curve) in enumerate(sorted(found.items(), key=lambda pair: -pair[1][-1][1])):
        ink = INKS[n % len(INKS)]
        points = [place(x, y) for x, y, _ in curve]
        line = " ".join(f"{x},{y}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{ink}" stroke-width="2"/>')
        for (x, y), (size, found_, label) in zip(points, curve):
            tip = f"{escape(label)}: recall {found_:.3f}, {size:,.0f} kB"
            parts.append(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{ink}"><title>{tip}</title></circle>')
        y = ABOVE + 8 + 20 * n
        parts.append(f'<circle cx="{WIDE - RIGHT + 22}" cy="{y}" r="4" fill="{ink}"/>')
        parts.append(f'<text x="{WIDE - RIGHT + 32}" y="{y + 4}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _frame(title: str, k: int) -> list[str]:
    middle = (HIGH - BELOW + ABOVE) / 2
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" font-family="sans-serif" font-size="12" '
        'fill="#333">',
        f'<rect width="{WIDE}" height="{HIGH}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="13" font-weight="bold">{escape(title)}</text>',
        f'<text x="{(LEFT + WIDE - RIGHT) / 2}" y="{HIGH - 12}" text-anchor="middle">kilobytes read a search</text>',
        f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">recall@{k}</text>',
    ]


def _across(low: float, high: float, place: Place, bottom: float) -> list[str]:
    marks = [10.0**e * m for e in range(floor(low), ceil(high) + 1) for m in (1, 2, 5)]
    out = []
    for mark in (m for m in marks if low - 1e-9 <= log10(m) <= high + 1e-9):
        x, y = place(mark, bottom)
        out.append(f'<line x1="{x}" y1="{ABOVE}" x2="{x}" y2="{y}" stroke="#e4e4e4"/>')
        out.append(f'<text x="{x}" y="{y + 18}" text-anchor="middle">{mark:,.4g}</text>')
    return out


def _up(bottom: float, place: Place, low: float) -> list[str]:
    step = 0.02 if bottom >= 0.9 else 0.05 if bottom >= 0.7 else 0.1
    out, mark = [], bottom
    while mark < 1 + step / 2:
        x, y = place(10**low, min(mark, 1))
        out.append(f'<line x1="{x}" y1="{y}" x2="{WIDE - RIGHT}" y2="{y}" stroke="#e4e4e4"/>')
        out.append(f'<text x="{x - 8}" y="{y + 4}" text-anchor="end">{mark:.2f}</text>')
        mark += step
    return out


def save(path: Path, rows: Sequence[Row], k: int, title: str) -> None:
    """Write the picture, whole."""
    text = draw(rows, k, title)
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))
