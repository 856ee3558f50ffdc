"""A loader whose files end the process that reads them, as a fault in a parser written in C does."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from fovea.rag import registry
from fovea.rag.loader import Loader
from fovea.rag.types import Document


class Deadly(Loader, name="deadly_in_tests"):
    """The number in a file says how many processes may die of it, each of which leaves a mark beside it."""

    suffixes: ClassVar[tuple[str, ...]] = (".deadly",)
    parent: int = 0

    def load(self, path: Path) -> Iterator[Document]:
        deaths = len(list(path.parent.parent.glob(f"{path.name}.died*")))
        if deaths < int(path.read_text()):
            (path.parent.parent / f"{path.name}.died{deaths}").touch()
            assert os.getpid() != self.parent, "read in the process that writes"
            os.kill(os.getpid(), signal.SIGKILL)
        yield Document(path.as_posix(), f"It is read after {deaths} deaths.", source=path.as_posix())


class Unsendable(Loader, name="unsendable_in_tests"):
    """What it makes holds what no other process can be sent."""

    suffixes: ClassVar[tuple[str, ...]] = (".unsendable",)
    held: Any = None

    def load(self, path: Path) -> Iterator[Document]:
        yield Document(path.as_posix(), "text", metadata={"held": (n for n in (1, 2))}, source=path.as_posix())  # type: ignore[dict-item]


for _loader in (Deadly, Unsendable):  # other tests look at all there are
    registry._components.pop(("loader", _loader.name))
