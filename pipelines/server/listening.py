"""Listening: the application on an address, its log as JSON lines, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from datetime import UTC, datetime

import uvicorn
from fastapi import FastAPI

from fovea.pipelines.server.served import Served
from fovea.rag.errors import StoreError

IDLE = 5
"""Seconds that an idle connection is kept."""


class Lines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "log": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def listen(app: FastAPI, served: Served, host: str, port: int) -> int:
    """Serve until SIGTERM or SIGINT; running requests then have `drain` seconds. Raises StoreError where the address is
    taken.
    """
    _log_as_lines()
    config = uvicorn.Config(
        app, host=host, port=port, log_config=None, access_log=False, server_header=False, timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=max(1, round(served.settings.drain)), lifespan="on", ws="none",
    )  # fmt: skip
    server = uvicorn.Server(config)
    try:
        asyncio.run(server.serve())
    except SystemExit:  # Of uvicorn, which has logged why.
        raise StoreError(f"cannot listen on {host}:{port}", fix="another --port, or end what listens there") from None
    return 0


def _log_as_lines() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    for name in ("fovea", "uvicorn"):
        log = logging.getLogger(name)
        log.setLevel(logging.INFO)
        log.handlers[:] = [handler]  # What counts warnings for the end of a command would grow for ever.
        log.propagate = False
