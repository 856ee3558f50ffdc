"""A question without its time: what is left when the expressions, and the words that lead to them, are taken out.

"Where did she work from Apr 1926 to Apr 1927?"  ->  "Where did she work?"
"""

from __future__ import annotations

from fovea.retrievers.time.parser import SPOKEN, Languages
from fovea.retrievers.time.scan import scanner
from fovea.retrievers.time.words import RELATIONS, phrases


def undated(text: str, languages: Languages = SPOKEN) -> str:
    """The text without its dates; it begins with a capital if it did before. Nothing is left of a text of dates."""
    leads = _leads(languages)
    for found in reversed(scanner(languages).find(text)):
        before, after = text[: found.start].rstrip(), text[found.end :].lstrip(" ,")
        while (words := before.split()) and words[-1].lower().strip(",(") in leads:
            before = before[: before.rindex(words[-1])].rstrip()
        before = before.rstrip(" ,(")
        space = " " if before and after and after[0] not in ".,;:!?)" else ""
        text = f"{before}{space}{after}"
    return text[:1].upper() + text[1:]


def _leads(languages: Languages) -> set[str]:
    fields = (*RELATIONS, "origin", "to", "both", "fill", "in_year", "early", "middle", "late")
    extra = {"during", "as", "up", "with", "while", "für", "während", "pendant", "durante"}
    return {word for field in fields for phrase in phrases(languages, field) for word in phrase.split()} | extra
