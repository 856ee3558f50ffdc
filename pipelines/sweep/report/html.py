"""The report as one page that needs nothing else: no network, no server, no other file."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from fovea.pipelines.sweep.record import Record
from fovea.pipelines.sweep.report.best import best_yaml
from fovea.pipelines.sweep.report.figures import count
from fovea.pipelines.sweep.report.page.apart import apart
from fovea.pipelines.sweep.report.page.compare import comparisons
from fovea.pipelines.sweep.report.page.facts import Facts, gather
from fovea.pipelines.sweep.report.page.headline import headline
from fovea.pipelines.sweep.report.page.heat import heat
from fovea.pipelines.sweep.report.page.markup import cut, note, section, text
from fovea.pipelines.sweep.report.page.scatter import scatters
from fovea.pipelines.sweep.report.page.stages import timeline
from fovea.pipelines.sweep.report.page.trials_table import trials_table
from fovea.pipelines.sweep.report.page.why import importances, main_effects
from fovea.rag.write_whole import write_whole

LONGEST = 20_000
"""Characters of the study file, and of the winner, that are shown."""


def write_html(record: Record, path: Path) -> None:
    """Write the page, whole: there is the old one or the new one, never a part.

    It opens from disk, asks for nothing from anywhere (its own policy forbids it), reads without JavaScript, and is
    bounded however large the study is: what it leaves out, it says.
    """
    page = html(record)
    write_whole(path, lambda part: part.write_text(page, encoding="utf-8"))


def html(record: Record) -> str:
    """The page as a text."""
    facts = gather(record)
    parts = {
        "trade": section("trade", "Quality against cost", scatters(facts) if facts.order else ""),
        "trials": section("trials", "Trials", trials_table(facts)),
        "why": section("why", "What mattered", importances(facts), heat(facts), main_effects(facts)),
        "questions": section("questions", "Question by question", comparisons(facts)),
        "time": section("time", "Where the time goes", timeline(facts)),
        "apart": section("apart", "Not ranked", apart(facts)),
        "winner": section("winner", "The winner, to copy", _winner(facts)),
    }
    return _document(record, [headline(facts), _links([key for key, part in parts.items() if part]), *parts.values()])


NAMES = {
    "trade": "Quality against cost",
    "trials": "Trials",
    "why": "What mattered",
    "questions": "Question by question",
    "time": "Time",
    "apart": "Not ranked",
    "winner": "The winner as YAML",
}


def _links(keys: list[str]) -> str:
    links = "".join(f'<a href="#{key}">{NAMES[key]}</a>' for key in keys)
    return f'<nav aria-label="On this page">{links}</nav>' if links else ""


def _document(record: Record, parts: list[str]) -> str:
    style, script = (
        files("fovea.pipelines.sweep.report.page").joinpath(n).read_text("utf-8") for n in ("page.css", "page.js")
    )
    digest = b64encode(sha256(script.encode()).digest()).decode()
    body = "\n".join(part for part in parts if part)
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="generator" content="Fovea">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(record.name)}: report of the sweep</title><style>{style}</style></head>\n"
        f"<body><main>{body}</main>\n{_foot(record)}<script>{script}</script></body></html>\n"
    )


def _winner(facts: Facts) -> str:
    if not facts.order:
        return ""
    yaml = best_yaml(facts.record)
    left = f"The first {LONGEST:,} characters; the whole comes from " if len(yaml) > LONGEST else "The same as "
    return note(f"{left}fovea sweep --best best.yaml") + _code(yaml, "copyable")


def _code(plain: str, kind: str = "") -> str:
    return f'<pre class="{kind}" tabindex="0"><code>{text(cut(plain, LONGEST))}</code></pre>'


def _foot(record: Record) -> str:
    asked = record.questions
    questions = f"{asked.name}, {count(len(asked.questions), 'question')}, {asked.fingerprint}"
    facts = {"questions": questions, "machine": record.machine, "command": record.command}
    rows = "".join(f"<dt>{key}</dt><dd>{text(cut(value, 2000))}</dd>" for key, value in facts.items() if value)
    source = f"<details><summary>The study file</summary>{_code(record.source)}</details>" if record.source else ""
    return f"<footer><dl>{rows}</dl>{source}</footer>"
