"""The JSON Schema of a study file, for editors: that of a pipeline in which every value may be a choice."""

from __future__ import annotations

import json
from typing import Any, get_args

from fovea.pipelines.evaluation.value import Direction
from fovea.pipelines.spec.schema import Generate, field_docs, pipeline_schema
from fovea.pipelines.sweep.study_spec import Limits, Prune, Search, StudySpec
from fovea.rag.component import fingerprint

WAYS = get_args(Direction)
LONG = 80
"""Characters of a schema from which on it is written once and referred to."""
NUMBERS = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
NAME = {"type": "string", "description": "Another name of the parameter; one name, one value."}
POINTS = {"type": "integer", "minimum": 2, "description": "So many values, evenly from low to high."}
STEP = {"type": "number", "exclusiveMinimum": 0, "description": "From one value to the next."}


def study_schema() -> dict[str, Any]:
    """The schema of a whole study file, with every registered component, plug-ins included."""
    pipeline = pipeline_schema()
    shared: dict[str, Any] = {}
    definitions = {name: _open(schema, shared) for name, schema in pipeline.pop("$defs").items()}
    study = StudySpec.model_json_schema(mode="validation", schema_generator=Generate)
    definitions |= {f"study_{name}": schema for name, schema in study.pop("$defs", {}).items()}
    for model, at in ((StudySpec, study), *((m, definitions[f"study_{m.__name__}"]) for m in (Search, Prune, Limits))):
        for name, words in field_docs(model).items():
            at["properties"][name].setdefault("description", words)
    study = _moved(study)
    head = {key: pipeline.pop(key) for key in ("$schema", "$comment")}
    study["properties"] |= {
        "pipeline": _open(pipeline, shared) | {"description": "A pipeline, with choices in the place of values."},
        "objectives": {
            "description": study["properties"]["objectives"]["description"],
            "anyOf": [
                {"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1},
                {"type": "object", "additionalProperties": {"enum": [*WAYS, None]}, "minProperties": 1},
            ],
        },
        "judge": {"anyOf": [{"$ref": "#/$defs/generator"}, {"type": "null"}]},
        **{name: _text_or_list(study["properties"][name]) for name in ("documents", "metrics", "constraints")},
    }  # fmt: skip
    return {**head, **study, "title": "Fovea study", "$defs": definitions | shared | PARAMETER}


def _open(schema: Any, shared: dict[str, Any]) -> Any:
    """The same, with a choice allowed in the place of every value of a setting, and of every item of a list. What would
    be written twice goes to `shared`.
    """
    if isinstance(schema, list):
        return [_open(item, shared) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _open(value, shared) for key, value in schema.items()}
    if isinstance(found.get("properties"), dict):
        found["properties"] = {
            key: value if key == "use" else _or_parameter(value, shared) for key, value in found["properties"].items()
        }
    if isinstance(found.get("items"), dict):
        found["items"] = _or_parameter(found["items"], shared)
    return found


def _or_parameter(schema: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    words = {"description": schema["description"]} if "description" in schema else {}
    plain = {key: value for key, value in schema.items() if key != "description"}
    if len(text := json.dumps(plain, sort_keys=True)) > LONG:
        name = f"value_{fingerprint(text)}"
        shared[name], schema = plain, {"$ref": f"#/$defs/{name}"}
    else:
        schema = plain
    option = {"anyOf": [schema, {"type": "null"}, {"$ref": "#/$defs/parameter"}]}
    choice = _form({"choice": {"type": "array", "minItems": 1, "items": option}})
    return {**words, "anyOf": [schema, choice, {"$ref": "#/$defs/range"}]}


def _form(properties: dict[str, Any]) -> dict[str, Any]:
    """A parameter whose first key says what it is."""
    return {
        "type": "object", "properties": {**properties, "as": NAME}, "required": [next(iter(properties))],
        "additionalProperties": False,
    }  # fmt: skip


_RANGES = [_form({"range": NUMBERS, "step": STEP, "points": POINTS}), _form({"log_range": NUMBERS, "points": POINTS})]
PARAMETER = {
    "range": {"description": "Numbers from low to high, both included.", "anyOf": _RANGES},
    "parameter": {"anyOf": [_form({"choice": {"type": "array"}}), {"$ref": "#/$defs/range"}]},
}


def _text_or_list(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": schema.get("description", ""), "anyOf": [schema, {"type": "string"}]}


def _moved(schema: Any) -> Any:
    """References to the study's own models, under the names that they have beside the components."""
    if isinstance(schema, list):
        return [_moved(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _moved(value) for key, value in schema.items()}
    if isinstance(ref := found.get("$ref"), str) and ref.removeprefix("#/$defs/") in ("Search", "Prune", "Limits"):
        found["$ref"] = ref.replace("#/$defs/", "#/$defs/study_")
    return found
