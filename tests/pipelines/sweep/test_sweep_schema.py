"""The JSON Schema of study files accepts what the checker accepts, and underlines what it refuses."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from fovea.pipelines.spec import yaml_source
from fovea.pipelines.sweep.schema import study_schema
from tests.conftest import ROOT
from tests.pipelines.sweep.test_sweep_study import GOLDEN
from tests.sweep_studies import PIPELINE, write_study

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = study_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("study*.yaml")), ids=lambda p: p.name)
def test_the_examples_are_valid(validator: Any, path: Path) -> None:
    validator.validate(yaml_source.read(path).data)


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"search": {"use": "nsga2", "population": 4}, "prune": {"after": [5]}, "limits": {"seconds": 3.5}},
        {"objectives": {"R@5": "maximise", "seconds": None}, "constraints": "k < candidates", "baseline": {"k": 2}},
        {"judge": {"use": "chat", "model": "openai:gpt-4o-mini"}, "documents": ["a", "b"], "limit": 3},
        {"pipeline": PIPELINE | {"candidates": {"log_range": [10, 100], "points": 3, "as": "depth"}}},
    ],
)  # fmt: skip
def test_what_the_checker_accepts_is_valid(validator: Any, tmp_path: Path, changes: dict[str, Any]) -> None:
    validator.validate(yaml.safe_load(write_study(tmp_path, **changes).read_text()))


@pytest.mark.parametrize("number", [0, 1, 2, 6, 7, 13, 14])
def test_what_the_checker_refuses_the_editor_underlines(validator: Any, tmp_path: Path, number: int) -> None:
    assert not validator.is_valid(yaml.safe_load(write_study(tmp_path, **GOLDEN[number][0]).read_text()))


def test_every_setting_has_words(validator: Any) -> None:
    for name, schema in validator.schema["properties"].items():
        assert schema.get("description") or name == "judge", name
