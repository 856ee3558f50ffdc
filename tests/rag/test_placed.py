"""A relative path in YAML starts from the folder of the YAML, whatever the working directory is."""

from pathlib import Path
from typing import Any, get_args

import pytest

from fovea.pipelines.spec.check import load_spec
from fovea.rag import registry
from fovea.rag.placed import NameOrPath
from fovea.rag.settings import Settings

NAMED = [
    (cls, key)
    for kind in registry.kinds()
    for name, cls in registry.components(kind).items()
    for key in sorted({"weights", "model"} & set(cls.model_fields))
    if name not in ("openai", "chat")  # whose model is a server's
    and (cls.model_fields[key].annotation is str or NameOrPath in get_args(cls.model_fields[key].annotation))
]


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The folder of a YAML, and the working directory."""
    for name in ("yaml", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "yaml", tmp_path / "here"


@pytest.mark.parametrize(("cls", "key"), NAMED, ids=lambda one: one if isinstance(one, str) else one.__name__)
def test_weights_and_models_lie_beside_the_yaml(
    cls: type[Settings], key: str, beside: tuple[Path, Path], tmp_path: Path
) -> None:
    base, here = beside
    for folder in (base / "both", here / "both", base / "mine/deep", here / "old"):
        folder.mkdir(parents=True)

    def read(said: Any, base: Path | None = base) -> Any:
        return getattr(cls.model_validate({key: said}, context=base and {"base": base}), key)

    assert read("both") == str(base / "both")
    assert read("mine/deep/") == str(base / "mine/deep")
    assert read("../yaml/mine") == str(base / "mine")
    assert read("old") == "old", "what lay in the working directory goes on working"
    assert read("./old") == "./old"
    assert read("./none") == str(base / "none"), "the error says where it was looked for"
    for name in ("org/name", "name", "~/name", "n" * 5000, str(tmp_path), "\0"):
        assert read(name) == name
    assert read("./both", base=None) == "./both", "in Python there is no YAML"
    if key == "weights" and "tuple" in str(cls.model_fields[key].annotation):
        assert read(["both", "name"]) == (str(base / "both"), "name")


def test_a_pipeline_is_the_same_from_everywhere(beside: tuple[Path, Path]) -> None:
    base, _ = beside
    (base / "w").mkdir()
    (base / "lm").mkdir()
    said = "{use: transformers, model: lm}"
    (base / "p.yaml").write_text(
        f"segment: [{{use: pointer, weights: w}}]\ngenerate: {said}\nretrieve: [{{use: bm25}}]\n"
    )
    spec = load_spec(Path("../yaml/p.yaml"))
    assert spec.segment[0].weights == str(base / "w")  # type: ignore[attr-defined]
    assert spec.generate.model == str(base / "lm")  # type: ignore[attr-defined]
