"""Workers of a Ray cluster: actors, each on one processor of any of its machines."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

from fovea.pipelines.ray_cluster import join
from fovea.pipelines.workers.local import TRIES
from fovea.pipelines.workers.work import Work
from fovea.rag.errors import FoveaError


class RayWorkers:
    """Actors of the cluster of the environment (`RAY_ADDRESS`), or of one that begins on this machine; as many as it
    has processors, where no number is given. They find Fovea, the models and the files where the one who writes does.

    Ray begins an actor that has died again, on another machine if its own is gone, and gives it its task once more.
    """

    def __init__(self, work: Work, size: int) -> None:
        self._ray, self._ours = ray, _ = join("fovea ingest --workers ray")
        self.size = size or max(1, int(ray.cluster_resources().get("CPU", 1)))
        remote = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=TRIES - 1)(_Actor)
        self._actors = [remote.remote(work) for _ in range(self.size)]
        self._free: SimpleQueue[Any] = SimpleQueue()
        for actor in self._actors:
            self._free.put(actor)
        self._threads = ThreadPoolExecutor(self.size)

    def submit(self, verb: str, *args: Any) -> Future[Any]:
        """A task for the actor that is free first."""
        return self._threads.submit(self._run, verb, args)

    def _run(self, verb: str, args: tuple[Any, ...]) -> Any:
        actor = self._free.get()
        try:
            found, error = self._ray.get(actor.answer.remote(verb, args))
        except self._ray.exceptions.RayError as gone:
            raise FoveaError(
                f"the Ray actor died {TRIES} times: {str(gone).splitlines()[0]}",
                fix="fewer workers, where memory is short",
            ) from None
        finally:
            self._free.put(actor)
        if error is not None:
            raise error
        return found

    def close(self) -> None:
        """End all actors, and the cluster if it was begun here."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for actor in self._actors:
            self._ray.kill(actor)
        self._threads.shutdown(wait=True)
        if self._ours:
            self._ray.shutdown()


class _Actor:
    def __init__(self, work: Work) -> None:
        work.begin(1)
        self._work = work

    def answer(self, verb: str, args: tuple[Any, ...]) -> Any:
        return self._work.answer(verb, args)
