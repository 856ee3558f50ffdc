"""The Ray cluster that work is given to."""

from __future__ import annotations

import os
from typing import Any

from fovea.rag.errors import require


def join(needed_by: str) -> tuple[Any, bool]:
    """Ray, and whether a cluster of our own was begun: where the program is in none, and `RAY_ADDRESS` names none, it
    is one on this machine. Ray's reports of usage to its makers stay off, unless the environment says otherwise.
    """
    ray: Any = require("ray", extra="ray", needed_by=needed_by)
    ours = not ray.is_initialized()
    if ours:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(log_to_driver=False, configure_logging=False, include_dashboard=False)
    return ray, ours
