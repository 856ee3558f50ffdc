"""The conformance suite over every registered selection."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

pytest.importorskip("numba")

from fovea.attention_retrieval.attention import Attention
from fovea.attention_retrieval.selection.gated import GatedSelection
from fovea.attention_retrieval.selection.reading import ReadingSelection
from fovea.attention_retrieval.testing.selections import check_selection
from fovea.rag import registry
from tests.gates_of_tests import gates


@pytest.mark.parametrize("name", registry.names("selection"))
def test_selection_keeps_the_contract(name, tmp_path):
    """One that drops rows on purpose is near attention over all of them where it may read all."""
    found = registry.find("selection", name)
    learned = {"gates": gates(tmp_path, name)} if issubclass(found, GatedSelection) else {}
    check_selection(found(top_k=4096, **learned) if issubclass(found, ReadingSelection) else found())


@pytest.mark.parametrize("beside", [{"top_k": 5}, {"top_k": 0}, {"engine": "flat"}, {"reuse": True}])
def test_what_a_selection_takes_the_place_of_is_refused_beside_it(beside):
    (name,) = beside
    with pytest.raises(ValidationError, match=rf"select: \{{use: wave\}} takes the place of {name}"):
        Attention.model_validate({"use": "retrieval", "select": {"use": "wave"}, **beside})
    assert Attention.model_validate({"use": "retrieval", **beside}).select is None
