"""Pipelines with an encoder as its makers saved it: taken in, kept, opened and asked; another cut is another store."""

import json

import pytest

pytest.importorskip("sentence_transformers")

from fovea.pipelines.pipeline import Pipeline
from fovea.rag.errors import StoreError
from tests.saved_models import PROMPTS, Maker, static


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOVEA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield Maker(tmp_path_factory.mktemp("saved"))


def stages(folder, **settings):
    encoder = {"use": "sentence_transformer", "model": str(folder), "device": "cpu", **settings}
    return {"encoder": encoder, "retrieve": [{"use": "dense"}, {"use": "bm25"}]}


def test_cut_and_prompted_models_are_taken_in_kept_opened_and_asked(made, docs, tmp_path):
    from sentence_transformers.models import Router

    towers = Router.for_query_document([static(seed=1)], [static(seed=2)])
    for i, modules in enumerate((made.pooled(), made.pooled(include_prompt=False), [towers])):
        told = stages(made.save(f"taken_{i}", modules, prompts=PROMPTS, truncate_dim=8))
        store = {"use": "embedded", "path": f"store_{i}"}
        with Pipeline(base=tmp_path, store=store, **told) as pipeline:
            report = pipeline.ingest(docs)
            assert report.ok
            assert report.chunks
        with Pipeline(base=tmp_path, store=store, **told) as pipeline:
            [hit] = pipeline.retrieve("How hot is green tea?", k=1)
            corpus = pipeline.corpus
            assert corpus.vectors([hit.chunk]).shape == (1, 8)
            dense = float(corpus.vectors([hit.chunk])[0] @ corpus.encoder.encode(["How hot is green tea?"], "query")[0])
            assert hit.scores["dense"] == pytest.approx(dense, abs=1e-5)
            assert pipeline.verify() == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"truncate_dim": 16}, "truncate_dim null, here 16"),
        ({"document_prompt": "tea "}, 'document_prompt null, here "tea "'),
        ({"query_prompt_name": "document"}, 'query_prompt_name null, here "document"'),
    ],
)
def test_a_store_of_another_cut_or_prompt_says_so_and_how_it_is_mended(made, docs, tmp_path, other, said):
    folder = made.save("other", made.pooled(), prompts=PROMPTS)
    with Pipeline(base=tmp_path, **stages(folder)) as pipeline:
        pipeline.ingest(docs)
        assert pipeline.corpus.vectors(list(pipeline.corpus.chunks())).shape[1] == 32
    with Pipeline(base=tmp_path, **stages(folder, **other)) as pipeline:
        with pytest.raises(StoreError) as caught:
            pipeline.retrieve("tea")
        assert f"made by another encoder: {said} (" in str(caught.value)
        assert "fix: fovea ingest --rebuild encodes everything anew" in str(caught.value)
        pipeline.ingest(docs, rebuild=True)
        assert pipeline.retrieve("tea")


def test_a_model_that_changed_in_place_is_another(made, docs, tmp_path):
    folder = made.save("changed", made.pooled(), prompts=PROMPTS)
    with Pipeline(base=tmp_path, **stages(folder)) as pipeline:
        pipeline.ingest(docs)
    settings = folder / "config_sentence_transformers.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"prompts": {"query": "moon "}}))
    said = f"its settings are the same, but not what {folder} holds"
    with Pipeline(base=tmp_path, **stages(folder)) as pipeline, pytest.raises(StoreError, match=said):
        pipeline.retrieve("tea")
