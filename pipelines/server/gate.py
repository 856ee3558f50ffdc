"""Gate: so many at a time, so many more that may wait, and a plain refusal for the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fovea.pipelines.server.problems import Problem


class Gate:
    """Holds off what a machine cannot do at once. One event loop uses it."""

    def __init__(self, places: int, waiting: int) -> None:
        self._free, self._most, self.waiting = asyncio.Semaphore(places), waiting, 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place, given back when the block ends, however it does; raises Problem where too many wait already."""
        if self._free.locked() and self.waiting >= self._most:
            raise Problem(503, "too many requests wait already", fix="try again in a moment", retry_after=1)
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self._free.release()
