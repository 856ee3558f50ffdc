"""The documentation as a site: every page is in it, every link leads somewhere, nothing comes from another host."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

PAGES = sorted(
    [*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("[a-z]*/README.md")]
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The names by which headings are linked to, as Python-Markdown and GitHub make them."""
    from markdown.extensions.toc import slugify

    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {slugify(re.sub(r"[`*]|\]\([^)]*\)|\[", "", title), "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    for target in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


def in_nav(nav) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in in_nav(part)]


def test_every_page_is_in_the_navigation_once():
    nav = in_nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"])
    assert len(nav) == len(set(nav))
    there = {path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")}
    assert there <= set(nav), f"not in mkdocs.yml: {there - set(nav)}"


def test_every_component_that_the_reference_names_is_there():
    from importlib import import_module

    names = re.findall(
        r"^::: (\S+)$", "\n".join(p.read_text("utf-8") for p in ROOT.glob("docs/api/*.md")), re.MULTILINE
    )
    assert len(names) > 15
    for name in names:
        module, _, last = name.rpartition(".")
        assert hasattr(import_module(module), last) or import_module(name)


def test_the_site_asks_no_other_host(tmp_path):
    """The pages without the reference, which is most of the work."""
    settings = (ROOT / "mkdocs.yml").read_text("utf-8")
    plain = re.sub(r"  - mkdocstrings:\n(?:    .*\n|      .*\n)+", "", settings)
    assert "mkdocstrings" not in plain
    plain = plain.replace("docs_dir: docs", f"docs_dir: {json.dumps(str(ROOT / 'docs'))}")
    plain = plain.replace(".ci/site.py", str(ROOT / ".ci" / "site.py")).replace("build/site", "site")
    (tmp_path / "mkdocs.yml").write_text(plain)
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    html = "".join(path.read_text("utf-8") for path in (tmp_path / "site").glob("*.html"))
    loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*?(?:src|href)=[\"']?(https?://[^\"' >]+)", html)
    assert loaded == []
    assert (tmp_path / "site" / "mcp.html").is_file()
