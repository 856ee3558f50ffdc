"""`fovea check` and ingestion say what the machine lacks: all of it, once, with place and mend."""

import socket
import sys

import pytest

from fovea.pipelines.cli.main import main
from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.spec import yaml_source
from fovea.pipelines.spec.check import checked
from fovea.pipelines.spec.lacks import exit_code, lacks
from fovea.rag import chat, registry
from fovea.rag import requirements as required
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.requirements import Requirement
from fovea.rag.retrieval import Refiner
from tests.learned_weights import WEIGHTS, weights_of


def said(text: str, *, offline: bool = True) -> list[str]:
    source = yaml_source.parse(text, file="p.yaml", lenient=True)
    spec, wrong = checked(source)
    return [str(error) for error in (*wrong, *lacks(source, spec, offline=offline))]


@pytest.fixture
def without(monkeypatch):
    """Makes modules unknown to this process, as on a machine where they were never installed."""

    def hide(*modules: str) -> None:
        has = required.has
        for place in (required, chat):
            monkeypatch.setattr(place, "has", lambda module: module not in modules and has(module))

    return hide


def test_a_pipeline_that_needs_nothing_lacks_nothing():
    assert said("encoder: hash\n") == []


def test_every_extra_is_named_at_its_stage(without):
    without("chromadb", "bm25s", "dateparser", "faiss", "transformers", "sentence_transformers")
    text = """\
encoder: hash
store: chroma
retrieve:
  - dense
  - use: bm25s
refine:
  - time_scope
  - use: cross_encoder
    model: /no/such/folder
generate:
  use: transformers
  model: /nor/this
  attention: {use: retrieval, engine: {use: fast_scan}}
"""
    assert said(text) == [
        "p.yaml:2:8: store: the store 'chroma' needs the package 'chromadb', which is not installed\n"
        '  fix: pip install "fovea-rag[chroma]"',
        "p.yaml:5:5: retrieve[1]: the retriever 'bm25s' needs the package 'bm25s', which is not installed\n"
        '  fix: pip install "fovea-rag[bm25s]"',
        "p.yaml:7:5: refine[0]: the refiner 'time_scope' needs the package 'dateparser', which is not installed\n"
        '  fix: pip install "fovea-rag[time]"',
        "p.yaml:8:5: refine[1]: the refiner 'cross_encoder' needs the package 'sentence_transformers', which is not "
        'installed\n  fix: pip install "fovea-rag[models]"',
        "p.yaml:8:5: refine[1]: there is no model folder '/no/such/folder'\n"
        "  fix: give an existing folder, or a hub name ORG/NAME",
        "p.yaml:11:3: generate: the generator 'transformers' needs the package 'transformers', which is not installed\n"
        '  fix: pip install "fovea-rag[local]"',
        "p.yaml:11:3: generate: the attention 'retrieval' needs the package 'transformers', which is not installed\n"
        '  fix: pip install "fovea-rag[attention]"',
        "p.yaml:11:3: generate: the engine 'fast_scan' needs the package 'faiss', which is not installed\n"
        '  fix: pip install "fovea-rag[faiss]"',
        "p.yaml:11:3: generate: there is no model folder '/nor/this'\n"
        "  fix: give an existing folder, or a hub name ORG/NAME",
    ]


@pytest.mark.parametrize("index", ["hnsw", "ivf"])
def test_a_graph_needs_faiss_and_exact_search_does_not(without, index):
    without("faiss")
    assert "fovea-rag[faiss]" in said(f"encoder: hash\nstore: {{use: embedded, index: {index}}}\n")[0]
    assert said("encoder: hash\nstore: {use: embedded, index: flat}\n") == []


def test_a_stated_back_end_is_looked_for(without, tiny_folder):
    without("openvino")
    [one] = said(f"encoder: {{use: sentence_transformer, model: {tiny_folder}, backend: openvino}}\n")
    assert one.startswith("p.yaml:1:10: encoder: the encoder 'sentence_transformer' needs the package 'openvino'")
    assert said(f"encoder: {{use: sentence_transformer, model: {tiny_folder}}}\n") == []


def test_a_model_of_no_cache_is_named_whether_or_not_it_could_be_downloaded():
    found = said("encoder: {use: sentence_transformer, model: nobody/nothing}\nsegment: pointer\n")
    assert len(found) == 1, "what an encoder's weights are for cannot be said without the encoder"
    assert found[0].startswith("p.yaml:1:10: encoder: the model 'nobody/nothing' is not in")


