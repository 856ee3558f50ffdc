"""benchmarks/figures.py: it goes on where it was, and a record is current as long as its files are what they were."""

import json
import subprocess

import pytest
import yaml

from benchmarks import figures
from benchmarks.figures_listed import arguments
from benchmarks.figures_record import printed

GOOD = "import sys; open('ran', 'a').write('x'); print('[{\"value\": 1, \"data\": \"%s\"}]' % sys.argv[-1])\n"
BAD = "import os, sys; print('said'); sys.exit(0 if os.path.exists('mended') else 3)\n"
MAKER = "import sys; open('made', 'a').write('x'); open(sys.argv[1], 'w').write('table')\n"
LIST = {
    "places": {
        "data": "the folder of test sets",
        "table": {"command": "python benchmarks/maker.py {out}", "measures": ["rules.txt"]},
    },
    "figures": {
        name: {"command": command, "measures": measures, "pages": {}, "minutes": 1}
        for name, command, measures in (
            ("bad", "python benchmarks/bad.py", []),
            ("good", "python benchmarks/good.py --data {data}/set", ["wing/*.py"]),
            ("tabled", "VAR=a python benchmarks/good.py {table}", []),
        )
    },
    "others": {},
}


@pytest.fixture
def project(tmp_path):
    """Three figures: one that fails until `mended` is there, one that ends well, one of a file that is made first."""
    root = tmp_path / "project"
    (root / "benchmarks").mkdir(parents=True)
    (root / "wing").mkdir()
    (tmp_path / "my sets").mkdir()
    for name, text in (("good", GOOD), ("bad", BAD), ("maker", MAKER)):
        (root / "benchmarks" / f"{name}.py").write_text(text)
    (root / "wing" / "method.py").write_text("a = 1\n")
    (root / "rules.txt").write_text("rules\n")
    (root / "benchmarks" / "figures.yaml").write_text(yaml.safe_dump(LIST, sort_keys=False))
    return root


@pytest.fixture
def go(project):
    return lambda *words: figures.main(["--data", str(project.parent / "my sets"), *words], project)


def states(root):
    book = figures.Figures(root, {}, root / "build")
    return {name: book.state(name) for name in book.listed.figures}


def record(root, name):
    return json.loads((root / "benchmarks" / "figures" / f"{name}.json").read_text())


def test_what_fails_is_told_and_the_others_run(project, go, capsys):
    assert states(project) == dict.fromkeys(("bad", "good", "tabled"), "no record")
    assert go() == 1
    assert capsys.readouterr().out == (
        "[1/3] bad: about 1 minutes\n"
        "  failed with exit code 3; what it said stands above\n"
        "[2/3] good: about 1 minutes\n"
        "[3/3] tabled: about 1 minutes\n"
        "  table: python benchmarks/maker.py {out}\n"
        "2 recorded, 0 left out, 1 failed: bad\n"
    )
    assert states(project) == {"bad": "no record", "good": "current", "tabled": "current"}
    (project / "mended").touch()
    assert go() == 0
    assert capsys.readouterr().out == "[1/1] bad: about 1 minutes\n1 recorded, 0 left out, 0 failed\n"
    assert record(project, "bad")["printed"] == ["said"]
    assert (project / "ran").read_text() == "xx"


def test_a_record_says_of_what_it_is_and_has_no_path_of_the_machine(project, go):
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", *words], cwd=project, check=True)
    assert go("--only", "good", "tabled") == 0
    kept = record(project, "good")
    assert kept["printed"] == [{"value": 1, "data": "{data}/set"}]
    assert record(project, "tabled")["printed"] == [{"value": 1, "data": "{table}"}]
    assert kept["command"] == "python benchmarks/good.py --data {data}/set"
    assert len(kept["commit"]) == 40
    assert kept["dirty"] is False
    assert kept["seconds"] > 0
    assert set(kept["machine"]) == {"processor", "processors", "load"}
    assert set(kept["versions"]) >= {"python", "numpy"}
    assert list(kept["files"]) == ["benchmarks/good.py", "wing/method.py"]
    assert str(project.parent) not in (project / "benchmarks" / "figures" / "good.json").read_text()
    (project / "wing" / "method.py").write_text("a = 2\n")
    assert states(project)["good"] == f"older: wing/method.py has changed since {kept['commit'][:7]}"
    assert go("--only", "good") == 0
    assert record(project, "good")["dirty"] is True


