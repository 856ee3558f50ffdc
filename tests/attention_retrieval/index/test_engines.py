"""The conformance suite over every registered engine."""

from __future__ import annotations

import pytest

from fovea.attention_retrieval.testing.engines import check_engine
from fovea.rag import registry

pytest.importorskip("numba")


@pytest.mark.parametrize("name", registry.names("engine"))
def test_engine_keeps_the_contract(name):
    check_engine(registry.find("engine", name)())
