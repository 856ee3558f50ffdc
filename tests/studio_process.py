"""`fovea studio` in a process of its own, with a generator that is as slow as a test wants. Arguments as on the command
line; `python -m tests.studio_process qa.yaml --port 8000`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from fovea.pipelines.generators.extractive import ExtractiveGenerator
from fovea.rag.generation import is_cancelled

PIECE_SECONDS = 0.15


class SlowGenerator(ExtractiveGenerator, name="slow"):
    """Says words one by one, for minutes, and notes in the file FOVEA_SLOW that it was stopped."""

    def stream(self, query, hits, corpus) -> Iterator[str]:
        """The words."""
        try:
            for n in range(1000):
                time.sleep(PIECE_SECONDS)
                if is_cancelled():
                    return
                yield f"word{n} "
        finally:
            Path(os.environ["FOVEA_SLOW"]).write_text("stopped", "utf-8")


class Studio:
    """A running server; `address` stays the same when it is started again."""

    def __init__(self, *arguments: str | Path, slow: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}/studio/"
        self.command = [sys.executable, "-m", "tests.studio_process", *map(str, arguments), "--port", str(self.port)]
        self.environment = {**os.environ, "FOVEA_SLOW": str(slow)}
        self.start()

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.process = subprocess.Popen(
            self.command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(600):
            try:
                urlopen(f"{self.address}api/alive", timeout=5).close()
                return
            except (URLError, OSError):
                assert self.process.poll() is None, "the server has ended"
                time.sleep(0.1)
        raise AssertionError("the server does not answer")

    def stop(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()


if __name__ == "__main__":
    from fovea.pipelines.answering import probing
    from fovea.pipelines.cli.main import main

    probing.PROBES = 2  # a random model points at nothing, however long one looks
    raise SystemExit(main(["studio", *sys.argv[1:]]))
