"""Real servers for the tests of stores, on free ports of this machine: `chroma run`, and Postgres with pgvector."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

SECONDS = 30
PASSWORD = "a-password-of-tests"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """A process that listens on `port`; it keeps what it holds in `folder`."""

    scheme, ending, ending_signal = "http", "", signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{self.ending}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def ready(self) -> bool:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False

    def start(self, **how: object) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, **how)  # type: ignore[call-overload]
        began = time.monotonic()
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() - began > SECONDS:
                raise AssertionError((self.folder / "log").read_text("utf-8", "replace")[-2000:])
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(self.ending_signal)
            try:
                self.process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


class ChromaServer(Server):
    """`chroma run`, the script that chromadb brings."""

    def command(self) -> list[str]:
        code = "import sys; from chromadb.cli.cli import app; sys.argv[0] = 'chroma'; app()"
        place = ["--path", str(self.folder / "data"), "--host", "127.0.0.1", "--port", str(self.port)]
        return [sys.executable, "-c", code, "run", *place]


class PostgresServer(Server):
    """The Postgres of a package; it does not run as root, and so runs as `nobody` there."""

    scheme, ending = "postgresql", "/postgres?user=postgres"
    ending_signal = signal.SIGINT  # SIGTERM waits for those who are connected.

    def __init__(self, folder: Path, programs: Path, *options: str) -> None:
        super().__init__(folder)
        self.programs, self.data, self.options = programs, folder / "data", options
        self.other = {"user": "nobody", "group": "nogroup"} if os.name == "posix" and os.geteuid() == 0 else {}
        if self.other:
            shutil.chown(folder, self.other["user"])
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        self._run("initdb", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "-U", "postgres", *self.init())

    def init(self) -> list[str]:
        return ["--no-sync", "--encoding=UTF8", "--locale=C", "-D", str(self.data)]

    def _run(self, program: str, *arguments: str) -> None:
        command = [self.programs / program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", **self.other)  # type: ignore[call-overload]
        if done.returncode:
            raise AssertionError(done.stderr)

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            **dict(self._given()),
        }
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.programs / "postgres"), "-D", str(self.data), "-p", str(self.port), *given]

    def _given(self) -> list[list[str]]:
        return [option.split("=", 1) for option in self.options]

    def ready(self) -> bool:
        import psycopg

        with suppress(psycopg.Error):
            psycopg.connect(self.url, connect_timeout=2, password=PASSWORD).close()
            return True
        return False

    def start(self, **how: object) -> None:
        super().start(cwd="/", **self.other, **how)


def postgres_programs(package: str) -> Path:
    """Where a package has `postgres` and `initdb`; skips the test where it cannot be run."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed: pip install {package.replace('_', '-')}")
    programs = Path(spec.origin).parent / "pginstall" / "bin"
    if os.name == "posix" and os.geteuid() == 0:
        try:
            subprocess.run(
                [programs / "postgres", "--version"], user="nobody", cwd="/", check=True, capture_output=True
            )
        except (OSError, subprocess.CalledProcessError, LookupError) as error:
            pytest.skip(f"Postgres does not run as root, and nobody cannot run {programs / 'postgres'}: {error}")
    return programs


def folder(within: str = "/dev/shm") -> Path:
    """A folder that another user can reach, as pytest's own cannot be; in memory, where nothing has to last."""
    found = Path(tempfile.mkdtemp(prefix="fovea-", dir=within if Path(within).is_dir() else None))
    found.chmod(0o755)
    return found
