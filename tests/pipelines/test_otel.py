"""A pipeline's traces as OpenTelemetry spans, as the SDK's own exporter gets them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from fovea.rag.errors import ConfigErrors, StoreError

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

QUESTION = "Who walked on the Moon?"


@pytest.fixture
def provider():
    made = TracerProvider()
    made.exporter = InMemorySpanExporter()
    made.add_span_processor(SimpleSpanProcessor(made.exporter))
    return made


@pytest.fixture
def pipeline(make, docs, provider):
    made = make(name="sky")
    made.ingest(docs)
    return made.traced_by(provider)


def taken(provider):
    """The spans of one call: that of the whole, and its children by name."""
    spans = provider.exporter.get_finished_spans()
    provider.exporter.clear()
    ids = {span.context.span_id for span in spans}
    [root] = [span for span in spans if span.parent is None or span.parent.span_id not in ids]
    children = [span for span in spans if span is not root]
    assert all(span.parent.span_id == root.context.span_id for span in children)
    return root, {span.name: span for span in children}


def test_a_span_for_the_call_and_one_for_each_stage_with_its_times(pipeline, provider):
    answer = pipeline.ask(QUESTION)
    root, stages = taken(provider)
    assert root.name == "invoke_workflow sky"
    assert root.attributes["gen_ai.operation.name"] == "invoke_workflow"
    assert list(stages) == [
        "retrieval dense", "retrieval bm25", "fuse adaptive", "keep", "generate extractive", "cite extractive",
    ]  # fmt: skip
    dense = stages["retrieval dense"]
    assert dense.attributes["gen_ai.operation.name"] == "retrieval"
    assert dense.attributes["gen_ai.data_source.id"] == "sky"
    kept = next(stage for stage in answer.trace.stages if stage.name == "retrieve dense")
    assert [found["id"] for found in json.loads(dense.attributes["gen_ai.retrieval.documents"])] == [
        chunk for chunk, _, _ in kept.hits
    ]
    for stage, span in zip(answer.trace.stages, stages.values()):
        assert (span.start_time, span.end_time) == (stage.began, stage.ended)
        assert span.attributes["fovea.stage"] == stage.name
        assert root.start_time <= span.start_time <= span.end_time <= root.end_time
    assert stages["cite extractive"].attributes["fovea.sentences"] == len(answer.sentences)


def test_every_way_to_ask_and_to_ingest(pipeline, provider, docs):
    list(pipeline.stream(QUESTION))
    assert taken(provider)[0].name == "invoke_workflow sky"
    asyncio.run(pipeline.aask(QUESTION))
    assert taken(provider)[0].name == "invoke_workflow sky"
    pipeline.retrieve(QUESTION)
    root, stages = taken(provider)
    assert root.name == "retrieval sky"
    assert "retrieval dense" in stages
    asyncio.run(pipeline.aretrieve(QUESTION))
    assert taken(provider)[0].name == "retrieval sky"
    (docs / "new.txt").write_text("Mars is red.")
    pipeline.ingest(docs)
    root, stages = taken(provider)
    assert root.name == "ingest sky"
    assert stages["encode"].attributes["fovea.texts"] == 1


def test_the_callers_span_is_the_parent(pipeline, provider):
    tracer = provider.get_tracer("test")

    async def both() -> None:
        await asyncio.gather(*(pipeline.aask(QUESTION) for _ in range(2)))

    with tracer.start_as_current_span("request") as request:
        pipeline.ask(QUESTION)
        pieces = pipeline.stream(QUESTION)
        next(pieces)
        pieces.close()  # A caller who goes is no failure.
        asyncio.run(both())
    roots = [span for span in provider.exporter.get_finished_spans() if span.name == "invoke_workflow sky"]
    assert len(roots) == 4
    assert all(span.parent.span_id == request.get_span_context().span_id for span in roots)
    assert all(span.status.status_code is StatusCode.UNSET for span in roots)


def test_a_failure_is_a_status_and_an_event_without_its_words(pipeline, provider, monkeypatch):
    def fail(*_):
        raise StoreError("the disk said: armstrong") from ValueError("bad key sk-" + "1234")

    monkeypatch.setattr(type(pipeline.spec.generate), "finish", fail)
    for content in (False, True):
        pipeline.traced_by(provider, content=content)
        with pytest.raises(StoreError):
            pipeline.ask(QUESTION)
        root, stages = taken(provider)
        for span in (root, stages["cite extractive"]):
            assert span.status.status_code is StatusCode.ERROR
            assert span.attributes["error.type"] == "StoreError"
        assert stages["keep"].status.status_code is StatusCode.UNSET
        [event] = root.events
        assert (event.name, event.attributes["exception.type"]) == ("exception", "fovea.rag.errors.StoreError")
        assert ("armstrong" in str(root.to_json())) is content
        assert "sk-1234" not in root.to_json(), "what a provider said is not ours to write down"


def test_no_question_and_no_text_unless_asked_for(pipeline, provider):
    pipeline.ask(QUESTION, where="suffix == '.txt'")
    pipeline.retrieve(QUESTION)
    spans = provider.exporter.get_finished_spans()
    said = "".join(span.to_json() for span in spans)
    assert not any(word in said for word in ("walked", "Armstrong", "orbits", "Danube", "moon.txt"))
    provider.exporter.clear()
    pipeline.traced_by(provider, content=True).ask(QUESTION)
    root, stages = taken(provider)
    assert root.attributes["gen_ai.retrieval.query.text"] == QUESTION
    assert stages["retrieval bm25"].attributes["gen_ai.retrieval.query.text"] == QUESTION
    assert "orbits" not in "".join(span.to_json() for span in (root, *stages.values()))


def test_a_models_name_and_its_tokens(pipeline, provider, monkeypatch):
    from fovea.pipelines.otel import _step
    from fovea.rag.trace import Stage

    stage = Stage("generate chat")
    stage.count(input_tokens=120, output_tokens=7, pieces=3)

    class Chat:
        name, model = "chat", "openai:gpt-x"

    name, attributes = _step(pipeline.spec.model_copy(update={"generate": Chat()}), stage)
    assert name == "chat gpt-x"
    assert {key: value for key, value in attributes.items() if key.startswith("gen_ai")} == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-x",
        "gen_ai.usage.input_tokens": 120, "gen_ai.usage.output_tokens": 7,
    }  # fmt: skip


def test_yaml_opts_in(make):
    assert make()._telemetry is None
    assert not make(telemetry="otel")._telemetry.content
    assert make(telemetry="otel_with_content")._telemetry.content
    with pytest.raises(ConfigErrors, match="otel"):
        make(telemetry="statsd")


def test_without_opting_in_nothing_is_imported():
    code = (
        "import sys; from fovea import Pipeline; Pipeline(encoder='hash'); "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
