"""The conformance suite over every registered selection."""

from __future__ import annotations

import pytest

pytest.importorskip("numba")

from fovea.attention_retrieval.testing.selections import check_selection
from fovea.rag import registry


@pytest.mark.parametrize("name", registry.names("selection"))
def test_selection_keeps_the_contract(name):
    check_selection(registry.find("selection", name)())
