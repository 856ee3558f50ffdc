"""What an English question is made of, as far as its words show: names, times, what points back, what was left out."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from fovea.rag.stems import COMMON
from fovea.rag.tokens import words

WH = r"(?:who|whom|whose|what|which|when|where|why|how)"
AUX = (
    r"(?:is|are|was|were|am|be|been|do|does|did|has|have|had|can|could|will|would|shall|should|may|might|must|"
    r"isn't|aren't|wasn't|weren't|don't|doesn't|didn't|hasn't|haven't|hadn't|can't|couldn't|won't|wouldn't|shouldn't)"
)
PREPOSITION = (
    r"(?:in|on|at|to|for|from|with|by|of|about|before|after|since|until|till|during|between|around|under|over|into|"
    r"through|against|within|as of)"
)
_MONTH = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December|"
    r"Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)"
)
_PART = r"(?:(?:the\s+)?(?:early|late|mid)[\s-]+)?(?:the\s+)?(?:year\s+)?"
_DAY = rf"(?:\d{{1,2}}\s+)?(?:{_MONTH}\.?,?\s+)?(?:\d{{1,2}},\s+)?"
_WHEN = rf"{_PART}{_DAY}[12]\d{{3}}s?\b"
_TO = r"(?:\s*[-–]\s*[12]?\d{1,3}\b)?"
TIME = re.compile(
    rf"\b(?:from|between)\s+{_WHEN}\s*(?:to|and|until|till|through|-|–)\s*(?:{_WHEN}|now|today)"
    rf"|\b(?:in|during|since|until|till|by|before|after|around|on|as of|at|for)\s+{_WHEN}{_TO}"
    rf"|\b{_WHEN}\s*(?:to|until|till|through)\s*{_WHEN}|\b{_WHEN}{_TO}",
    re.IGNORECASE,
)
"""A time with the preposition before it: "from Jan 1990 to 1992", "in the early 1990s"."""

_CAPITAL = r"(?:[^\W\d_a-z][\w'’.&-]*(?<![.])|[^\W\d_a-z]\.)"
_SMALL = r"(?:of(?:\s+the)?|the|and|de|del|della|da|di|do|dos|la|le|von|van|der|den|&|bin|al)"
_NO_SUBJECT = re.compile(r"\w+(?:ing|ed|ly)\Z")
_PART_OF_RUN = re.compile(r"(\S.*?)(?:['’]s\b|(?<=s)['’](?=\s|\Z)|[.,'’]*\Z)\s*")
"""What stands before a genitive is a name of its own."""
_RUN = re.compile(
    rf"[“\"„«]([^“”\"„«»]+)[”\"“»]|`([^`]+)`|(?<![\w'’])({_CAPITAL}(?:\s+(?:{_SMALL}\s+)?{_CAPITAL}|\s+\d+(?!\d))*)"
)
_OPENERS = (
    "I I'm I'd Besides Also Then So Now Well OK Okay Please Tell Name List Give Explain Describe Show Find "
    "Compare Yes No Thanks Not Only Other Another Some Any All Each Every More Most Much Many One Two Three There "
    "Here Because If While Although"
)
_NO = "|".join({*_OPENERS.split(), *COMMON})
_NO_NAME = re.compile(rf"(?:{WH}|{AUX}|{PREPOSITION}|{_MONTH}|{_NO})\Z", re.IGNORECASE)
_OPENER = re.compile(rf"(?:{WH}|{AUX}|{PREPOSITION}|{_MONTH}|{_NO})(?:['’]\w+)?(?:\s+|[.,'’]|\Z)\s*", re.IGNORECASE)

OPENING = re.compile(
    r"\s*(?:(?:and|but|or|so|also|then|ok|okay|well|now|yes|no|thanks|thank you)\b[\s,.!]*)+", re.IGNORECASE
)
ABOUT = re.compile(r"\s*(?:(?:what|how)\s+(?:about|of)|same\s+for|the\s+same\s+for)\b\s*", re.IGNORECASE)
ASKS = re.compile(rf"\b(?:{WH}|{AUX})\b", re.IGNORECASE)
ORDERS = re.compile(
    r"\s*(?:please\s+)?(?:tell|name|list|give|explain|describe|show|find|compare|define|summari[sz]e|say)\b",
    re.IGNORECASE,
)
_MUCH = "so|not|else|exactly|come|long|many|much|old|far|often|year|one|then|more|day|month|of (?:them|those|these)"
BARE = re.compile(
    rf"\s*(?:{PREPOSITION}\s+)?{WH}(?:\s+(?:{_MUCH}|{WH}))?(?:\s+(?:exactly|else))?\s*[?.!…]*\s*\Z"
    rf"|\s*(?:{PREPOSITION}\s+)?(?:how\s+(?:many|much)|which|what|whose)(?:\s+(?!{AUX}\b)(?-i:[a-z])\w*){{1,2}}\s*\?\s*\Z",
    re.IGNORECASE,
)
"""A question of nothing but a question word: "Why?", "In which year?", "How so?"."""

PRONOUN = re.compile(r"\b(?:he|she|it|they|him|her|his|hers|its|their|theirs|them)\b", re.IGNORECASE)
POSSESSIVE = frozenset({"his", "its", "their", "her"})
_ADJECTIVE = (
    "true|possible|legal|illegal|necessary|allowed|safe|ok|okay|better|worth|important|common|normal|known|hard|easy|"
    "required|said|believed|thought|that"
)
_DUMMY = re.compile(
    rf"\b(?:is|was|would|will|be|isn't|wasn't)\s+it\s+(?:\w+ly\s+)?(?:{_ADJECTIVE})\b|\bit\s+(?:takes?|called\s+when)\b|"
    r"\bdo(?:es)?\s+it\s+(?:take|matter|mean\s+(?:to|for))\b|\bdid\s+it\s+take\b|\bit\s+(?:is|was)\s+\w+\s+(?:that|to)\b|"
    r"\btime\s+is\s+it\b",
    re.IGNORECASE,
)
"""An "it" that stands for nothing."""
_BE = r"(?:is|are|was|were|do|does|did|can|could|will|would)"
_BACK = re.compile(
    rf"(?:\A|\b(?:{PREPOSITION}|{WH}|{_BE}|and|than|like)\s+)(?:that|those|these)\b"
    r"|\bthis\b(?!\s+(?:year|month|week|century|season|day|morning|evening|time)\b)"
    r"|(?<!\bis )(?<!\bare )(?<!\bwas )(?<!\bwere )(?<!\bbe )(?<!\bbeen )\bthere\b"
    r"(?!\s+(?:is|are|was|were|a|any|be|been|ha\w+)\b)"
    r"|\b(?:by|since|until|till|back|before|after)\s+then\b|\bthen\s*\?"
    r"|\b(?:which|other|another|first|second|third|last|next|previous|same|new|old)\s+ones?\b"
    rf"|\bthe\s+(?:latter|former|same|others?|rest)(?=\s*(?:[?.,!]|\Z)|\s+{AUX}\b)"
    r"|\b(?:who|anyone|anything|something|someone)\s+else\b",
    re.IGNORECASE,
)
_GENERIC = (
    "city town village country state region county island river team club band group company firm organization "
    "organisation institution school college university film movie show series book novel song album game match war "
    "battle treaty party government player man woman person actor actress author writer artist singer politician "
    "building house church castle museum station bridge airport event ship product method model study paper document "
    "report"
)
GENERIC = frozenset(_GENERIC.split())
"""Nouns by which a thing is called that has been named."""
_THE = re.compile(
    rf"\bthe\s+([a-z][\w-]+)(?=\s*(?:[?.,!]|\Z)|\s+(?:{AUX}|{WH}|before|after|since|until|during|in\s+[12]\d{{3}}|"
    r"from\s+(?:\w+\.?\s+)?[12]\d{3}|by)\b)"
)
_OWN = re.compile(
    r"\b(?:the|a|an|each|every|some|many|most)\s+(?!same\b|other\b)[a-z][\w-]+|\b[a-z]{3,}(?<!s)s\b", re.IGNORECASE
)


_ASKED_FOR = re.compile(
    rf"\s*(?:{PREPOSITION}\s+)?(?:who\b|(?:what|which|whose)\s+(?!{AUX}\b)[a-z]+)(?!.*\b{_BE}\s*\Z)", re.IGNORECASE
)
"""What is asked for, to which a pronoun behind it belongs: "Which team lost its", "Who lost his"."""


_SUBJECT = re.compile(rf"(?:\A|\b(?:{AUX}|{WH}))\s*\Z", re.IGNORECASE)
_SECOND = re.compile(rf"\b(?:(?:and|or|but)\s+{AUX}|{PREPOSITION}\s+wh\w+|\w+\s+{WH}|ha[sd]|have)\s*\Z", re.IGNORECASE)
"""Before the subject of a second clause, or before what somebody has."""
_VERB = re.compile(rf"\b{AUX}\b", re.IGNORECASE)
_BEHIND = re.compile(rf"\b{PREPOSITION}\s*\Z", re.IGNORECASE)
_ALONE = re.compile(rf"\s*(?:[?.,!]|\Z)|\s+{PREPOSITION}\b", re.IGNORECASE)


LONGEST_NAME, BEFORE = 100, 40
"""Characters of a name, and of what is looked at on either side of one."""


class Name(NamedTuple):
    """A name, or what stands in quotation marks, and the preposition before it."""

    start: int
    end: int
    text: str
    before: str


def names(text: str) -> list[Name]:
    """Runs of capitalised words and quoted terms, in order; times are none, nor words that open a sentence, nor what is
    longer than any name. Linear."""
    found, times = [], [time.span() for time in TIME.finditer(text)]
    begun, ends = len(text) - len(text.lstrip()), [end for _, end in times]
    for run in _RUN.finditer(text):
        if quoted := run[1] or run[2]:
            found.append(_name(text, run.start(), run.end(), quoted))
            continue
        for part in _PART_OF_RUN.finditer(text, *run.span()):
            start, end = part.span(1)
            while opener := _OPENER.match(text, start, end):
                start = opener.end()
            opens = start <= begun and _NO_SUBJECT.match(text, start, end)
            after = bisect_right(ends, start)
            timed = after < len(times) and times[after][0] < end
            if start < end and not opens and not timed:
                found.append(_name(text, start, end, text[start:end]))
    return [name for name in found if len(name.text) <= LONGEST_NAME]


def _name(text: str, start: int, end: int, said: str) -> Name:
    before = re.search(rf"\b({PREPOSITION}|{AUX})\s+(?:the\s+)?\Z", text[max(0, start - BEFORE) : start], re.IGNORECASE)
    return Name(start, end, said, before[1].lower() if before else "")


def is_adjective(name: Name, text: str) -> bool:
    """Whether a name says of what country or kind something is: "French footballer"."""
    return bool(re.search(r"(?:[a-z]{2}(?:an|ish|ese)|French|Dutch|Swiss|Greek|Czech|Welsh)\Z", name.text)) and bool(
        re.match(r"\s+[a-z]{3,}", text[name.end : name.end + BEFORE])
    )


def opening(question: str) -> str:
    """The question without "and", "but", "so" and the like before it."""
    found = OPENING.match(question)
    return question[found.end() :] if found else question


def matter(text: str) -> list[str]:
    """The telling words of `text`, each once, in order."""
    return [word for word in dict.fromkeys(words(text)) if word not in COMMON and not _NO_NAME.match(word)]


def points_back(question: str) -> re.Match[str] | None:
    """The first pronoun of which the question itself does not say what it stands for."""
    bare = _DUMMY.sub(lambda found: " " * len(found[0]), question)
    named = [name for name in names(question) if not is_adjective(name, question)]
    return next((found for found in PRONOUN.finditer(bare) if not _explained(bare, found, named)), None)


def _explained(question: str, pronoun: re.Match[str], named: Sequence[Name]) -> bool:
    """Whether a name or a noun of the question itself is what its pronoun stands for."""
    before, after = opening(question[: pronoun.start()]), question[pronoun.end() :]
    own = [name for name in named if name.end <= pronoun.start()]
    second = _SECOND.search(before) and (_OWN.search(before) or _ASKED_FOR.match(before))
    if _SUBJECT.search(before) and not second:  # "did he": what an opening phrase without a verb names is somebody else
        opens = before[: before.rfind(",") + 1]
        return bool(own) and (bool(_VERB.search(opens)) or own[-1].end > pronoun.start() - len(before) + len(opens))
    if own:
        return True
    if not ASKS.search(before):  # "Other than his speeches, what was Caesar known for?"
        return any(name.start >= pronoun.end() for name in named)
    if re.search(r"\b(?:of|by)\s*\Z", before) or (_BEHIND.search(before) and _ALONE.match(after)):
        return "," in before
    return bool(_OWN.search(before)) or bool(_ASKED_FOR.match(before))


def refers(question: str) -> bool:
    """Whether it speaks of a "that", "there", "the latter" which it does not name."""
    return bool(_BACK.search(question))


def described(question: str, topic: str) -> re.Match[str] | None:
    """A thing called by a bare noun ("the club") that was spoken of, in a question without a name of its own."""
    if names(question):
        return None
    known = GENERIC | set(matter(topic))
    return next((found for found in _THE.finditer(question) if found[1].lower() in known), None)
