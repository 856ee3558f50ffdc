"""Small studies for tests: a handful of documents, questions with spans, and a pipeline without models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

TEXTS = {
    "moon.txt": "The moon orbits the earth. It takes about 27 days. Tides follow the moon.",
    "tea.txt": "Green tea is brewed at 80 degrees. Black tea is brewed at 95 degrees. Tea came from China.",
    "rivers.txt": "Rivers flow to the sea. The Amazon carries the most water. The Nile is long.",
    "bees.txt": "Bees gather pollen. A hive has one queen. Honey keeps for years.",
}
QUESTIONS = {
    "How long does the moon take?": ("moon.txt", "It takes about 27 days."),
    "At how many degrees is green tea brewed?": ("tea.txt", "Green tea is brewed at 80 degrees."),
    "Which river carries the most water?": ("rivers.txt", "The Amazon carries the most water."),
    "How many queens has a hive?": ("bees.txt", "A hive has one queen."),
    "Where did tea come from?": ("tea.txt", "Tea came from China."),
    "What do rivers flow to?": ("rivers.txt", "Rivers flow to the sea."),
}
PIPELINE: dict[str, Any] = {
    "encoder": "hash",
    "segment": {"choice": [{"use": "fixed", "max_tokens": {"choice": [8, 16]}}, {"use": "sentence"}]},
    "retrieve": {"choice": ["dense", "bm25"]},
    "k": 2,
}


def write_study(folder: Path, **changes: Any) -> Path:
    """A study file with its documents and questions in `folder`; `changes` are set at the top level."""
    (folder / "docs").mkdir(parents=True, exist_ok=True)
    for name, text in TEXTS.items():
        (folder / "docs" / name).write_text(text)
    rows = []
    for i, (question, (name, said)) in enumerate(QUESTIONS.items()):
        at = TEXTS[name].index(said)
        span = {"source": f"docs/{name}", "start": at, "end": at + len(said), "text": said}
        rows.append(json.dumps({"id": f"q{i}", "question": question, "references": [span], "answer": said}))
    (folder / "questions.jsonl").write_text("\n".join(rows))
    study = {
        "study": "small", "documents": "docs/", "questions": "questions.jsonl",
        "objectives": ["R@2", "tokens_passages"], "pipeline": PIPELINE,
    } | changes  # fmt: skip
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in study.items() if v is not None}, sort_keys=False))
    return path
