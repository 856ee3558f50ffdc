"""`true` is no number: in no setting of any component, at any depth, nor in what stands around components."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from fovea.pipelines.answering.read_once import Memory
from fovea.pipelines.conversation.settings import Conversation
from fovea.pipelines.server.settings import ServeSettings
from fovea.pipelines.server.shapes import Question
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.pipelines.sweep.study_spec import Limits, Prune, Search
from fovea.rag import registry
from fovea.rag.written import Written

COMPONENTS = [cls for kind in registry.kinds() for cls in registry.components(kind).values()]
OTHERS = [Memory, Conversation, ServeSettings, Question, PipelineSpec, Limits, Prune, Search]
SAID = (True, [True], [[False, 1]], [[[True]]], {"of": True})


def mentioned(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from mentioned(part)


@pytest.mark.parametrize("cls", [*COMPONENTS, *OTHERS], ids=lambda cls: f"{getattr(cls, 'kind', '')} {cls.__name__}")
def test_no_setting_takes_true_for_a_number(cls: type[BaseModel]) -> None:
    for key, info in cls.model_fields.items():
        types = set(map(str, mentioned(info.annotation)))
        if not types & {str(int), str(float)} or types & {str(bool), str(Any)}:
            continue
        for said in SAID:
            with pytest.raises(ValidationError) as caught:
                cls.model_validate({key: said})
            assert key in {str(error["loc"][0]) for error in caught.value.errors() if error["loc"]}, (key, said)


@given(beyond=st.integers(1 << 63, 1 << 200), negative=st.booleans())
@settings(max_examples=5)
def test_no_setting_takes_a_number_of_more_than_64_bits(beyond: int, negative: bool) -> None:
    said = -beyond if negative else beyond
    for cls in COMPONENTS:
        for key, info in cls.model_fields.items():
            if str(int) not in set(map(str, mentioned(info.annotation))) or "dict" in str(info.annotation):
                continue
            for given_as in (said, [said], [[said, said]]):
                with pytest.raises(ValidationError) as caught:
                    cls.model_validate({key: given_as})
                assert key in {str(error["loc"][0]) for error in caught.value.errors() if error["loc"]}, (cls, key)


def test_what_may_be_either_stays_what_was_said() -> None:
    class Either(Written):
        model_config = ConfigDict(frozen=True)
        switch: bool | int = 0
        switches: list[bool | float] = []
        anything: dict[str, Any] = {}

    said = {"switch": True, "switches": [True, 0.5], "anything": {"a": [False, 1]}}
    assert Either.model_validate(said).model_dump() == said


def test_the_error_names_the_place() -> None:
    with pytest.raises(ValidationError) as caught:
        Prune.model_validate({"after": [25, True]})
    assert [(error["loc"], error["type"]) for error in caught.value.errors()] == [(("after",), "number_type")]
