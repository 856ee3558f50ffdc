"""Servers for tests: in this process, over a few documents of two teams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.testclient import TestClient

from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.server.app import create_app
from fovea.pipelines.server.secret import digest
from fovea.pipelines.server.served import Served
from fovea.pipelines.server.settings import ServeSettings
from fovea.rag.types import Document

KEYS = {name: f"fovea_{name}-key-of-the-tests" for name in ("all", "law", "sales", "writer")}
DOCUMENTS = [
    Document(name, text, metadata=metadata)
    for name, text, metadata in (
        ("law/oath.txt", "The oath is secret. Judges swear the oath at noon.", {"team": "law", "year": 2020}),
        ("law/fees.txt", "The court fee is 80 euros. Fees are due in May.", {"team": "law", "level": 3}),
        ("sales/tea.txt", "Green tea sells for 9 euros. Tea is brewed at 80 degrees.", {"team": "sales"}),
        ("sales/moon.txt", "The Moon lamp sells for 40 euros.", {"team": "sales", "year": 2021}),
        ("canteen", "The canteen closes at noon on Fridays.", {}),
    )
]


def stored(base: Path, **stages: object) -> Pipeline:
    """A pipeline over the documents."""
    stages = {"encoder": "hash", "segment": {"use": "sentence", "max_tokens": 12}, **stages}
    pipeline = Pipeline(base=base, **stages)
    pipeline.add(DOCUMENTS)
    return pipeline


def with_keys(**more: object) -> ServeSettings:
    """Settings with the keys of the tests: `law` and `sales` see the documents of their team."""
    scopes = {"law": "team == 'law'", "sales": "team == 'sales'"}
    keys = [
        {
            "name": name,
            "sha256": digest(key),
            "scope": scopes.get(name, ""),
            "write": name == "writer" and "scope" not in more,
        }
        for name, key in KEYS.items()
    ]
    return ServeSettings.model_validate({"keys": keys, **more})


def bearing(name: str) -> dict[str, str]:
    """The header with a key."""
    return {"Authorization": f"Bearer {KEYS[name]}"}


@contextmanager
def client(pipeline: Pipeline, settings: ServeSettings | None = None, **names: Pipeline) -> Iterator[TestClient]:
    """A client of a server in this process."""
    served = Served({"qa": pipeline, **names}, settings)
    with TestClient(create_app(served), base_url="http://localhost") as found:
        found.served = served  # type: ignore[attr-defined]
        yield found
