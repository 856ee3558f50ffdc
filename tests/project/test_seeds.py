"""`docs/seeds.md`: what it names is there."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from functools import cache

import pytest

from fovea.pipelines.cli.main import main
from fovea.rag import registry
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "seeds.md").read_text("utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| seed")]
HERE = re.compile(r"\| (\w+) `(\w+)`: ([\w/.]+) \| `(fovea [\w -]+)` \|")


@cache
def usage(verb: str) -> str:
    with redirect_stdout(said := io.StringIO()), pytest.raises(SystemExit, match="0"):
        main([verb, "--help"])
    return said.getvalue()


def test_every_row_names_a_component_and_no_two_are_alike():
    assert len(ROWS) > 50
    assert [row for row in ROWS if not HERE.search(row)] == []
    assert len(set(ROWS)) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_what_a_row_names_is_there(row):
    kind, name, file, command = HERE.search(row).groups()
    found = registry.components(kind)[name]
    assert found.__module__ == "fovea." + file.removesuffix(".py").replace("/", ".")
    text = (ROOT / file).read_text("utf-8")
    if kind in ("selection", "heads", "eviction", "correction", "prefill") and "AttentionInfluence" not in row:
        assert [n for n in re.findall(r"\d{4}\.\d{5}", row) if n not in text] in ([], ["2409.10516"])
    _, verb, *more = command.split()
    assert [word for word in more if word not in usage(verb)] == []
