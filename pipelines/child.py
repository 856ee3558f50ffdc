"""A process of our own that does one thing after another and takes nothing with it when it dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

LOOK = 0.1
"""Seconds between two looks at a process that is working."""


class Child:
    """Runs `serve(*args, pipe)` in a process, which is started when it is first wanted and again after its death."""

    def __init__(self, serve: Callable[..., None], *args: Any) -> None:
        self._serve, self._args = serve, args
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def ready(self) -> tuple[BaseProcess, Connection]:
        """The process, alive, and the pipe to it."""
        if self._process is None or self._pipe is None or not self._process.is_alive():
            self.kill()
            context = _context()
            self._pipe, theirs = context.Pipe()
            arguments = (dict(os.environ), self._serve, self._args, theirs)
            self._process = context.Process(target=_begin, args=arguments, daemon=True)
            self._process.start()
            theirs.close()
        return self._process, self._pipe

    def stop(self) -> None:
        """End the process; whoever waits for its answer sees that it has gone, and calls `kill`."""
        if self._process is not None:
            self._process.kill()

    def kill(self) -> int | None:
        """End the process, whatever it does; returns its exit code."""
        code = None
        if self._process is not None:
            self._process.join(LOOK)
            code = self._process.exitcode
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None
        return code


def death(code: int | None) -> str:
    """How a process ended, in words."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"the process was killed by {name}" + (": out of memory?" if name == "SIGKILL" else "")
    return f"the process died with exit code {code}"


def _context() -> Any:
    """Processes are forked by one that has imported what they need and done nothing else, where the system can fork;
    never by this one, whose threads and locks they would take along.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "fovea.pipelines.workers.work", "fovea.pipelines.sweep.worker"])
    return context


def _begin(environment: dict[str, str], serve: Callable[..., None], args: tuple[Any, ...], pipe: Connection) -> None:
    """The process: Ctrl-C is the parent's, and with the parent it ends, however that ended."""
    os.environ.clear()
    os.environ.update(environment)  # As it is now, and not as it was when the first process began.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    serve(*args, pipe)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
