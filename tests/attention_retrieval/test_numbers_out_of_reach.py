"""A number that no text and no machine has room for is refused at its name, or is as good as all there is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import ValidationError

torch = pytest.importorskip("torch")
pytest.importorskip("numba")
from transformers import AutoModelForCausalLM, LlamaConfig  # noqa: E402

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.rag import registry  # noqa: E402
from fovea.rag.errors import ConfigError  # noqa: E402
from tests.tiny_lms import SMALL as SMALL_LM  # noqa: E402
from tests.tiny_lms import text  # noqa: E402

HEADS, TOKENS = 4, 150
PLACES = {"engine": "engine", "correction": "correct", "eviction": "evict", "heads": "heads", "prefill": "prefill"}
"""Where each kind stands under `attention:`; what a selection does is asked in `selection/test_huge_settings.py`."""
SCORES = [[1.0, 0.0] * (HEADS // 2)]
WANTED: dict[str, dict[str, Any]] = {
    "retrieval_heads": {"scores": SCORES},
    "duo": {"scores": [[1.0]]},
    "razor": {"scores": {"echo": SCORES, "induction": SCORES}},
    "moa": {"plan": {"alphas": SCORES, "betas": SCORES}},
    "act": {"heads": [[0, 1]]},
}
SMALL = {"dense_below": 0, "window": 16, "exact": 64, "min_budget": 32, "block": 32, "segment": 64, "keep": 64}
"""So that there is a choice to make in a text this short."""


def parts(annotation: Any) -> Iterator[Any]:
    """An annotation and all within it."""
    yield annotation
    for part in get_args(annotation):
        yield from parts(part)


def numbers(*kinds: str) -> list[tuple[str, str, str]]:
    """Settings that are a number, or hold some: kind, name, key."""
    found = [(kind, cls) for kind in kinds for cls in registry.components(kind).values()]
    return [
        (kind, cls.name, key)
        for kind, cls in found
        for key, info in cls.model_fields.items()
        if any(part in (int, float) for part in parts(info.annotation))
    ]


def said(kind: str, name: str, key: str, number: float) -> list[dict[str, Any]]:
    """A component's settings with the number at `key`; where that holds several, in the place of each."""
    cls = registry.find(kind, name)
    usual = cls.model_fields[key].get_default(call_default_factory=True)
    there = [number]
    if isinstance(usual, tuple):
        there = [[*usual[:n], put(usual[n], number), *usual[n + 1 :]] for n in range(len(usual))]
    small = {each: SMALL[each] for each in SMALL if each in cls.model_fields and each != key}
    if kind != "prefill" and key == "keep":
        small.pop("window", None)
    if key == "window":
        small.pop("keep", None)
    return [{"use": name, **WANTED.get(name, {}), **small, key: each} for each in there]


def put(usual: Any, number: float) -> Any:
    """The number, or the same pair with it."""
    return [number, *usual[1:]] if isinstance(usual, tuple) else number


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 2**70, -(2**70)])
def test_what_is_no_number_of_64_bits_is_refused(number):
    for kind, name, key in numbers(*PLACES, "selection", "attention"):
        for one in said(kind, name, key, number):
            try:
                registry.find(kind, name).model_validate(one)
            except ValidationError as error:
                assert key in str(error), (kind, one)
            else:
                assert math.isfinite(number), (kind, one)
                assert float in parts(registry.find(kind, name).model_fields[key].annotation), (kind, one)


@pytest.fixture(scope="module")
def lm():
    config = LlamaConfig(**{**SMALL_LM, "num_hidden_layers": 1}, num_attention_heads=HEADS, num_key_value_heads=1)
    return AutoModelForCausalLM.from_config(config, attn_implementation="fovea_retrieval").eval()


@pytest.mark.parametrize(("kind", "name", "key"), numbers(*PLACES))
@pytest.mark.usefixtures("one_thread")
def test_a_number_beyond_every_text(kind, name, key, lm):
    """Nearly as large as a float is, or whole: odd, or a multiple of every size."""
    rest = {"correct": None} if kind == "engine" else {"engine": "flat"} if kind == "correction" else {}
    for number in (1e300, 2**62 + 1, 2**62):
        each = [
            {"sinks": 4, "window": 16, "dense_below": 0, **rest, PLACES[kind]: one}
            for one in said(kind, name, key, number)
        ]
        if any([right(lm, settings, key) for settings in each]):
            break


def right(lm: Any, settings: dict[str, Any], key: str) -> bool:
    """Whether a text is read and gone on with; else `key` is refused."""
    try:
        cache = RetrievalCache(lm.config, Retrieval.model_validate(settings))
        with torch.inference_mode():
            lm(text(TOKENS), cache=cache)
            logits = lm(text(1), cache=cache).logits
    except (ValidationError, ConfigError) as error:
        assert key in str(error), settings
        return False
    assert torch.isfinite(logits).all(), settings
    return True
