"""Pools: where trials run. `LocalPool` has workers on this machine, `RayPool` on those of a Ray cluster."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Protocol

from fovea.pipelines.ray_cluster import join
from fovea.pipelines.sweep.trial import Done, Job, Task
from fovea.pipelines.sweep.worker import Worker


class Pool(Protocol):
    """Runs jobs, `size` at a time."""

    size: int

    def submit(self, job: Job, seconds: float | None) -> Future[Done]:
        """Run a job, in at most `seconds`, on a worker that is free."""

    def close(self) -> None:
        """End all workers, at once."""


class LocalPool:
    """Processes of this machine, each watched by a thread."""

    def __init__(self, task: Task, size: int, memory_mb: int | None) -> None:
        self.size = size
        self._workers = [Worker(task, memory_mb) for _ in range(size)]
        self._free: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)
        self._threads = ThreadPoolExecutor(size)

    def submit(self, job: Job, seconds: float | None) -> Future[Done]:
        """Run a job on a worker that is free."""
        return self._threads.submit(self._run, job, seconds)

    def _run(self, job: Job, seconds: float | None) -> Done:
        worker = self._free.get()
        try:
            return worker.run(job, seconds)
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)


class RayPool:
    """Actors of a Ray cluster, each with a watched process of its own. The cache lies on a disk that all of them see.

    Uses the cluster of the environment (`RAY_ADDRESS`), or one on this machine.
    """

    def __init__(self, task: Task, size: int | None, memory_mb: int | None) -> None:
        self._ray, self._ours = ray, _ = join("fovea sweep --workers ray")
        self.size = size or max(1, int(ray.cluster_resources().get("CPU", 1)))
        remote = ray.remote(num_cpus=1)(Worker)
        self._actors = [remote.remote(task, memory_mb) for _ in range(self.size)]
        self._free: SimpleQueue[Any] = SimpleQueue()
        for actor in self._actors:
            self._free.put(actor)
        self._threads = ThreadPoolExecutor(self.size)

    def submit(self, job: Job, seconds: float | None) -> Future[Done]:
        """Run a job on an actor that is free."""
        return self._threads.submit(self._run, job, seconds)

    def _run(self, job: Job, seconds: float | None) -> Done:
        actor = self._free.get()
        try:
            return self._ray.get(actor.run.remote(job, seconds))
        except Exception as error:  # the machine has gone, say
            return Done(job.trial, failed=f"{type(error).__name__}: {error}".splitlines()[0])
        finally:
            self._free.put(actor)

    def close(self) -> None:
        """End all actors, and the cluster if it was begun here."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._threads.shutdown(wait=True, cancel_futures=True)
        if self._ours:
            self._ray.shutdown()
