"""What a pipeline asks of the machine and does not find there: packages, models, weights, servers.

Each component says for itself what it requires (`Component.requirements`), plug-ins included; here all of them are
looked at in one pass, each lack with the place of its stage in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import get_origin

from pydantic import ValidationError

from fovea.pipelines.spec.explain import models_in
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.pipelines.spec.presets import PRESETS
from fovea.pipelines.spec.yaml_source import Place, Source
from fovea.rag.component import Component
from fovea.rag.encoder import Encoder
from fovea.rag.errors import ConfigError, FoveaError, FoveaErrors, require
from fovea.rag.requirements import Requirement

Stage = tuple[Place, Component]
READING = ("encoder", "segment", "pool", "situate")
"""The stages that every document goes through."""


def lacks(source: Source, spec: PipelineSpec | None, *, offline: bool = False) -> list[FoveaError]:
    """What the stages lack here. Without a spec, because something in the file is wrong, those stages are looked at
    that are right by themselves. `offline` asks no server and loads nothing heavy.
    """
    if not isinstance(source.data, dict):
        return []
    found = [stage for stage in stages(source, spec) if not _named_by_unset(stage[0], source)]
    of_stages = list(_lacks(source, found, lambda one: one.offline or not offline))
    return [*of_stages, *(_settings_lack(source, spec) if spec else ())]


def _settings_lack(source: Source, spec: PipelineSpec) -> Iterator[FoveaError]:
    """What is not of a stage: the keys of a server that variables hold, and the package that telemetry asks for."""
    for number, key in enumerate(spec.serve.keys if spec.serve else ()):
        try:
            key.digest()
        except FoveaError as error:
            error.where = f"{source.where(('serve', 'keys', number))}: serve.keys"
            yield error
    if spec.telemetry:
        try:
            require("opentelemetry.trace", extra="otel", needed_by="telemetry")
        except FoveaError as error:
            yield _placed(error, ("telemetry",), source)


def refuse_before_reading(source: Source, spec: PipelineSpec) -> None:
    """Raise, once and before a file is opened, what would else fail with every one of them."""
    found = [stage for stage in stages(source, spec) if stage[0][0] in READING]
    errors = list(_lacks(source, found, lambda one: one.offline and not one.fetched))
    if errors:
        raise errors[0] if len(errors) == 1 else FoveaErrors(errors)


def stages(source: Source, spec: PipelineSpec | None) -> Iterator[Stage]:
    """The components of a pipeline and their places."""
    given = vars(spec) if spec else {**PRESETS.get(str(source.data.get("preset")), {}), **source.data}
    for key, field in PipelineSpec.model_fields.items():
        kind = next(models_in(field.annotation), None)
        if kind is None or not issubclass(kind, Component):
            continue
        value = given.get(key, field.get_default(call_default_factory=True))
        for number, one in enumerate(value if isinstance(value, (list, tuple)) else [value]):
            with suppress(ValidationError, FoveaError):
                if one is not None:
                    place = (key, number) if get_origin(field.annotation) is list else (key,)
                    yield place, kind.model_validate(one, context=source.context)


def _lacks(source: Source, found: Iterable[Stage], asked: Callable[[Requirement], bool]) -> Iterator[FoveaError]:
    found = list(found)
    encoder = next((one for place, one in found if place == ("encoder",)), None)
    if encoder is not None:
        missing = [_placed(error, ("encoder",), source) for error in lacks_of(encoder, None, asked)]
        yield from missing
        encoder = None if missing else encoder
    for place, component in found:
        if not isinstance(component, Encoder):
            yield from (_placed(error, place, source) for error in lacks_of(component, encoder, asked))


def lacks_of(
    component: Component, encoder: Component | None, asked: Callable[[Requirement], bool] = lambda one: True
) -> list[FoveaError]:
    """What one component lacks beside this encoder, each thing once."""
    errors: dict[str, FoveaError] = {}
    for requirement in component.requirements(encoder):
        if asked(requirement):
            try:
                requirement.check()
            except FoveaError as error:
                errors.setdefault(error.what, error)
            except Exception as error:  # a broken library raises anything when it is asked
                words = " ".join(str(error).split())[:300]
                fault = FoveaError(f"{requirement.what} cannot be used: {type(error).__name__}: {words}")
                errors.setdefault(fault.what, fault)
    return list(errors.values())


def _placed(error: FoveaError, place: Place, source: Source) -> FoveaError:
    error.where = f"{source.where(place)}: {place_name(place)}"
    return error


def place_name(place: Place) -> str:
    """`encoder`, `segment[0]`: a stage as messages name it."""
    key, *number = place
    return f"{key}{number or ''}"


def _named_by_unset(place: Place, source: Source) -> bool:
    """Whether something in a stage is the name of a variable that is not set."""
    stage = place if isinstance(source.data.get(place[0]), list) else place[:1]
    return any(unset[: len(stage)] == stage for unset in source.unset)


def exit_code(errors: Iterable[FoveaError]) -> int:
    """2 where something in the file is wrong, 1 where only the machine lacks something, 0 for nothing."""
    codes = [2 if isinstance(error, ConfigError) else 1 for error in errors]
    return max(codes, default=0)
