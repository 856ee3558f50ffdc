"""Workers on this machine: processes, each asked by a thread of its own. One that dies takes nothing with it."""

from __future__ import annotations

import logging
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from typing import Any, Protocol

from fovea.pipelines.child import Child, death
from fovea.pipelines.workers.work import Work
from fovea.rag.engines import cores
from fovea.rag.errors import ConfigError, FoveaError
from fovea.rag.trace import log

TRIES = 2
"""How often a task is begun whose process dies."""


class Workers(Protocol):
    """Do what `Work` does, `size` things at a time."""

    size: int

    def submit(self, verb: str, *args: Any) -> Future[Any]:
        """`read` or `encode`, by a worker that is free. FoveaError where its worker died, and died again."""

    def close(self) -> None:
        """End all workers, at once."""


class LocalWorkers:
    """Processes of this machine; a model is loaded in each."""

    def __init__(self, work: Work, size: int) -> None:
        try:
            ForkingPickler.dumps(work)
        except Exception as error:  # an object of somebody else's, with a model, a lock or a connection in it
            raise ConfigError(
                f"workers need a pipeline that can be sent to other processes; of this one something cannot: {error}",
                fix="name its components ({use: ...}) in the place of objects, or leave workers out",
            ) from None
        self.size, share = size, max(1, cores() // size)
        self._children = [Child(_serve, work, share) for _ in range(size)]
        self._free: SimpleQueue[Child] = SimpleQueue()
        for child in self._children:
            self._free.put(child)
        self._threads = ThreadPoolExecutor(size)
        self._closed = False

    def submit(self, verb: str, *args: Any) -> Future[Any]:
        """A task for the worker that is free first."""
        return self._threads.submit(self._run, verb, args)

    def _run(self, verb: str, args: tuple[Any, ...]) -> Any:
        child, code = self._free.get(), None
        try:
            for _ in range(TRIES):
                try:
                    return self._answer(child, (verb, args))
                except (EOFError, OSError):
                    code = child.kill()
        finally:
            self._free.put(child)
        guarded = ', and what a script does kept under `if __name__ == "__main__":`' if code == 1 else ""
        raise FoveaError(f"{death(code)}, and so did another", fix=f"fewer workers, or none{guarded}")

    def _answer(self, child: Child, task: tuple[str, tuple[Any, ...]]) -> Any:
        """What comes of a task; raises what it raised there, and EOFError where the process has died."""
        process, pipe = child.ready()
        if self._closed:
            raise CancelledError
        pipe.send(task)
        if pipe not in wait([pipe, process.sentinel]):
            raise EOFError
        found, error = pipe.recv()
        if error is not None:
            raise error
        return found

    def close(self) -> None:
        """End all workers."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for child in self._children:
            child.stop()
        self._threads.shutdown(wait=True)
        for child in self._children:
            child.kill()


def _serve(work: Work, cores: int, pipe: Connection) -> None:
    """The process: task after task, until the pipe is gone."""
    log.propagate = False  # What is warned of comes with the answers.
    log.addHandler(logging.NullHandler())
    work.begin(cores)
    while True:
        try:
            verb, args = pipe.recv()
        except (EOFError, OSError):
            return
        answer = work.answer(verb, args)
        try:
            pipe.send(answer)
        except Exception as error:  # what a loader of somebody else's put into it
            pipe.send((None, RuntimeError(f"cannot be sent to another process: {error}")))
