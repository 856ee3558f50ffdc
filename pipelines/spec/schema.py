"""The JSON Schema of a pipeline's YAML, for editors: made from the components themselves, so it cannot fall behind.

Put `# yaml-language-server: $schema=fovea.schema.json` in the first line of the YAML (as `fovea init` does) and write
the schema beside it with `fovea schema > fovea.schema.json`.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag import registry
from fovea.rag.component import Component
from fovea.rag.settings import Settings


class Generate(GenerateJsonSchema):
    """A kind, met as the type of a field, becomes a reference to the choice of its components."""

    def model_schema(self, schema: Any) -> Any:
        """The schema of one model, with the words under its fields."""
        cls = schema["cls"]
        if issubclass(cls, Component) and not cls.name:
            return {"x-kind": cls.kind}
        found = super().model_schema(schema)
        for field, text in field_docs(cls).items():
            if field in found.get("properties", {}):
                found["properties"][field].setdefault("description", text)
        return found

    def encode_default(self, dft: Any) -> Any:
        """A default as YAML would have it."""
        return dft.settings() if isinstance(dft, Component) else super().encode_default(dft)


def pipeline_schema() -> dict[str, Any]:
    """The schema of a whole pipeline file, with every registered component, plug-ins included."""
    schema = PipelineSpec.model_json_schema(schema_generator=Generate)
    definitions: dict[str, Any] = schema.pop("$defs", {})
    for kind in registry.kinds():
        choices = [_component(cls, definitions) for cls in registry.components(kind).values()]
        names = [cls.name for cls in registry.components(kind).values()]
        definitions[kind] = {"anyOf": [*choices, {"enum": names}]} if choices else {}
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Written by fovea schema",
        **schema,
        "title": "Fovea pipeline",
        "$defs": definitions,
    }
    return _accept_single(_resolve(whole))


def _component(cls: type[Settings], definitions: dict[str, Any]) -> dict[str, Any]:
    schema = cls.model_json_schema(schema_generator=Generate)
    definitions.update(schema.pop("$defs", {}))
    use = {"const": cls.name, "description": (cls.__doc__ or "").split("\n\n")[0].replace("\n", " ")}
    schema["properties"] = {"use": use, **schema.get("properties", {})}
    named = ["use"] if cls.name != getattr(cls, "default", "") else []
    schema["required"] = [*named, *schema.get("required", [])]
    schema["title"] = f"{cls.kind}: {cls.name}"
    return schema


def _resolve(node: Any) -> Any:
    if isinstance(node, list):
        return [_resolve(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _resolve(value) for key, value in node.items()}
    if "x-kind" in node:
        node["$ref"] = f"#/$defs/{node.pop('x-kind')}"
    if isinstance(ref := node.get("$ref"), str) and ref.startswith("#/$defs/") and (kind := _kind(ref)):
        node["$ref"] = f"#/$defs/{kind}"
    return node


def _kind(ref: str) -> str | None:
    name = ref.rsplit("/", 1)[1]
    return next((kind for kind, cls in registry.kinds().items() if cls.__name__ == name), None)


def _accept_single(schema: dict[str, Any]) -> dict[str, Any]:
    """Lists of stages may be written as a single stage."""
    for key in ("load", "segment", "retrieve", "refine"):
        field = schema["properties"][key]
        many = {k: field.pop(k) for k in ("type", "items", "minItems") if k in field}
        field["anyOf"] = [many, many["items"]]
    return schema


def field_docs(cls: type[BaseModel]) -> dict[str, str]:
    """The docstring under each field, of the class and its bases."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, BaseModel) and base.__module__.split(".")[0] != "pydantic":
            docs.update(_own_docs(base))
    return docs


def _own_docs(cls: type[BaseModel]) -> dict[str, str]:
    return _docs_of(cls.__module__).get(cls.__qualname__, {})


@cache
def _docs_of(module: str) -> dict[str, dict[str, str]]:
    """The docstring under each field of each class of a module, by the class's qualified name."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError, SyntaxError):  # No source at hand, as in an interactive shell.
        return {}
    return {name: _under_fields(node) for name, node in _classes(tree, "")}


def _classes(tree: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    for node in ast.iter_child_nodes(tree):
        inside = prefix
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name, node
            inside = f"{prefix}{node.name}."
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inside = f"{prefix}{node.name}.<locals>."
        yield from _classes(node, inside)


def _under_fields(node: ast.ClassDef) -> dict[str, str]:
    return {
        field.target.id: inspect.cleandoc(doc.value.value).replace("\n", " ")
        for field, doc in pairwise(node.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        and isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant) and isinstance(doc.value.value, str)
    }  # fmt: skip
