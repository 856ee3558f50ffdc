"""Which words of an answer say that there is none: ours, and the ways in which models put it (`refusals.txt`).

A refusal is what the whole answer says. A hedge before an answer ("They do not give the day, but it was in May.") is
taken off, and what it leaves is the statement; that a text holds none of something ("contains no sugar") is a statement
too. Some twenty languages are known by their common forms; no list of words is complete.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib.resources import files

from fovea.rag.sentences import sentences

NO_ANSWER = "The documents do not say."
"""The whole answer where the passages hold none."""


def is_refusal(answer: str) -> bool:
    """Whether an answer, or a sentence of it, says that there is no answer and states nothing else. Words of courtesy
    beside it ("Please ask ...") state nothing.
    """
    said = [answer[s.start : s.end] for s in sentences(answer)]
    left = [sentence for sentence in said if asserted(sentence)]
    return len(left) < len(said) and all(_pattern("courtesy").match(sentence) for sentence in left)


@lru_cache(maxsize=1024)
def asserted(sentence: str) -> str:
    """What a sentence states besides that there is no answer: all of it, what follows a hedge, or nothing; without what
    frames it ("The answer is:", "The passage states that").
    """
    said = sentence.strip()
    while said and said != NO_ANSWER:
        if refused := _pattern("refusal").match(said):
            turn = _pattern("turn").search(said, refused.end())
            said = said[turn.end() :] if turn else ""
        elif framed := _pattern("framing").match(said):
            said = said[framed.end() :]
        else:
            return said
    return ""


@cache
def _pattern(name: str) -> re.Pattern[str]:
    """`turn`, `courtesy` or `framing` of `refusals.txt`; `refusal` is all of its patterns as one."""
    parts: dict[str, str] = {}
    refusals: list[str] = []
    for line in files(__package__).joinpath("refusals.txt").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        for part, meaning in parts.items():
            line = line.replace(f"<{part}>", meaning)
        if defined := re.match(r"([a-z]+) = ", line):
            parts[defined[1]] = line[defined.end() :]
        else:
            refusals.append(line)
    whole = rf"(?:{parts['sorry']})*(?:{'|'.join(refusals)})"
    return re.compile({**parts, "refusal": whole}[name], re.IGNORECASE)
