"""The page in headless Chromium: it renders, says nothing on the console, sorts, and lets pairs be chosen."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from fovea.pipelines.sweep.report.html import html
from tests.sweep_records import chromium, large

CHROMIUM = chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on PATH")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=2000",
         "--enable-logging=stderr", "--v=0")  # fmt: skip


@pytest.fixture(scope="module")
def page():
    return html(large(48, 20))


def rendered(page: str, folder: Path) -> tuple[str, list[str]]:
    """The DOM after the scripts ran, and what they said on the console."""
    path = folder / "report.html"
    path.write_text(page, "utf-8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def then(page: str, script: str) -> str:
    """The page with one more script at its end, and without the policy that would refuse it."""
    page, policies = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert policies == 1
    return page.replace("</body>", f"<script>{script}</script></body>")


def test_it_renders_without_a_word_on_the_console(page, tmp_path):
    dom, console = rendered(page, tmp_path)
    assert console == []
    assert "<button" in dom, "its own script ran under its own policy"
    assert "<button" not in page
    assert dom.count("<circle") == page.count("<circle")


def test_its_policy_refuses_any_other_script(page, tmp_path):
    dom, console = rendered(page.replace("</main>", "<script>document.title = 'taken'</script></main>"), tmp_path)
    assert "taken</title>" not in dom
    assert any("Content Security Policy" in line for line in console)


def test_a_click_sorts(page, tmp_path):
    click = """
      const head = [...document.querySelectorAll(".trials thead th")];
      const at = head.findIndex((cell) => cell.textContent === "seconds");
      const cells = () => [...document.querySelectorAll(".trials tbody tr")].map((row) => row.cells[at].textContent);
      const said = [head[at].ariaSort];
      for (const turn of [1, 2]) {
        head[at].querySelector("button").click();
        said.push(head[at].ariaSort, cells().map(parseFloat).join(" "));
      }
      document.title = said.join("|");
    """
    dom, console = rendered(then(page, click), tmp_path)
    assert console == []
    before, up, rising, down, falling = re.search(r"<title>([^<|]*\|[^<]*)</title>", dom)[1].split("|")
    assert (before, up, down) == ("", "ascending", "descending")
    seconds = [float(x) for x in rising.split()]
    assert len(seconds) == 43
    assert seconds == sorted(seconds)
    assert [float(x) for x in falling.split()] == sorted(seconds, reverse=True)


def test_pairs_are_chosen_and_tips_shown(page, tmp_path):
    choose = """
      const select = document.querySelector(".pick select");
      const blocks = [...document.querySelectorAll(".pair")];
      const open = () => blocks.map((pair) => Number(!pair.hidden && pair.open)).join("");
      const said = [open()];
      select.value = "2";
      select.dispatchEvent(new Event("change"));
      said.push(open());
      const point = document.querySelector(".scatter .p.best");
      point.dispatchEvent(new Event("pointerover", {bubbles: true}));
      said.push(document.querySelector(".scatter .tip").textContent === point.querySelector("title").textContent);
      said.push(document.querySelector(".copy").textContent);
      said.push(document.documentElement.scrollWidth <= innerWidth);
      document.title = said.join("|");
    """
    dom, console = rendered(then(page, choose), tmp_path)
    assert console == []
    assert re.search(r"<title>([^<|]*\|[^<]*)</title>", dom)[1] == "100000|001000|true|Copy|true"
