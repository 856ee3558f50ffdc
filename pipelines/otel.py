"""Traces as OpenTelemetry spans, by the conventions for generative AI. Nothing here runs unless a pipeline asks for it.

A span for the whole call, whose parent is the span that is current where the call is made, and one for each stage of
its trace, with the stage's own times. They are written when the call ends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import format_exception
from typing import TYPE_CHECKING, Any

from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag.errors import require
from fovea.rag.trace import Stage, Trace
from fovea.rag.types import Query
from fovea.rag.version import __version__

if TYPE_CHECKING:
    from opentelemetry.trace import Span

CONVENTIONS = "https://github.com/open-telemetry/semantic-conventions-genai/tree/002c8a6/docs/gen-ai"
"""The version of the `gen_ai` conventions that is followed: they are in development, and change without notice."""
SCHEMA = "https://opentelemetry.io/schemas/1.41.1"
"""The general conventions that these build on."""
OPERATION, PROVIDER, MODEL = "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"
SOURCE, WORKFLOW = "gen_ai.data_source.id", "gen_ai.workflow.name"
DOCUMENTS, QUERY_TEXT = "gen_ai.retrieval.documents", "gen_ai.retrieval.query.text"
USAGE = {"input_tokens": "gen_ai.usage.input_tokens", "output_tokens": "gen_ai.usage.output_tokens"}

Attributes = dict[str, Any]


class Telemetry:
    """Where spans go: to a tracer provider, or to the one that the process has set when a call ends."""

    def __init__(self, provider: Any = None, *, content: bool = False) -> None:
        self.api = require("opentelemetry.trace", extra="otel", needed_by="telemetry")
        self.provider, self.content = provider, content

    @contextmanager
    def observed(self, work: str, spec: PipelineSpec, trace: Trace, question: str | Query = "") -> Iterator[None]:
        """Write the block and the stages of `trace` when it ends, however it does. `work` is answer, retrieval or
        ingest.
        """
        from opentelemetry import context

        parent, began, raised = context.get_current(), time.time_ns(), None
        seen = len(trace.stages)
        try:
            yield
        except Exception as error:
            raised = error
            raise
        finally:
            text = (question.text if isinstance(question, Query) else question) if self.content else ""
            self._write(work, spec, trace.stages[seen:], parent, began, raised, text)

    def _write(self, work: str, spec: PipelineSpec, stages: list[Stage], parent: Any, began: int,
               raised: Exception | None, text: str) -> None:  # fmt: skip
        tracer = self.api.get_tracer("fovea", __version__, self.provider, schema_url=SCHEMA)
        name, attributes = _call(work, spec)
        if text:
            attributes |= {QUERY_TEXT: text}
        span = tracer.start_span(name, parent, attributes=attributes, start_time=began)
        if span.is_recording():
            inside = self.api.set_span_in_context(span, parent)
            for stage in stages:
                self._stage(tracer, inside, spec, stage, text)
            if raised is not None:
                self._fail(span, raised)
        span.end()

    def _stage(self, tracer: Any, inside: Any, spec: PipelineSpec, stage: Stage, text: str) -> None:
        name, attributes = _step(spec, stage)
        if text and attributes.get(OPERATION) == "retrieval":
            attributes |= {QUERY_TEXT: text}
        span = tracer.start_span(name, inside, attributes=attributes, start_time=stage.began)
        if stage.error:
            span.set_attribute("error.type", stage.error)
            span.set_status(self.api.StatusCode.ERROR)
        span.end(max(stage.began, stage.ended))

    def _fail(self, span: Span, error: Exception) -> None:
        """An error, without its message and its stack unless content may be written: both may quote texts."""
        kind = type(error).__name__
        span.set_attribute("error.type", kind)
        span.set_status(self.api.StatusCode.ERROR, str(error) if self.content else None)
        if self.content:
            stack = "".join(format_exception(type(error), error, error.__traceback__, chain=False))
            span.record_exception(error, {"exception.stacktrace": stack})  # What others raised may hold a key.
        else:
            span.add_event("exception", {"exception.type": f"{type(error).__module__}.{kind}"})


def _call(work: str, spec: PipelineSpec) -> tuple[str, Attributes]:
    """The name and the attributes of the span of a whole call."""
    if work == "answer":
        return f"invoke_workflow {spec.name}", {OPERATION: "invoke_workflow", WORKFLOW: spec.name}
    if work == "retrieval":
        return f"retrieval {spec.name}", {OPERATION: "retrieval", SOURCE: spec.name}
    return f"{work} {spec.name}", {SOURCE: spec.name}


def _step(spec: PipelineSpec, stage: Stage) -> tuple[str, Attributes]:
    """The name and the attributes of the span of a stage."""
    counts = {f"fovea.{name}": number for name, number in stage.counts.items() if name not in USAGE}
    known: Attributes = {"fovea.stage": stage.name, "fovea.seconds": stage.seconds, **counts}
    if stage.warnings:
        known["fovea.warnings"] = stage.warnings.total()
    words = stage.name.split()
    if "retrieve" in words:
        found = [{"id": chunk, "score": score} for chunk, score, _ in stage.hits or ()]
        return stage.name.replace("retrieve", "retrieval", 1), {
            **known, OPERATION: "retrieval", SOURCE: spec.name, DOCUMENTS: json.dumps(found),
        }  # fmt: skip
    if "generate" in words and isinstance(model := getattr(spec.generate, "model", None), str):
        provider, colon, rest = model.partition(":")
        if not colon or spec.generate.name != "chat":
            provider, rest = spec.generate.name, model
        usage = {USAGE[name]: stage.counts[name] for name in USAGE if name in stage.counts}
        return f"chat {rest}", {**known, OPERATION: "chat", PROVIDER: provider, MODEL: rest, **usage}
    return stage.name, known