READ = {
    "segment": ("sage", "pointer", "hnet_sentence", "topical_change", "dialogue"),
    "retrieve": ("query_map", "event_aware", "lexsembridge"),
    "refine": ("reranker",),
}


@pytest.mark.parametrize(("stage", "name"), [(stage, name) for stage, names in READ.items() for name in names])
def test_weights_of_another_encoder_are_refused_with_both_names(stage, name):
    [one] = said(f"encoder: hash\n{stage}: {name}\n")
    assert one.startswith(f"p.yaml:2:{len(stage) + 3}: {stage}[0]: the weights ")
    assert "read vectors of sentence-transformers/all-MiniLM-L6-v2 (384 numbers), the encoder here is hash (256)" in one
    assert "fix: encoder: {use: sentence_transformer, model: sentence-transformers/all-MiniLM-L6-v2}" in one
    kind = {"segment": "segmenter", "retrieve": "retriever", "refine": "refiner"}[stage]
    with pytest.raises(ConfigError, match="the encoder here is hash"):
        registry.find(kind, name)().fit(HashEncoder())


def test_situator_and_its_retriever_are_each_looked_at():
    found = said("encoder: hash\nsituate: sitemb\nretrieve: [sitemb, bm25]\n")
    assert [one.split(": ")[1] for one in found] == ["situate", "retrieve[0]"]
    assert said("encoder: hash\nsegment: hnet_bytes\n") == [], "bytes have no encoder"


@pytest.mark.parametrize("name", sorted(set(WEIGHTS) - {"sitemb"}))
def test_weights_that_fit_are_fine(name):
    kind = next(k for k in ("segmenter", "retriever", "refiner") if name in registry.names(k))
    stage = {"segmenter": "segment", "retriever": "retrieve", "refiner": "refine"}[kind]
    weights = weights_of(name, HashEncoder())
    assert said(f"encoder: hash\n{stage}: {{use: {name}, weights: {weights}}}\n") == []


def test_a_segmenter_with_an_encoder_of_its_own_is_held_to_that():
    weights = weights_of("sage", HashEncoder(size=64))
    own = f"encoder: hash\nsegment: {{use: sage, weights: {weights}, encoder: {{use: hash, size: %d}}}}\n"
    assert said(own % 64) == []
    assert "the encoder here is hash (32)" in said(own % 32)[0]


def test_weights_that_are_nowhere_are_named_even_without_an_encoder():
    [one] = said("encoder: hash\nsegment: {use: pointer, weights: /no/weights}\n")
    assert one.startswith("p.yaml:2:10: segment[0]: there are no weights at /no/weights\n  fix: fovea train segmenter")


def test_wrong_settings_and_lacks_come_in_one_pass(monkeypatch):
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    text = """\
encoder: hash
segment: sage
retrieve:
  - bogus
  - query_map
refine:
  - use: cross_encoder
    model: ${NOT_SET_HERE}
k: many
"""
    assert [one.split(": ", 1)[1].split("\n")[0][:60] for one in said(text)] == [
        "the environment variable NOT_SET_HERE is not set",
        "retrieve[0]: unknown retriever 'bogus'",
        "k: input should be a valid integer, unable to parse string a",
        "segment[0]: the weights 'sage' of sage read vectors of sentence-transformer"[:60],
        "retrieve[1]: the weights 'query_map' of query_map read vectors of"[:60],
    ]


def test_order_of_stages_is_told_beside_what_is_missing():
    found = said("encoder: hash\nsegment: sage\nrefine: [{use: token_budget, max_tokens: 9}, neighbours]\n")
    assert "neighbours undoes the token budget" in found[0]
    assert "segment[0]: the weights 'sage'" in found[1]


@pytest.mark.parametrize(
    ("model", "package"),
    [
        ("ollama:qwen3", "langchain-ollama"), ("anthropic:x", "langchain-anthropic"), ("bedrock:x", "langchain-aws"),
        ("google-genai:x", "langchain-google-genai"), ("nvidia:x", "langchain-nvidia-ai-endpoints"),
    ],
)  # fmt: skip
def test_a_provider_without_its_package_is_a_pip_line(without, model, package):
    without(package.replace("-", "_"))
    [one] = said(f'encoder: hash\ngenerate: {{use: chat, model: "{model}"}}\n')
    assert one == (
        f"p.yaml:2:11: generate: the model {model!r} needs the package {package!r}, which is not installed\n"
        f"  fix: pip install {package}"
    )
    found = registry.find("generator", "chat")(model=model)
    with pytest.raises(Exception, match=package):
        _ = found.client


