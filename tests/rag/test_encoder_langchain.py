"""LangChain's Embeddings in ours, and ours in LangChain."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("langchain_core")

from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import BaseModel, SecretStr, ValidationError

from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag.encoder import Encoder
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.encoders.langchain import LangChainEncoder, as_langchain
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.testing.encoders import PLAIN, check_encoder


class Anagrams(Embeddings):
    """Counts letters; not a pydantic model, so it does not say who it is."""

    def embed_documents(self, texts):
        return [[float(text.lower().count(c)) for c in "abcdefghijklmnopqrstuvwxyz0123456789 "] for text in texts]

    def embed_query(self, text):
        return self.embed_documents([text])[0]


class Settled(Anagrams, BaseModel):
    """The same with settings, as LangChain's own are made."""

    model: str = "letters"
    dimensions: int = 37
    api_key: SecretStr = SecretStr("secret")
    plain_key: str = ""


def test_any_embeddings_conform():
    check_encoder(LangChainEncoder(embeddings=DeterministicFakeEmbedding(size=24)))
    check_encoder(LangChainEncoder(embeddings=Anagrams(), identity="letters 1"))
    check_encoder(LangChainEncoder(embeddings=Anagrams(), identity="letters 1", max_tokens=20))


def test_vectors_are_those_of_the_object_scaled_to_unit_length():
    theirs = np.array(Anagrams().embed_documents(PLAIN), dtype=np.float32)
    ours = LangChainEncoder(embeddings=Settled()).encode(PLAIN)
    np.testing.assert_allclose(ours, theirs / np.linalg.norm(theirs, axis=1, keepdims=True), atol=1e-6)


def test_an_embeddings_object_is_accepted_where_an_encoder_is():
    spec = PipelineSpec(encoder=Settled())
    assert isinstance(spec.encoder, LangChainEncoder)
    assert spec.encoder.dim == 37
    with pytest.raises(ValidationError):
        PipelineSpec(encoder=object())


def test_fingerprints_tell_objects_apart_and_hold_no_secret():
    one = LangChainEncoder(embeddings=Settled())
    assert one.fingerprint == LangChainEncoder(embeddings=Settled(api_key=SecretStr("other"))).fingerprint
    assert one.fingerprint == LangChainEncoder(embeddings=Settled(plain_key="other")).fingerprint
    assert one.fingerprint != LangChainEncoder(embeddings=Settled(model="letters 2")).fingerprint
    sizes = {LangChainEncoder(embeddings=DeterministicFakeEmbedding(size=n)).fingerprint for n in (8, 9)}
    assert len(sizes | {one.fingerprint}) == 3
    assert "secret" not in repr(one) + str(one.settings())


def test_an_object_that_does_not_say_who_it_is_must_be_named():
    with pytest.raises(ConfigError, match="identity"):
        Encoder.model_validate(Anagrams())
    named = LangChainEncoder(embeddings=Anagrams(), identity="letters 1")
    assert named.fingerprint != LangChainEncoder(embeddings=Anagrams(), identity="letters 2").fingerprint


def test_yaml_cannot_make_one():
    with pytest.raises(ValidationError, match="embeddings"):
        Encoder.model_validate({"use": "langchain"})


class Broken(Settled):
    fault: str = ""

    def embed_documents(self, texts):
        if self.fault == "raises":
            raise TimeoutError("the service is asleep")
        if self.fault == "short":
            return super().embed_documents(texts)[1:]
        return [[float("nan")] * 3 for _ in texts]


@pytest.mark.parametrize(("fault", "message"), [("raises", "asleep"), ("short", "gave"), ("nan", "not finite")])
def test_a_service_that_fails_is_an_error_never_a_number(fault, message):
    with pytest.raises(ModelError, match=message):
        LangChainEncoder(embeddings=Broken(fault=fault)).encode(["a", "b"])


def test_ours_serves_langchain():
    encoder = HashEncoder(size=64)
    theirs = as_langchain(encoder)
    assert isinstance(theirs, Embeddings)
    np.testing.assert_allclose(theirs.embed_documents(PLAIN), encoder.encode(PLAIN), atol=1e-7)
    np.testing.assert_allclose(theirs.embed_query("tea"), encoder.encode(["tea"], "query")[0], atol=1e-7)
    store = InMemoryVectorStore(theirs)
    store.add_texts(PLAIN)
    assert store.similarity_search("green tea is brewed", k=1)[0].page_content == PLAIN[1]


def test_there_and_back_is_the_same_encoder():
    encoder = HashEncoder(size=64)
    back = LangChainEncoder(embeddings=as_langchain(encoder), identity="hash 64")
    np.testing.assert_allclose(back.encode(PLAIN), encoder.encode(PLAIN), atol=1e-6)


def test_importing_the_module_imports_no_langchain():
    code = "import sys, fovea.rag.encoders.langchain; print([m for m in sys.modules if m.startswith('langchain_core')])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
