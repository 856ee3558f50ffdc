"""docs/attention.md: its compositions are settings, and its tables name every component there is."""

import re

import pytest
import yaml

from fovea.rag import registry
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "attention.md").read_text("utf-8")
TABLES = {
    "While a prompt is read": "prefill", "Once it is read": "eviction", "Which heads": "heads",
    "At each step": "selection", "What was not read": "correction",
}  # fmt: skip


def section(title: str) -> str:
    """What stands under a heading, up to the next one."""
    return re.search(rf"^###? {title}\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL).group(1)


@pytest.mark.parametrize("title", TABLES)
def test_a_table_names_every_component_of_its_kind_once(title):
    keys = re.findall(r"^\| `(\w+)` \|", section(title), re.MULTILINE)
    assert sorted(keys) == sorted(registry.names(TABLES[title]))


def test_every_composition_is_taken(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from fovea.attention_retrieval.attention import Attention

    (tmp_path / "alphas").mkdir()
    (tmp_path / "alphas" / "full_attention_heads.tsv").write_text("1\t0\n0.5\t0.2\n")
    monkeypatch.chdir(tmp_path)
    fences = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    given = [each for text in fences for each in yaml.safe_load_all(text)]
    assert len(given) == 5
    for each in given:
        attention = Attention.model_validate(each.get("generate", each)["attention"])
        assert attention.name == "retrieval"
        assert attention.select
