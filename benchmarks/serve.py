"""What serving costs at 100,000 chunks, and how it stands many clients at once.

    python -m benchmarks.serve [--chunks 100000] [--queries 300] [--clients 50] [--seconds 60] [--store DIR] [--json]

The store is that of `benchmarks/query.py`; the server is a process of its own, asked over loopback on kept connections.
`overhead`: milliseconds of `/search` beyond `Pipeline.retrieve` in a process of its own, medians of the same questions
asked in turn; the same of processor time, which a busy machine does not change. `clients`: that many ask one question
after another, each for its own: requests, errors, p50 and p99, and the memory of the server (resident MiB) after the
first tenth and at the end. `encoder`: milliseconds of processor time a question, encoded one by one and 8 at once: what
gathering the questions of several clients could save.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.query import fill, sentences
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.pipeline import Pipeline

YAML = "name: bench\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--store", type=Path, help="a folder to keep the store in; there already, it is used")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    logging.getLogger("fovea").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as temporary:
        folder, texts = args.store or Path(temporary), sentences()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "qa.yaml").write_text(YAML, encoding="utf-8")
        with Pipeline.from_yaml(folder / "qa.yaml") as pipeline:
            if not pipeline.spec.store.path.exists():
                fill(pipeline, args.chunks, texts)
            asked = [f"What about {' '.join(texts[i % len(texts)].split()[3:11])}, case {i}?" for i in range(1 << 16)]
            with server(folder) as (port, pid):
                data = f"{args.chunks:,} chunks"
                rows = overhead(pipeline, port, pid, asked[: args.queries], data)
                rows += asyncio.run(clients(args, port, pid, asked[args.queries :], data))
            rows += encoding(pipeline, asked[: args.queries])
    print(show(rows, as_json=args.json))


@contextmanager
def server(folder: Path) -> Iterator[tuple[int, int]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "fovea.pipelines.cli.main", "serve", str(folder / "qa.yaml"), "--port", str(port)]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stderr=log, env=os.environ) as process:
        try:
            while not asyncio.run(_ready(port)):
                time.sleep(0.2)
            yield port, process.pid
        finally:
            process.terminate()


async def _ready(port: int) -> bool:
    try:
        async with _Connection(port) as connection:
            return (await connection.ask("GET", "/healthz/ready"))[0] == 200
    except OSError:
        return False


def overhead(pipeline: Pipeline, port: int, pid: int, asked: list[str], data: str) -> list[Row]:
    here, there, worked, before = [], [], 0.0, 0.0

    async def both() -> None:
        nonlocal worked, before
        async with _Connection(port) as connection:
            for question in ["warm", *asked]:
                began, process = time.perf_counter(), time.process_time()
                hits = pipeline.retrieve(question)
                here.append(time.perf_counter() - began)
                worked += (time.process_time() - process) * bool(before)
                before = before or processor(pid)
                began = time.perf_counter()
                status, body = await connection.ask("POST", "/search", {"question": question})
                there.append(time.perf_counter() - began)
                assert status == 200
                assert [hit["id"] for hit in json.loads(body)["hits"]] == [hit.chunk.id for hit in hits]

    asyncio.run(both())
    milliseconds = (np.array(there[1:]) - np.array(here[1:])) * 1e3
    _, low, high = interval(milliseconds)
    more = (processor(pid) - before - worked) / len(asked) * 1e3
    times = (("retrieve", median(here[1:])), ("/search", median(there[1:])))
    rows = [Row("serve", data, name, "p50 ms", seconds * 1e3, n=len(asked)) for name, seconds in times]
    rows.append(Row("serve", data, "overhead", "processor ms", more, n=len(asked)))
    return [*rows, Row("serve", data, "overhead", "p50 ms", float(np.median(milliseconds)), low, high, n=len(asked))]


async def clients(args: argparse.Namespace, port: int, pid: int, asked: list[str], data: str) -> list[Row]:
    end, took, errors, memory = time.perf_counter() + args.seconds, list[float](), 0, list[float]()

    async def one(number: int) -> None:
        nonlocal errors
        async with _Connection(port) as connection:
            at = number
            while time.perf_counter() < end:
                began = time.perf_counter()
                status, _ = await connection.ask("POST", "/search", {"question": asked[at % len(asked)]})
                took.append(time.perf_counter() - began)
                errors += status != 200
                at += args.clients

    async def watch() -> None:
        await asyncio.sleep(args.seconds / 10)
        memory.append(resident(pid))

    await asyncio.gather(watch(), *(one(number) for number in range(args.clients)))
    memory.append(resident(pid))
    p50, p99 = (float(np.percentile(took, p)) * 1e3 for p in (50, 99))
    method = f"{args.clients} clients, {args.seconds:g} s"
    found = {
        "requests": len(took), "errors": errors, "requests a second": len(took) / args.seconds, "p50 ms": p50,
        "p99 ms": p99, "p99 over p50": p99 / p50, "MiB after a tenth": memory[0], "MiB at the end": memory[-1],
    }  # fmt: skip
    return [Row("serve", data, method, metric, float(value), n=len(took)) for metric, value in found.items()]


def encoding(pipeline: Pipeline, asked: list[str], at_once: int = 8) -> list[Row]:
    def took(size: int) -> float:
        began = time.process_time()
        for at in range(0, len(asked), size):
            pipeline.spec.encoder.encode(asked[at : at + size], role="query")
        return (time.process_time() - began) / len(asked) * 1e3

    ways = {"one by one": 1, f"{at_once} at once": at_once}
    times = {way: median(took(size) for _ in range(3)) for way, size in ways.items()}
    return [Row("serve", "encoder", way, "processor ms", value, n=len(asked)) for way, value in times.items()]


def processor(pid: int) -> float:
    """Seconds of processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """MiB of memory that a process holds."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


class _Connection:
    """One kept connection, as little client as there can be: what is measured is the server."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def __aenter__(self) -> _Connection:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def ask(self, method: str, path: str, data: object = None) -> tuple[int, bytes]:
        body = b"" if data is None else json.dumps(data).encode()
        head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        self.writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        return int(head.split()[1]), await self.reader.readexactly(length)


if __name__ == "__main__":
    main()