def test_a_missing_key_is_found_without_asking_anybody(monkeypatch):
    pytest.importorskip("langchain_openai")
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    text = 'encoder: hash\ngenerate: {use: chat, model: "openai:gpt-4o-mini"}\n'
    [one] = said(text, offline=False)
    assert "p.yaml:2:11: generate: the model 'openai:gpt-4o-mini' has no key" in one
    assert said(text) == [], "offline loads no client"


def test_a_server_that_does_not_answer_is_named_unless_offline():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        text = f'encoder: hash\nstore: {{use: qdrant, url: "http://127.0.0.1:{port}"}}\n'
        [one] = said(text, offline=False)
        assert f"store: the store 'qdrant' asks http://127.0.0.1:{port}, and nothing answers there" in one
        assert said(text) == []
        listening.listen()
        assert said(text, offline=False) == []


def test_a_plug_in_says_for_itself_what_it_needs(monkeypatch):
    class Picky(Refiner):
        def refine(self, query, hits, corpus):
            return list(hits)

        def requirements(self, encoder=None):
            yield from super().requirements(encoder)

            def check():
                raise ModelError("the moon is not full", fix="wait")

            def broken():
                raise OSError("no libmoon.so")

            yield Requirement("the moon", check)
            yield Requirement("libmoon", broken)

    monkeypatch.setitem(registry._components, ("refiner", "picky"), type("P", (Picky,), {"name": "picky"}))
    assert said("encoder: hash\nrefine: picky\n") == [
        "p.yaml:2:9: refine[0]: the moon is not full\n  fix: wait",
        "p.yaml:2:9: refine[0]: libmoon cannot be used: OSError: no libmoon.so",
    ]


def test_exit_codes_tell_the_file_from_the_machine():
    assert exit_code([]) == 0
    assert exit_code([ModelError("x")]) == 1
    assert exit_code([ModelError("x"), ConfigError("y")]) == 2


def test_the_verb_prints_all_and_its_switches_leave_out(tmp_path, capsys):
    path = tmp_path / "p.yaml"
    path.write_text("encoder: {use: sentence_transformer, model: ./nowhere}\nrefine: {use: reranker, weights: /none}\n")
    assert main(["check", str(path)]) == 1
    assert capsys.readouterr().err.count(f"{path}:") == 2
    assert main(["check", str(path), "--schema-only"]) == 0
    assert "fine" in capsys.readouterr().out
    path.write_text("encoder: hash\nsegment: sage\n")
    assert main(["check", str(path), "--offline"]) == 2


def test_ingestion_refuses_once_and_before_it_reads_what_would_fail_with_every_file(tmp_path, docs):
    (tmp_path / "p.yaml").write_text("encoder: hash\nsegment: [sage, {use: topical_change, max_tokens: 50}]\n")
    with Pipeline.from_yaml(tmp_path / "p.yaml") as pipeline, pytest.raises(Exception, match="weights") as caught:
        pipeline.ingest(docs)
    assert str(caught.value).count("the weights") == 2
    assert f"{tmp_path}/p.yaml:2:11: segment[0]: the weights 'sage'" in str(caught.value)
    assert caught.value.exit_code == 2
    assert not (tmp_path / ".fovea").exists()


def test_ingestion_does_not_ask_for_what_only_questions_need(tmp_path, docs, without):
    without("bm25s")
    (tmp_path / "p.yaml").write_text("encoder: hash\nretrieve: [dense, bm25s, query_map]\n")
    with Pipeline.from_yaml(tmp_path / "p.yaml") as pipeline:
        assert len(pipeline.ingest(docs).added) == 3


def test_what_is_of_no_stage_is_looked_for_too(monkeypatch):
    text = """\
encoder: hash
telemetry: otel
serve:
  keys:
    - {name: ann, env: FOVEA_TEST_ANN}
    - {name: bob, env: FOVEA_TEST_BOB}
"""
    monkeypatch.setenv("FOVEA_TEST_ANN", "a key of the tests, long enough")
    monkeypatch.delenv("FOVEA_TEST_BOB", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    key, package = said(text)
    assert key.startswith("p.yaml:6:7: serve.keys: the environment variable FOVEA_TEST_BOB of the key 'bob' is not set")
    assert package.startswith("p.yaml:2:12: telemetry: telemetry needs the package 'opentelemetry")
    assert 'pip install "fovea-rag[otel]"' in package
