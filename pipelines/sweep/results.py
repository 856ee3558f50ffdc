"""Results: what came of every trial, in one SQLite file that several processes share and `kill -9` cannot harm.

A trial is named by its configuration and its data, so no configuration is tried twice, whoever proposes it. While a
process runs a trial it is its owner; what a dead owner has left is taken over, with the questions that it had done.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from fovea.pipelines.evaluation.outcome import Outcome
from fovea.pipelines.evaluation.value import Value
from fovea.pipelines.sweep.record import State, TrialRecord
from fovea.rag.errors import StoreError

FORMAT = 1
FILE = "results.sqlite"
TABLES = """
CREATE TABLE IF NOT EXISTS trials (
  id TEXT PRIMARY KEY, owner TEXT, state TEXT, settings TEXT, "values" TEXT, reason TEXT, seconds REAL, stages TEXT
);
CREATE TABLE IF NOT EXISTS outcomes (trial TEXT, place INTEGER, outcome BLOB, PRIMARY KEY (trial, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asked (
  history TEXT, number INTEGER, trial TEXT, params TEXT, PRIMARY KEY (history, number)
);
CREATE TABLE IF NOT EXISTS warned (history TEXT, message TEXT, times INTEGER, PRIMARY KEY (history, message));
CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT);
"""


@dataclass(frozen=True)
class Claimed:
    """A trial that is this process's to run."""

    id: str
    settings: Mapping[str, Any]


class Results:
    """The results of one study's folder. Raises StoreError for a folder that is damaged or of another version, and for
    a full disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.me = folder, uuid4().hex[:12]
        try:
            (folder / "owners").mkdir(parents=True, exist_ok=True)
            self._alive = held(folder / "owners" / self.me)
        except OSError as error:
            raise StoreError(f"cannot write there: {error.strerror}", where=str(folder)) from None
        self._db = sqlite3.connect(folder / FILE, timeout=60, isolation_level=None, check_same_thread=False)
        with self._errors():
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(TABLES)
            self._check(self.fact("format"))

    def _check(self, found: str | None) -> None:
        if found is None:
            self.remember("format", str(FORMAT))
        elif found != str(FORMAT):
            raise StoreError(
                f"this study is of format {found}; this version reads format {FORMAT}", where=str(self.folder),
                fix="pip install --upgrade fovea-rag, or another --out",
            )  # fmt: skip

    def fact(self, key: str) -> str | None:
        """What was remembered of the study."""
        row = self._db.execute("SELECT value FROM facts WHERE key = ?", [key]).fetchone()
        return row[0] if row else None

    def remember(self, key: str, value: str) -> None:
        """Keep a fact about the study."""
        with self._errors():
            self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", [key, value])

    # Claiming

    def claim(self, trial: Claimed, history: str, number: int, params: Mapping[str, Any]) -> str | None:
        """Make a trial this process's, the one of that number in a history (two numbers may be one trial).

        Returns None, or else the state in which it is: done, or `running` elsewhere.
        """
        with self._errors(), self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO asked VALUES (?, ?, ?, ?)", [history, number, trial.id, json.dumps(dict(params))]
            )
            row = self._db.execute("SELECT state, owner FROM trials WHERE id = ?", [trial.id]).fetchone()
            if row and (row[0] != "running" or self.lives(row[1])):
                return str(row[0])
            if row:
                self._db.execute("UPDATE trials SET owner = ? WHERE id = ?", [self.me, trial.id])
            else:
                self._db.execute(
                    "INSERT INTO trials VALUES (?, ?, 'running', ?, '{}', '', 0, '{}')",
                    [trial.id, self.me, json.dumps(dict(trial.settings))],
                )
            return None

    def count(self, history: str) -> int:
        """How many different trials a history has."""
        return int(
            self._db.execute("SELECT COUNT(DISTINCT trial) FROM asked WHERE history = ?", [history]).fetchone()[0]
        )

    def lives(self, owner: str) -> bool:
        """Whether the process of that name is running."""
        return owner == self.me or lives(self.folder, owner)

    # What came of it

    def add(self, trial: str, first: int, outcomes: Sequence[Outcome]) -> None:
        """Keep the outcomes of some questions of a running trial, from place `first` on."""
        rows = [(trial, first + i, _pack(outcome)) for i, outcome in enumerate(outcomes)]
        with self._errors(), self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?)", rows)

    def finish(
        self, trial: str, state: State, *, values: Mapping[str, Value], reason: str, seconds: float,
        stages: Mapping[str, tuple[int, int]],
    ) -> None:  # fmt: skip
        """Say what became of a trial."""
        plain = json.dumps({name: asdict(value) for name, value in values.items()})
        with self._errors():
            self._db.execute(
                'UPDATE trials SET state = ?, "values" = ?, reason = ?, seconds = ?, stages = ? WHERE id = ?',
                [state, plain, reason, seconds, json.dumps(stages), trial],
            )

    def warn(self, history: str, counts: Mapping[str, int]) -> None:
        """Count what was warned of."""
        if counts:
            with self._errors(), self._transaction():
                self._db.executemany(
                    "INSERT INTO warned VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET times = times + excluded.times",
                    [(history, *pair) for pair in counts.items()],
                )

    def warnings(self, history: str) -> dict[str, int]:
        """What was warned of while stages were computed, with how often; what was looked up warns of nothing."""
        return dict(
            self._db.execute(
                "SELECT message, times FROM warned WHERE history = ? ORDER BY times DESC, message", [history]
            )
        )

    def retry(self, history: str) -> int:
        """Forget the failed trials of a history, so that they are run again; returns how many there were."""
        with self._errors(), self._transaction():
            rows = self._db.execute(
                "SELECT DISTINCT id FROM trials JOIN asked ON trial = id WHERE history = ? AND state = 'failed'",
                [history],
            )
            failed = [row[0] for row in rows]
            self._db.executemany("DELETE FROM outcomes WHERE trial = ?", [[id_] for id_ in failed])
            self._db.executemany("DELETE FROM trials WHERE id = ?", [[id_] for id_ in failed])
        return len(failed)

    def done(self, trial: str) -> int:
        """How many questions of it are done."""
        return int(self._db.execute("SELECT COUNT(*) FROM outcomes WHERE trial = ?", [trial]).fetchone()[0])

    def outcomes(self, trial: str, most: int | None = None) -> list[Outcome]:
        """Those of a trial, in the order of the questions."""
        rows = self._db.execute(
            "SELECT outcome FROM outcomes WHERE trial = ? ORDER BY place LIMIT ?", [trial, -1 if most is None else most]
        )
        return [Outcome.from_dict(json.loads(zlib.decompress(row[0]))) for row in rows]

    def trials(self, history: str) -> list[TrialRecord]:
        """Every trial of a history that is over, by number; outcomes are read when they are looked at."""
        rows = self._db.execute(
            "SELECT MIN(number), params, trials.* FROM trials JOIN asked ON trial = id "
            "WHERE history = ? AND state != 'running' GROUP BY id ORDER BY MIN(number)", [history],
        ).fetchall()  # fmt: skip
        return [self._record(row) for row in rows]

    def trial(self, history: str, id_: str) -> TrialRecord | None:
        """One that is over."""
        row = self._db.execute(
            "SELECT MIN(number), params, trials.* FROM trials JOIN asked ON trial = id "
            "WHERE history = ? AND id = ? AND state != 'running' GROUP BY id", [history, id_],
        ).fetchone()  # fmt: skip
        return self._record(row) if row else None

    def _record(self, row: Any) -> TrialRecord:
        number, params, id_, _, state, settings, values, reason, seconds, stages = row
        return TrialRecord(
            id_, number, state, json.loads(params), json.loads(settings),
            {name: Value(**value) for name, value in json.loads(values).items()},
            _Lazily(self, id_), reason, seconds, {name: tuple(pair) for name, pair in json.loads(stages).items()},
        )  # fmt: skip

    def close(self) -> None:
        """Let go of the file; trials that are running are for others to take over."""
        self._db.close()
        self._alive.close()
        (self.folder / "owners" / self.me).unlink(missing_ok=True)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite has rolled back by itself where the disk is full.
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            full = "full" in str(error)
            raise StoreError(
                f"cannot read or write the results: {error}", where=str(self.folder / FILE),
                fix="make room, and run the same command again: it goes on from there" if full
                else "run again with another --out; what is in the cache is used",
            ) from None  # fmt: skip


class _Lazily(Sequence[Outcome]):
    """The outcomes of a trial, read when they are first looked at, and not kept."""

    def __init__(self, results: Results, trial: str) -> None:
        self._results, self._trial = results, trial

    def __len__(self) -> int:
        return self._results.done(self._trial)

    def __getitem__(self, at: Any) -> Any:
        return self._results.outcomes(self._trial)[at]

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self._results.outcomes(self._trial))


def lives(folder: Path, owner: str) -> bool:
    """Whether the process that calls itself `owner` in the study of that folder is running."""
    try:
        held(folder / "owners" / owner).close()
    except sqlite3.OperationalError:
        return True
    return False


def held(path: Path) -> sqlite3.Connection:
    """A lock on a file that the system lets go when the process dies; sqlite3.OperationalError while another has it."""
    held = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        held.execute("BEGIN EXCLUSIVE")
    except BaseException:
        held.close()
        raise
    return held


def _pack(outcome: Outcome) -> bytes:
    return zlib.compress(json.dumps(outcome.to_dict(), ensure_ascii=False).encode("utf-8", "surrogatepass"))
