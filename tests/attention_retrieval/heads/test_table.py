"""Tables of heads as files: whatever lies there that is none is passed over."""

from __future__ import annotations

import json

import pytest

from fovea.attention_retrieval.heads import table
from fovea.attention_retrieval.heads.table import HeadTable

TABLE = HeadTable("abc", "evidence", "p", {"question": [[0.1, 0.2], [0.3, 0.4]], "answer": [[0.4, 0.3], [0.2, 0.1]]})
SAID = {"model": "abc", "kind": "evidence", "probe": "p", "scores": dict(TABLE.scores)}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path))
    monkeypatch.setattr(table, "identity", lambda model: model)
    path = table.keep(TABLE)
    assert table.find("abc", "evidence", "p") == TABLE
    return path


def scores(**changed) -> str:
    return json.dumps({**SAID, "scores": {**SAID["scores"], **changed}})


OTHERS = {
    "nothing": "",
    "no text": b"\xff",
    "a list": "[]",
    "deep lists": "[" * 100_000,
    "no scores": json.dumps({**SAID, "scores": {}}),
    "one kind of rows": json.dumps({**SAID, "scores": {"answer": [[0.1]]}}),
    "rows of another kind": scores(copy=[[0.1, 0.2], [0.3, 0.4]]),
    "a kind that is not there": json.dumps({**SAID, "kind": "needle"}),
    "ragged": scores(answer=[[0.1, 0.2], [0.3]]),
    "no heads": scores(answer=[[], []], question=[[], []]),
    "two models": scores(answer=[[0.1], [0.2]]),
    "no number": scores(answer=[[float("nan"), 0.1], [0.2, 0.3]]),
    "no end": scores(answer=[[float("inf"), 0.1], [0.2, 0.3]]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_table_is_passed_over(place, name):
    said = OTHERS[name]
    place.write_bytes(said if isinstance(said, bytes) else said.encode())
    assert table.find("abc", "evidence", "p") is None


def test_a_folder_in_its_place(place):
    place.unlink()
    place.mkdir()
    assert table.find("abc", "evidence", "p") is None
    with pytest.raises(IsADirectoryError):
        table.keep(TABLE)
