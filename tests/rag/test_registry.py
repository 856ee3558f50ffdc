"""Components are found by name, explain themselves, and cannot steal a name."""

from functools import cached_property

import pytest
from pydantic import BaseModel, PositiveInt, ValidationError

from fovea.rag import registry
from fovea.rag.component import Component, SpeedOnly, fingerprint
from fovea.rag.encoder import Encoder
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import MissingExtra, require


class Colour(Component, kind="colour"):
    """A kind made for these tests."""


class Red(Colour, name="red"):
    depth: PositiveInt = 3
    batch: SpeedOnly[PositiveInt] = 8
    inner: Colour | None = None

    @cached_property
    def heavy(self) -> list[int]:
        return [self.depth]


class Holder(BaseModel):
    colour: Colour
    many: list[Colour] = []


def errors_of(data) -> dict[tuple, dict]:
    with pytest.raises(ValidationError) as caught:
        Holder.model_validate(data)
    return {e["loc"]: e for e in caught.value.errors(include_url=False)}


def test_a_mapping_with_use_becomes_the_component():
    held = Holder.model_validate({"colour": {"use": "red", "depth": 5}, "many": ["red", {"use": "red"}]})
    assert held.colour == Red(depth=5)
    assert held.many == [Red(), Red()]


def test_components_nest():
    red = Red.model_validate({"inner": {"use": "red", "depth": 9}})
    assert red.inner == Red(depth=9)
    assert red.settings()["inner"] == {"use": "red", "depth": 9, "batch": 8, "inner": None}


def test_every_mistake_has_its_place():
    found = errors_of({"colour": {"use": "rd"}, "many": [{"use": "red", "dept": 1}, {"depth": 1}, {"use": ["x"]}, 3]})
    assert found[("colour",)]["ctx"]["near"] == "red"
    assert found[("many", 0, "dept")]["type"] == "extra_forbidden"
    assert found[("many", 1)]["type"] == "missing_use"
    assert found[("many", 2)]["type"] == "unknown_component"
    assert ("many", 3) in found


def test_another_kind_is_refused():
    assert errors_of({"colour": HashEncoder()})[("colour",)]["type"] == "wrong_kind"


def test_settings_survive_the_round_trip():
    red = Red(depth=7, inner=Red())
    assert Holder.model_validate({"colour": red.settings()}).colour == red


def test_the_fingerprint_follows_what_changes_results_and_nothing_else():
    assert Red(batch=1).fingerprint == Red(batch=64).fingerprint
    assert Red(depth=1).fingerprint != Red(depth=2).fingerprint
    assert fingerprint({"b": 1, "a": [2]}) == fingerprint({"a": [2], "b": 1})


def test_a_higher_version_changes_the_fingerprint(monkeypatch):
    before = Red().fingerprint
    monkeypatch.setattr(Red, "version", 2)
    assert Red().fingerprint != before


def test_a_component_is_frozen_but_may_load_lazily():
    red = Red()
    assert red.heavy is red.heavy
    with pytest.raises(ValidationError, match="frozen"):
        red.depth = 4


def test_a_name_cannot_be_taken_twice():
    with pytest.raises(TypeError, match=r"two colours are called 'red'"):

        class Other(Colour, name="red"):
            pass


def test_a_name_needs_a_kind_and_a_shape():
    with pytest.raises(TypeError, match="no kind"):

        class Lost(Component, name="lost"):
            pass

    with pytest.raises(TypeError, match="lower_snake_case"):

        class Loud(Colour, name="Loud"):
            pass


def test_built_ins_live_in_the_file_of_their_name():
    for kind, homes in registry.HOMES.items():
        for name, cls in registry.components(kind).items():
            if cls.__module__.startswith(homes):
                allowed = {f"{home}.{name}" for home in homes}
                assert cls.__module__ in allowed, f"{kind} {name} lives in {cls.__module__}"


@pytest.mark.parametrize("kind", sorted(registry.HOMES))
def test_every_built_in_says_what_it_is_and_documents_each_setting(kind):
    from fovea.pipelines.spec.schema import field_docs

    for name, cls in registry.components(kind).items():
        assert (cls.__doc__ or "").strip(), f"{kind} {name} has no docstring"
        if cls.__module__.startswith(registry.HOMES[kind]):
            silent = set(cls.model_fields) - set(field_docs(cls))
            assert not silent, f"{kind} {name}: no docstring under {sorted(silent)}"


def test_names_are_never_import_paths():
    for name in ("os.path", "..cli.main", "hash\n", "../hash", "__init__"):
        with pytest.raises(ValidationError):
            _Holder.model_validate({"encoder": {"use": name}})


class _Holder(BaseModel):
    encoder: Encoder


def test_a_plugin_is_found_through_its_entry_point(tmp_path, monkeypatch):
    (tmp_path / "plugin_colours.py").write_text(
        "from fovea.rag.encoders.hash import HashEncoder\nclass Mine(HashEncoder, name='mine'):\n    '''Mine.'''\n"
    )
    info = tmp_path / "plugin_colours-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-colours\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fovea.components]\nmine = plugin_colours\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._load_plugins.cache_clear()
    registry.load_all.cache_clear()
    try:
        assert registry.find("encoder", "mine").__name__ == "Mine"
    finally:
        registry._components.pop(("encoder", "mine"), None)
        registry._load_plugins.cache_clear()
        registry.load_all.cache_clear()


def test_a_missing_extra_names_component_package_and_command():
    with pytest.raises(MissingExtra) as caught:
        require("surely_not_installed.sub", extra="chroma", needed_by="store chroma")
    assert str(caught.value) == (
        "store chroma needs the package 'surely_not_installed', which is not installed\n"
        '  fix: pip install "fovea-rag[chroma]"'
    )


def test_a_fault_inside_an_installed_package_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "broken_inside.py").write_text("import surely_not_installed_either\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="surely_not_installed_either"):
        require("broken_inside", extra="x", needed_by="y")
