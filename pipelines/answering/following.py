"""The sentence behind a quoted one, where that holds what the question asks for: a number, a date, a person.

"The contest had one winner. She was Ada Byron." is quoted whole for "Who won the contest?". A sentence that ends with a
colon is quoted with the items that it introduces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Sequence

from fovea.pipelines.answering.claims import names, refers
from fovea.pipelines.answering.quantities import YEARS, numbers
from fovea.pipelines.answering.quoting import LONGEST, Quotation
from fovea.rag.stems import stems
from fovea.rag.types import Span

Kind = Callable[[str], frozenset[object]]
_MONTH = re.compile(
    r"\b(?:january|february|march|april|may|june|july|august|september|october|november|december)\b", re.I
)
_OPENS = re.compile(
    r"\s*(?:(?:he|she|it|they|his|her|its|their|this|these|that|those|such)\b|[$€£¥]?\d)", re.IGNORECASE
)


def _dates(text: str) -> frozenset[object]:
    years = (n for n in numbers(text) if n.isdigit() and int(n) in YEARS)
    return frozenset([*years, *(m.lower() for m in _MONTH.findall(text))])


_SIZES = "many|much|long|old|far|often|large|big|tall|high|deep|fast|wide|heavy"
_AMOUNTS = (
    "percentage|number|amount|price|cost|rate|fee|share|size|length|height|weight|temperature|age|population|score|"
    "ratio|limit|maximum|minimum"
)
_KINDS: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile(r"\b(?:when|(?:what|which) (?:year|date|day|month|decade))\b", re.IGNORECASE), _dates),
    (re.compile(rf"\bhow (?:{_SIZES})\b|\bwhat (?:is|was|are|were)? ?(?:the )?(?:{_AMOUNTS})\b", re.I), numbers),
    (re.compile(r"\b(?:who|whom|whose)\b", re.IGNORECASE), names),
)
"""What a question asks for, and what of a text is of that kind."""


def followed(question: str, picked: Sequence[int], quoted: Sequence[Quotation], told: Container[int],
             most: int) -> list[int]:  # fmt: skip
    """The sentences to quote, best first: those `picked`, a line that introduces items replaced by these, and where
    none holds what the question asks for, the one behind the first of them that goes on and does. At most `most`, items
    of one list being one; `told` are the sentences that tell something."""
    found = [m for n in picked for m in (_items(n, quoted, told, stems(question)) or [n])]
    kind = next((kind for asks, kind in _KINDS if asks.search(question)), None)
    if most < 2 or not kind or any(kind(quoted[n].text) - kind(question) for n in found):
        return list(dict.fromkeys(found))
    for n in picked:
        behind = n + 1
        if behind < len(quoted) and behind in told and quoted[behind].passage.follows:
            text = quoted[behind].passage.text
            if kind(text) - kind(question) and (_OPENS.match(text) or refers(text)):
                return list(dict.fromkeys([n, behind, *found]))[: max(most, len(found))]
    return list(dict.fromkeys(found))


def _items(n: int, quoted: Sequence[Quotation], told: Container[int], asked: frozenset[str]) -> list[int]:
    """The items that sentence `n` introduces; or, where it is an item of which only the line above speaks of what is
    `asked`, all items of that line. As many as are said in `LONGEST` characters."""
    one = quoted[n]
    whole, above = one.passage.document.text, one.under[-1] if one.under else one.passage.span
    if not whole[above.start : above.end].rstrip("*_ ").endswith((":", "：")) or (
        one.under and stems(one.words) & asked
    ):
        return []
    start = min((m for m in range(len(quoted)) if _stands_under(quoted[m], one, above)), default=n)
    found, length = [], 0
    for m in range(start, len(quoted)):
        length += len(quoted[m].words)
        if not _stands_under(quoted[m], one, above) or length > LONGEST:
            break
        if m in told:
            found.append(m)
    return found


def _stands_under(item: Quotation, one: Quotation, above: Span) -> bool:
    return item.passage.document.id == one.passage.document.id and above in item.under
