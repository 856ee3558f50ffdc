"""A size beyond all texts is refused at its name, or is as good as all there is: it never runs out of memory."""

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

pytest.importorskip("numba")

from fovea.attention_retrieval.selection.selection import Selection
from fovea.attention_retrieval.testing.selections import START, layer, nothing
from fovea.rag import registry

SIZES = [
    (name, key)
    for name, cls in registry.components("selection").items()
    for key, info in cls.model_fields.items()
    if (info.annotation is int or int in get_args(info.annotation)) and key != "threads"
]


@pytest.mark.parametrize(("name", "key"), SIZES)
@given(huge=st.one_of(st.integers(10**6, (1 << 63) - 1), st.sampled_from([10**9, 10**12, (1 << 63) - 1])))
@settings(max_examples=6)
def test_sizes(name: str, key: str, huge: int) -> None:
    said: dict[str, Any] = {"use": name, key: huge}
    if key != "top_k" and "top_k" in registry.find("selection", name).model_fields:
        said["top_k"] = huge  # as many as a block's rows at the least
    try:
        selection = Selection.model_validate(said)
    except ValidationError as error:
        assert key in str(error)
        return
    text = layer(400)
    selected = selection.over(text.keys, text.values, START, 380, seed=3)
    selected.insert(400)
    q = text.asked(3, seed=1)
    assert np.isfinite(selected.attend(q, nothing(q)).part.out).all()
