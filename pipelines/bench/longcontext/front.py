"""What likeness to full attention costs: KL against bytes, and against the time of a token, drawn in SVG by hand.

front    the methods of which no other has both less KL and less cost, or one alike and the other less
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from math import ceil, floor, log10
from pathlib import Path
from typing import NamedTuple

from fovea.pipelines.bench.longcontext.memory import figures, lengths
from fovea.pipelines.evaluation.measurements import Row
from fovea.rag.errors import ConfigError
from fovea.rag.write_whole import write_whole

WIDE, HIGH, LEFT, ABOVE, BELOW, BETWEEN = 430, 330, 58, 44, 46, 20
INK, FRONT, GRID = "#5b6770", "#d1651c", "#e4e4e4"
LEAST = 1e-7
"""KL below this is drawn here."""
COSTS: dict[str, Callable[[dict[str, float]], float]] = {
    "bytes, of keys and values as bf16": lambda of: of["memory_ratio"],
    "time of a token, of full attention's": lambda of: 1 / of["decode_ratio"],
}


class Point(NamedTuple):
    """A method by its number in the legend."""

    number: int
    name: str
    cost: float
    kl: float


def points(rows: Sequence[Row], length: str, cost: Callable[[dict[str, float]], float]) -> list[Point]:
    """Of all methods that have both, in the order of the rows."""
    found = []
    for number, (name, mine) in enumerate(figures(rows, length).items(), 1):
        try:
            found.append(Point(number, name, cost(mine), max(mine["kl"], LEAST)))
        except KeyError:  # full and near, or nothing was decoded
            continue
    return found


def front(found: Sequence[Point]) -> list[Point]:
    """Those which no other beats, in order of their cost. O(n log n)."""
    best, least = [], float("inf")
    for point in sorted(found, key=lambda each: (each.cost, each.kl)):
        if point.kl < least:
            best.append(point)
            least = point.kl
    return best


def save(path: Path, rows: Sequence[Row]) -> None:
    """Write the picture, whole: a line of panels a length. Raises ConfigError where there is nothing to draw."""
    text = draw(rows)
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def draw(rows: Sequence[Row]) -> str:
    """The SVG."""
    parts, top = [], 0
    for length in lengths(rows):
        panels = {title: points(rows, length, cost) for title, cost in COSTS.items()}
        if not any(panels.values()):
            continue
        for n, (title, found) in enumerate((title, found) for title, found in panels.items() if found):
            parts.append(f'<g transform="translate({n * (WIDE + BETWEEN)} {top})">')
            parts += [*_panel(found, title, f"{length} tokens"), "</g>"]
        top += HIGH
        names = {point.number: point.name for found in panels.values() for point in found}
        for n, (number, name) in enumerate(sorted(names.items())):
            top += 0 if n % 2 else 18
            parts.append(f'<text x="{LEFT + n % 2 * (WIDE + BETWEEN)}" y="{top}">{number}  {escape(name)}</text>')
        top += 24
    if not parts:
        raise ConfigError("nothing was decoded: there is no KL to draw", where="--plot", fix="--decode 64")
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDE + BETWEEN} {top}" '
        f'font-family="sans-serif" font-size="12" fill="#333">'
    )
    return "\n".join([head, f'<rect width="{2 * WIDE + BETWEEN}" height="{top}" fill="white"/>', *parts, "</svg>", ""])


def _panel(found: Sequence[Point], title: str, length: str) -> list[str]:
    right = max(max(point.cost for point in found) * 1.08, 0.1)
    low = floor(log10(min(point.kl for point in found)))
    high = max(ceil(log10(max(point.kl for point in found))), low + 1)

    def place(cost: float, kl: float) -> tuple[float, float]:
        up = (log10(kl) - low) / (high - low) * (HIGH - ABOVE - BELOW)
        return round(LEFT + cost / right * (WIDE - LEFT - 12), 1), round(HIGH - BELOW - up, 1)

    parts = [f'<text x="{LEFT}" y="22" font-weight="bold">KL to full attention, nats; {length}</text>']
    parts.append(f'<text x="{(LEFT + WIDE) / 2}" y="{HIGH - 10}" text-anchor="middle">{title}</text>')
    for power in range(low, high + 1):
        x, y = place(0, 10.0**power)
        parts.append(f'<line x1="{x}" y1="{y}" x2="{WIDE - 12}" y2="{y}" stroke="{GRID}"/>')
        parts.append(f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{10.0**power:g}</text>')
    step = 0.1 if right <= 0.6 else 0.2 if right <= 1.3 else 0.5
    for n in range(int(right / step) + 1):
        x, y = place(n * step, 10.0**low)
        parts.append(f'<line x1="{x}" y1="{ABOVE}" x2="{x}" y2="{y}" stroke="{GRID}"/>')
        parts.append(f'<text x="{x}" y="{y + 17}" text-anchor="middle">{n * step:.1f}</text>')
    best = front(found)
    line = " ".join("{},{}".format(*place(point.cost, point.kl)) for point in best)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{FRONT}" stroke-width="2"/>')
    for point in found:
        x, y = place(point.cost, point.kl)
        tip = f"{escape(point.name)}: {point.cost:.2f}, KL {point.kl:.2g}"
        ink = FRONT if point in best else INK
        parts.append(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{ink}"><title>{tip}</title></circle>')
        parts.append(f'<text x="{x + 5}" y="{y - 4}" font-size="11">{point.number}</text>')
    return parts