def test_older_is_of_content_and_says_what_changed(project, go, capsys):
    (project / "mended").touch()
    assert go() == 0
    assert record(project, "good")["commit"] is None
    (project / "wing" / "method.py").write_text("a = 1\n")
    assert states(project)["good"] == "current"
    (project / "wing" / "method.py").write_text("a = 2\n")
    (project / "wing" / "other.py").touch()
    capsys.readouterr()
    assert go("--list") == 0
    assert capsys.readouterr().out == (
        "bad                          1 min  current\n"
        "good                         1 min  older: wing/method.py and 1 more have changed since its run\n"
        "tabled                       1 min  current\n"
    )
    assert go("--stale") == 0
    assert set(states(project).values()) == {"current"}
    changed = (project / "benchmarks" / "figures.yaml").read_text().replace("bad.py", "bad.py --twice")
    (project / "benchmarks" / "figures.yaml").write_text(changed)
    assert states(project)["bad"] == "older: its command has changed"


def test_what_a_figure_takes_is_made_once_for_each_state_of_its_code(project, go):
    assert go("--only", "tabled") == 0
    (project / "benchmarks" / "good.py").write_text(GOOD + "# another\n")
    assert go("--only", "tabled") == 0
    assert (project / "made").read_text() == "x"
    (project / "rules.txt").write_text("others\n")
    assert states(project)["tabled"] == "older: rules.txt has changed since its run"
    assert go("--only", "tabled") == 0
    assert (project / "made").read_text() == "xx"


def test_a_record_is_shown(project, go, capsys):
    row = {"bench": "b", "data": "set", "method": "dense", "metric": "R@5", "value": 0.5}
    (project / "benchmarks" / "good.py").write_text(f"print({json.dumps([row])!r})")
    assert go("--only", "good") == 0
    capsys.readouterr()
    assert go("--show", "good") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "python benchmarks/good.py --data {data}/set"
    assert lines[1].startswith('no commit, {"processor": ')
    assert [line.split() for line in lines[4:]] == [["set", "R@5"], ["-" * len(lines[4])], ["dense", "0.5"]]
    assert go("--show", "bad") == 1
    assert capsys.readouterr().out == "bad has no record\n"


def test_a_stopped_run_goes_on_where_it_was(project, go, monkeypatch, capsys):
    run = figures.subprocess.run

    def stopped(words, **settings):
        if "benchmarks/maker.py" in words:
            raise KeyboardInterrupt
        return run(words, **settings)

    (project / "mended").touch()
    with monkeypatch.context() as patch:
        patch.setattr(figures.subprocess, "run", stopped)
        assert go() == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on from there\n"
    assert states(project) == {"bad": "current", "good": "current", "tabled": "no record"}
    assert go() == 0
    assert (project / "ran").read_text() == "xx"


def test_what_cannot_run_here_is_left_out(project, capsys):
    (project / "mended").touch()
    assert figures.main([], project) == 0
    out = capsys.readouterr().out
    assert "[2/3] good: left out, it wants --place data=PATH: the folder of test sets\n" in out
    assert out.endswith("2 recorded, 1 left out, 0 failed\n")
    assert figures.main(["--only", "good"], project) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--only", "god"], "--only: figures.yaml has no 'god'; the nearest is good"),
        (["--place", "tables=x"], "--place: figures.yaml has no 'tables'"),
        (["--place", "data"], "--place data: expected NAME=PATH"),
        (["--place", "data=/nowhere"], "data: there is nothing at /nowhere"),
    ],
)
def test_mistakes_are_told(project, capsys, words, says):
    with pytest.raises(SystemExit) as raised:
        figures.main(words, project)
    assert raised.value.code == 2
    assert f"figures.py: error: {says}\n" in capsys.readouterr().err


def test_a_glob_that_matches_nothing_is_an_error(project):
    (project / "wing" / "method.py").unlink()
    with pytest.raises(FileNotFoundError, match=r"figures.yaml measures wing/\*\.py, which matches no file"):
        states(project)


def test_words_of_a_command(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.st").touch()
    words, env = arguments("VAR=a {py} -m x --data {d}/*.st -k '{use: all}'", {"py": "kv/python", "d": str(tmp_path)})
    assert words == ["kv/python", "-m", "x", "--data", f"{tmp_path}/a.st", f"{tmp_path}/b.st", "-k", "{use: all}"]
    assert env == {"VAR": "a"}


def test_the_longest_path_is_taken_out_first():
    at = {"data": "/a/b/data", ".": "/a/b", "~": "/a"}
    assert printed("/a/b/data/x /a/b/y /a/z", at) == ["{data}/x ./y ~/z"]
