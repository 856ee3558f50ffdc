"""Watching a study from its folder while other processes run it: nothing is written, nothing is loaded."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from math import isnan
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fovea.pipelines.sweep.results import FILE, lives
from fovea.rag.errors import StoreError

_ROWS = """
SELECT MIN(number), params, id, owner, state, "values", reason, seconds,
       (SELECT COUNT(*) FROM outcomes WHERE outcomes.trial = id)
FROM trials JOIN asked ON asked.trial = id WHERE history = ? GROUP BY id ORDER BY MIN(number)
"""


def watch(folder: Path) -> dict[str, Any]:
    """What is known of the study that was run last in `folder`, as plain data.

    `trials` at most are tried, of `questions` each. A trial's state is `complete`, `pruned`, `failed`, `running`, or
    `interrupted` where its process is dead; `done` are the questions that it has answered. Raises StoreError for a
    folder without a study and for a file that cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        raise StoreError("there is no study in this folder yet", where=str(folder), fix="fovea sweep study.yaml")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, timeout=20)) as db:
            plan = _plan(db)
            rows = db.execute(_ROWS, [plan["history"]]).fetchall()
    except (sqlite3.DatabaseError, ValueError, KeyError) as error:
        raise StoreError(f"cannot read the results: {error}", where=str(path)) from None
    trials = [_trial(folder, row) for row in rows]
    running = any(trial["state"] == "running" for trial in trials)
    return {**plan, "running": running, "report": (folder / "report.html").is_file(), "rows": trials}


def _plan(db: sqlite3.Connection) -> dict[str, Any]:
    """What the last run was to do; of a folder that an older Fovea wrote, what its newest history is."""
    row = db.execute("SELECT value FROM facts WHERE key = 'plan'").fetchone()
    if row:
        return dict(json.loads(row[0]))
    last = db.execute("SELECT history FROM asked ORDER BY rowid DESC LIMIT 1").fetchone()
    return {"history": last[0] if last else "", "study": "", "objectives": {}, "trials": None, "questions": None}


def _trial(folder: Path, row: Any) -> dict[str, Any]:
    number, params, id_, owner, state, values, reason, seconds, done = row
    if state == "running" and not (owner and (folder / "owners" / owner).exists() and lives(folder, owner)):
        state = "interrupted"
    known = {
        name: {end: None if isnan(value[end]) else value[end] for end in ("mean", "low", "high")}
        for name, value in json.loads(values).items()
    }
    return {
        "number": number, "id": id_, "state": state, "params": json.loads(params), "values": known, "reason": reason,
        "seconds": seconds, "done": done,
    }  # fmt: skip
