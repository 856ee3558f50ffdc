"""The JSON Schema accepts what the checker accepts, and knows every component."""

from pathlib import Path

import jsonschema
import pytest

from fovea.pipelines.cli.init import template
from fovea.pipelines.spec import yaml_source
from fovea.pipelines.spec.schema import pipeline_schema
from fovea.rag import registry
from tests.pipelines.spec.test_yaml import GOLDEN


@pytest.fixture(scope="module")
def validator():
    schema = pipeline_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_every_registered_component_is_a_choice_with_words(validator):
    for kind in registry.kinds():
        if kind not in registry.HOMES or not registry.names(kind):
            continue
        choices = {
            c["properties"]["use"]["const"]: c for c in validator.schema["$defs"][kind]["anyOf"] if "properties" in c
        }
        assert set(choices) == set(registry.names(kind))
        for choice in choices.values():
            assert choice["additionalProperties"] is False
            for name, prop in choice["properties"].items():
                assert prop.get("description"), f"{choice['title']}: {name}"


def test_the_template_and_short_forms_are_valid(validator):
    text = template(Path("p.yaml"), "mine")
    validator.validate(yaml_source.parse(text).data)
    validator.validate({"encoder": "hash", "segment": {"use": "fixed", "max_tokens": 9}, "retrieve": ["bm25", "dense"]})


@pytest.mark.parametrize(
    "case", ["unknown stage", "unknown setting", "wrong type", "out of bounds", "no use", "a list"]
)
def test_what_the_checker_refuses_the_editor_underlines(validator, case):
    data = yaml_source.parse(GOLDEN[case][0]).data
    assert not validator.is_valid(data)


COMPOSED = {
    "prefill": {"use": "anchor", "theta": 8, "step": 2},
    "evict": {"use": "compensation", "of": {"use": "snapkv", "keep": 0.5}},
    "heads": {"use": "duo", "scores": [[1, 0.2]]},
    "select": {"use": "recycled", "of": {"use": "block_bounds", "represent": "mean"}},
    "correct": {"use": "act", "heads": [[2, 1]], "rest": {"use": "lift"}},
}


def attending(**attention):
    return {"generate": {"use": "transformers", "model": "m", "attention": {"use": "retrieval", **attention}}}


@pytest.mark.parametrize("moment", COMPOSED)
def test_an_editor_completes_every_moment_of_attention(validator, moment):
    own = COMPOSED[moment]
    validator.validate(attending(**{moment: own}))
    assert not validator.is_valid(attending(**{moment: {**own, "use": "anchors"}}))
    assert not validator.is_valid(attending(**{moment: {**own, "thetas": 8}}))
