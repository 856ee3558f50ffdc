"""Bad YAML: each mistake is named with its place, what is allowed and the nearest match."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.spec import lacks, yaml_source
from fovea.pipelines.spec.check import check, checked, load_spec
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.pipelines.sweep.report.best import plain_yaml
from fovea.rag.errors import ConfigError


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        check(yaml_source.parse(text, file="p.yaml"))
    return str(caught.value)


GOLDEN = {
    "unknown stage": (
        "name: x\nsegmnt:\n  - {use: fixed}\n",
        "p.yaml:2:1: segmnt: unknown setting 'segmnt'\n"
        "  allowed: name, description, preset, load, encoder, segment, pool, situate, store, retrieve, fuse, refine, "
        "generate, feedback, candidates, "
        "conversation, k, serve, telemetry\n"
        "  did you mean 'segment'?",
    ),
    "unknown setting": (
        "segment:\n  - use: fixed\n    max_token: 3\n",
        "p.yaml:3:5: segment[0].max_token: unknown setting 'max_token'\n"
        "  allowed: use, max_tokens, min_tokens, overlap\n"
        "  did you mean 'max_tokens'?",
    ),
    "wrong type": (
        "segment:\n  - {use: fixed, max_tokens: many}\n",
        "p.yaml:2:30: segment[0].max_tokens: input should be a valid integer, unable to parse string as an integer, "
        "got 'many'",
    ),
    "out of bounds": (
        "encoder: {use: hash, size: 0}\n",
        "p.yaml:1:28: encoder.size: input should be greater than 0, got 0",
    ),
    "no use": (
        "encoder: {size: 3}\n",
        "p.yaml:1:10: encoder: a encoder needs 'use: NAME', got {'size': 3}",
    ),
    "budgets that do not fit": (
        "segment: {use: fixed, max_tokens: 10, overlap: 10}\n",
        "p.yaml:1:10: segment[0]: overlap (10) must be less than max_tokens (10)",
    ),
    "duplicate key": (
        "name: a\nk: 3\nname: b\n",
        "p.yaml:3:1: the key 'name' stands twice; first in line 1",
    ),
    "tab": ("segment:\n\t- {use: fixed}\n", "p.yaml:2:1: a tab; YAML is indented with spaces"),
    "python tag": (
        "name: !!python/object/apply:os.system ['true']\n",
        "p.yaml:1:7: the YAML tag 'tag:yaml.org,2002:python/object/apply:os.system' is not allowed here\n"
        "  fix: write plain values; names go in 'use:'",
    ),
    "own tag": (
        "name: !mine x\n",
        "p.yaml:1:7: the YAML tag '!mine' is not allowed\n  fix: write the plain value; names go in 'use:'",
    ),
    "not closed": (
        "segment: [{use: fixed}\nname: x\n",
        "p.yaml:2:1: not YAML: expected ',' or ']', but got '<scalar>' (while parsing a flow sequence)",
    ),
    "empty": ("# nothing\n", "p.yaml: the file is empty\n  fix: fovea init p.yaml"),
    "a list": (
        "- use: fixed\n",
        "p.yaml:1:1: a pipeline is a mapping, got [{'use': 'fixed'}]\n"
        "  allowed: name, description, preset, load, encoder, segment, pool, situate, store, retrieve, fuse, refine, "
        "generate, feedback, candidates, "
        "conversation, k, serve, telemetry",
    ),
    "two documents": (
        "name: a\n---\nname: b\n",
        "p.yaml:2:1: not YAML: but found another document (expected a single document in the stream)",
    ),
    "overlap before the last segmenter": (
        "segment:\n  - {use: fixed, max_tokens: 100, overlap: 5}\n  - {use: sentence, max_tokens: 50}\n",
        "p.yaml:2:44: segment[0].overlap: only the last segmenter of a chain can overlap\n"
        "  fix: move 'overlap: 5' to segment[1]",
    ),
    "a chain that cannot work": (
        "segment:\n  - {use: fixed, max_tokens: 100}\n  - {use: sentence, max_tokens: 100}\n",
        "p.yaml:3:33: segment[1].max_tokens: sentence cannot make chunks of 100 tokens out of spans that fixed has cut "
        "to 100\n  fix: put sentence first, or give it less than 100",
    ),
    "a refiner that undoes another": (
        "refine:\n  - {use: token_budget, max_tokens: 500}\n  - {use: neighbours}\n",
        "p.yaml:3:5: refine[1]: neighbours undoes the token budget that refine[0] (token_budget) gives\n"
        "  fix: put neighbours before token_budget",
    ),
    "more kept than fetched": (
        "candidates: 5\nk: 10\n",
        "p.yaml:2:4: k: 10 chunks cannot be kept of 5 candidates\n  fix: candidates: 10",
    ),
    "another kind": (
        "encoder: [1]\n",
        "p.yaml:1:10: encoder: input should be a valid dictionary or instance of Encoder, got [1]",
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_golden(case):
    text, expected = GOLDEN[case]
    assert complaint(text) == expected


def test_an_unknown_component_lists_the_known_and_the_nearest():
    message = complaint("retrieve:\n  - use: dens\n")
    first, allowed, near = message.splitlines()
    assert first == "p.yaml:2:10: retrieve[0]: unknown retriever 'dens'"
    assert {"dense", "bm25"} <= set(allowed.removeprefix("  allowed: ").split(", "))
    assert near == "  did you mean 'dense'?"


def test_all_mistakes_are_found_in_one_pass():
    message = complaint("nam: x\nk: none\nencoder: {use: hash, siz: 3}\n")
    assert [line.split(": ")[0] for line in message.splitlines() if line.startswith("p.yaml")] == [
        "p.yaml:3:22", "p.yaml:2:4", "p.yaml:1:1"]  # fmt: skip


def test_words_that_older_yaml_took_for_truth_values_stay_texts():
    assert yaml_source.parse("[on, no, yes, y, 1_000, 0x10, 12:30]").data == [
        "on", "no", "yes", "y", "1_000", "0x10", "12:30"]  # fmt: skip
    assert yaml_source.parse("[true, null, ~, 3, -1.5e3, '3', .5]").data == [True, None, None, 3, -1500.0, "3", 0.5]


def test_aliases_that_explode_or_contain_themselves_are_refused():
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(6)
    )
    with pytest.raises(ConfigError, match="aliases that explode"):
        yaml_source.parse(bomb)
    with pytest.raises(ConfigError, match="contains itself"):
        yaml_source.parse("a: &a [*a]\n")


def test_an_environment_variable_is_text_wherever_it_stands(monkeypatch):
    monkeypatch.setenv("FOVEA_TEST_NAME", "k: [1] # ${HOME} and $${x}")
    monkeypatch.setenv("FOVEA_TEST_K", "7")
    inside = "k: [1] # ${HOME} and $${x}"
    assert yaml_source.parse("name: !env FOVEA_TEST_NAME").data == {"name": inside}
    assert yaml_source.parse("name: ${FOVEA_TEST_NAME}").data == {"name": inside}
    assert yaml_source.parse('name: "a ${FOVEA_TEST_K}/${FOVEA_TEST_K} b"').data == {"name": "a 7/7 b"}
    assert yaml_source.parse("name: $FOVEA_TEST_NAME $ {x} $$").data == {"name": "$FOVEA_TEST_NAME $ {x} $$"}
    assert yaml_source.parse("${FOVEA_TEST_K}: $${FOVEA_TEST_K}").data == {"${FOVEA_TEST_K}": "${FOVEA_TEST_K}"}
    assert check(yaml_source.parse("k: ${FOVEA_TEST_K}")).k == 7


def test_variables_that_are_not_set_are_named_together_with_all_else():
    assert complaint("name: ${NOT_SET_A}\nk: !env NOT_SET_B\n") == (
        "p.yaml:1:7: the environment variable NOT_SET_A is not set\n  fix: export NOT_SET_A=...\n"
        "p.yaml:2:4: the environment variable NOT_SET_B is not set\n  fix: export NOT_SET_B=..."
    )
    source = yaml_source.parse("name: ${NOT_SET_A}\nk: ${NOT_SET_B}\nstor: x\n", file="p.yaml", lenient=True)
    _, wrong = checked(source)
    assert [str(e).split(": ")[1] for e in wrong] == [
        "the environment variable NOT_SET_A is not set\n  fix", "the environment variable NOT_SET_B is not set\n  fix",
        "stor",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["${}", "${a b}", "${1}", "${A:-b}", "${A"])
def test_what_only_looks_like_a_variable_is_refused_and_can_be_written(text):
    message = complaint(f"name: '{text}'\n")
    assert "names no environment variable" in message
    assert "fix: ${NAME}, or $${ for the characters" in message
    assert yaml_source.parse(f"name: '{yaml_source.quoted(text)}'").data == {"name": text}


@given(st.text(alphabet="${}Aa 1", max_size=12))
def test_quoted_text_comes_back(text):
    assert yaml_source.parse(plain_yaml({"x": text, "y": [{text: text}]})).data == {"x": text, "y": [{text: text}]}


UNIONS = {
    "a setting inside one way of a union": (
        "generate: {use: transformers, model: m, attention: {use: retrieval, engine: {use: flat, more: 1}}}\n",
        "p.yaml:1:89: generate.attention.engine.more: unknown setting 'more'",
    ),
    "a name that no way of a union knows": (
        "generate: {use: transformers, model: m, attention: {use: retrieval, engine: fast}}\n",
        "p.yaml:1:77: generate.attention.engine: unknown engine 'fast'\n"
        "  allowed: fast_scan, flat, hnsw, ivf, joined, query_ivf, roar, auto\n",
    ),
    "a value of a type that no way takes": (
        "segment: {use: topical_change, weights: 3}\n",
        "p.yaml:1:41: segment[0].weights: input should be a valid string, or a valid tuple, got 3",
    ),
    "a value in a mapping of choices": (
        "generate: {use: chat, model: 'openai:x', options: {str: {b: 1}}}\n",
        "p.yaml:1:57: generate.options.str: input should be a valid string, or a valid integer, or a valid number, or "
        "a valid boolean, or a valid list, got {'b': 1}",
    ),
    "a number for a component": (
        "retrieve: [{use: dense}, {use: sitemb, after: 4}]\n",
        "p.yaml:1:47: retrieve[1].after: input should be a valid dictionary or instance of Retriever, got 4",
    ),
}


@pytest.mark.parametrize("case", UNIONS)
def test_no_word_of_the_library_that_validates_leaks(case):
    text, expected = UNIONS[case]
    message = complaint(text)
    assert message.startswith(expected), message
    assert not re.search(r"function-|literal\[|tuple\[|list\[|_by_name|\]\.str|pydantic", message)
    assert message.count("p.yaml:") == 1


@pytest.mark.parametrize(
    ("generate", "right"),
    [("{use: transformers, model: m, max_tokens: 9}", "max_new_tokens"),
     ("{use: chat, model: 'openai:x', max_new_tokens: 9}", "max_tokens")],
)  # fmt: skip
def test_the_limit_of_the_other_generator_is_refused_with_this_ones_name(generate, right):
    assert f"did you mean {right!r}?" in complaint(f"generate: {generate}\n")


def test_a_missing_or_unreadable_file(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no file .*\n  fix: fovea init"):
        yaml_source.read(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot read it"):
        yaml_source.read(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml: cannot read it: 'utf-8' codec"):
        yaml_source.read(tmp_path / "latin.yaml")


@given(st.text(max_size=200))
def test_any_text_is_data_or_a_clear_error(text):
    try:
        yaml_source.parse(text)
    except ConfigError as error:
        assert str(error)


def test_settings_round_trip_through_yaml():
    import yaml

    spec = check(yaml_source.parse("encoder: hash\nsegment: {use: fixed, max_tokens: 64}\nretrieve: bm25\n"))
    again = check(yaml_source.parse(yaml.safe_dump(spec.settings())))
    assert again == spec


def test_the_recipe_follows_what_decides_chunks_and_vectors():
    def recipe(text: str) -> str:
        return check(yaml_source.parse("encoder: hash\n" + text)).recipe

    assert recipe("k: 3") == recipe("k: 4\nretrieve: bm25")
    assert recipe("segment: {use: fixed, max_tokens: 64}") != recipe("segment: {use: fixed, max_tokens: 65}")


def test_every_example_and_template_is_right(tmp_path):
    from fovea.pipelines.cli.init import template
    from fovea.pipelines.sweep.load import load_study

    text = template(Path("p.yaml"), "mine")
    spec = check(yaml_source.parse(text))
    defaults = PipelineSpec(name="mine")
    assert spec.settings() | {"store": None, "fuse": None} == defaults.settings() | {"store": None, "fuse": None}
    for path in Path("examples").glob("**/*.yaml"):
        assert load_study(path) if path.name.startswith("study") else check(yaml_source.read(path))


FILED = {
    "heads: {use: duo, scores: heads/full_attention_heads.tsv}": ("heads", "scores", [[0.5, 1.0]]),
    "prefill: {use: sale, tau: heads}": ("prefill", "tau", [[0.004, 0.0]]),
    "correct: {use: act, heads: ./heads/act_heads.json}": ("correct", "heads", ((2, 1),)),
}


@pytest.mark.parametrize("setting", FILED)
def test_files_of_heads_are_relative_to_the_yaml(setting, tmp_path, monkeypatch):
    (tmp_path / "there" / "heads").mkdir(parents=True)
    (tmp_path / "there" / "heads" / "full_attention_heads.tsv").write_text("0.5\t1\n")
    (tmp_path / "there" / "heads" / "sale_tau.tsv").write_text("0.004\t0\n")
    (tmp_path / "there" / "heads" / "act_heads.json").write_text('{"heads": [[2, 1]]}')
    path, (name, field, wanted) = tmp_path / "there" / "p.yaml", FILED[setting]
    path.write_text(f"generate:\n  use: transformers\n  model: m\n  attention:\n    {setting}\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = getattr(getattr(load_spec(path).generate.attention, name), field)
    assert found == wanted
    stages = dict(lacks.stages(yaml_source.read(path), None))
    assert getattr(getattr(stages["generate",].attention, name), field) == wanted
    (path.parent / "heads").rename(path.parent / "gone")
    with pytest.raises(ConfigError, match=r"p\.yaml:5:.*there/heads.*No such file") as refused:
        load_spec(path)
    assert "fovea train heads" in str(refused.value)
