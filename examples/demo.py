"""From a folder of documents to cited answers, with no key, no server and no model hub: `make demo` runs this.

The same in YAML is `examples/demo.yaml`; from a shell: `fovea ask examples/demo.yaml "a question"`.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("FOVEA_OFFLINE", "1")

from fovea.pipelines.answering.explain import stage_lines
from fovea.pipelines.cli.ask import answer_lines
from fovea.pipelines.pipeline import Pipeline
from fovea.rag import progress

HERE = Path(__file__).resolve().parent
QUESTIONS = [
    "Does SQLite's WAL mode work over a network filesystem?",
    "How much more test code than library code does the SQLite project have?",
    "May the Jargon File be shared and changed freely?",
]


def main() -> int:
    """Ingest the example library, ask three questions, and show what every answer rests on."""
    began = time.perf_counter()
    with Pipeline.from_yaml(HERE / "demo.yaml") as pipeline, progress.shown():
        report = pipeline.ingest(HERE / "library")
        files = len(report.added) + len(report.changed) + report.unchanged
        print(f"{files} files ({report.unchanged} unchanged), {report.encoded} chunks encoded, "
              f"{time.perf_counter() - began:.1f} s")  # fmt: skip
        print(*(f"  {line}" for line in stage_lines(report.trace)), sep="\n")
        for question in QUESTIONS:
            answer = pipeline.ask(question)
            assert answer.trace is not None
            print(f"\n{'─' * 100}\n{question}\n")
            print(*answer_lines(answer), sep="\n")
            print("\nstages:", *(f"  {line}" for line in stage_lines(answer.trace)), sep="\n")
    for name, reason in report.failed.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    return 0 if report.ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
