"""From YAML to a PipelineSpec: all that is wrong with the settings, in one pass, each with file:line:column.

What they ask of the machine (packages, models, weights) is looked at in `fovea.pipelines.spec.lacks`.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from fovea.pipelines.spec import yaml_source
from fovea.pipelines.spec.explain import explained, shown
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag.errors import ConfigError, ConfigErrors


def load_spec(path: Path) -> PipelineSpec:
    """Read and check a pipeline's YAML file; raises ConfigErrors with file:line:column for all that is wrong."""
    return check(yaml_source.read(path, lenient=True))


def check(source: yaml_source.Source) -> PipelineSpec:
    """Check data read from YAML; raises ConfigErrors."""
    spec, errors = checked(source)
    if spec is None or errors:
        raise ConfigErrors(errors)
    return spec


def checked(source: yaml_source.Source) -> tuple[PipelineSpec | None, list[ConfigError]]:
    """The spec where there is one, and what is wrong: settings, and variables that are not set."""
    if not isinstance(source.data, dict):
        what = f"a pipeline is a mapping, got {shown(source.data)}"
        return None, [ConfigError(what, where=source.where(()), allowed=PipelineSpec.model_fields)]
    unset = list(source.unset.values())
    try:
        return PipelineSpec.model_validate(source.data, context=source.context), unset
    except ValidationError as error:
        found = explained(error.errors(include_url=False), source)
    except ConfigErrors as error:
        found = [_placed(e, source) for e in error.errors]
    places = {e.where for e in unset}
    return None, unset + [e for e in found if e.where not in places]


def _placed(error: ConfigError, source: yaml_source.Source) -> ConfigError:
    path, _, what = error.what.partition(": ")
    place = tuple(int(p) if p.isdigit() else p for p in path.replace("]", "").replace("[", ".").split("."))
    error.what = f"{path}: {what}"
    return error.at(source.where(place))  # type: ignore[return-value]
