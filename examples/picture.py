"""Draw `docs/demo.svg`, the picture in the README, from a real run: `python examples/picture.py`."""

from __future__ import annotations

import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
COMMAND = ["ask", "examples/demo.yaml", "How much more test code than library code does the SQLite project have?"]


def main() -> None:
    """Run the command and record what it prints."""
    fovea = [sys.executable, "-m", "fovea.pipelines.cli.main"]
    done = subprocess.run([*fovea, *COMMAND], cwd=ROOT, capture_output=True, text=True, check=True)
    console = Console(record=True, width=118, file=StringIO())
    console.print(Text(f'$ fovea {COMMAND[0]} {COMMAND[1]} "{COMMAND[2]}"', style="bold"))
    for line in done.stdout.splitlines():
        style = "cyan" if re.match(r"\s+\[\d+\] \S+:\d+-\d+", line) else "dim" if " ms  " in line else ""
        console.print(Text(line, style=style))
    svg = console.export_svg(title="fovea ask")
    # The picture stands by itself: no font is fetched from anywhere.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    (ROOT / "docs" / "demo.svg").write_text(svg, "utf-8")


if __name__ == "__main__":
    main()
