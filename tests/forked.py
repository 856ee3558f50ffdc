"""Processes to kill that start at once: forked by one that has imported what they need, and used none of it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import ROOT

PARENT = """
import json, os, signal, sys, time, traceback
exec(sys.argv[1])
for line in sys.stdin:
    args, begun, after = json.loads(line)
    if not (pid := os.fork()):
        try:
            work(*args)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if begun:
        ended = lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        while not (os.path.exists(begun) and os.path.getsize(begun)) and not ended():
            time.sleep(0.005)
        time.sleep(after)
        os.kill(pid, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Forked:
    """Calls `work(*args)`, which `code` defines, each time in a new process."""

    def __init__(self, code: str) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed below
        self._parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._errors, text=True,
        )  # fmt: skip

    def run(self, *args: str | int, begun: Path | None = None, after: float = 0.0) -> int:
        """How the process ended; it is killed `after` seconds from when something is written in the file `begun`."""
        assert self._parent.stdin
        assert self._parent.stdout
        self._parent.stdin.write(json.dumps([args, begun and str(begun), after]) + "\n")
        self._parent.stdin.flush()
        said = self._parent.stdout.readline()
        assert said, f"the process that forks has died\n{self.errors()}"
        return int(said)

    def errors(self) -> str:
        """All that was written to standard error."""
        self._errors.seek(0)
        return self._errors.read()

    def close(self) -> None:
        """End the process that forks."""
        self._parent.communicate(timeout=60)
        self._errors.close()
