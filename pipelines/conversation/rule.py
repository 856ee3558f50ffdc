"""A follow-up question rewritten by rule: what it leaves out is put in from the question before it.

    Who coached Sweden in 1990?     And in 1994?           Who coached Sweden in 1994?
                                    And Norway?            Who coached Norway in 1990?
                                    Where was he born?     Where was Olle Nordin born? (Sweden)     of the answer
                                    Why?                   Who coached Sweden in 1990? Why?

A question with names of its own and nothing that points back stands alone, and stays as it is. Questions are resolved
in their order, so that a topic is carried over several follow-ups. English is read; of another language, only a
question of one or two words is joined with the one before it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fovea.pipelines.conversation.english import (
    ABOUT,
    ASKS,
    BARE,
    GENERIC,
    LONGEST_NAME,
    ORDERS,
    POSSESSIVE,
    PREPOSITION,
    TIME,
    WH,
    Name,
    described,
    is_adjective,
    matter,
    names,
    opening,
    points_back,
    refers,
)
from fovea.rag.sentences import sentences
from fovea.rag.tokens import words
from fovea.rag.types import Turn

LONGEST = 400
"""Characters of a question that is carried on whole; of a longer one, names and telling words are."""
CARRIED = 4
"""The most names that are put behind a question."""
SHORT, MEANT = 12, 2
"""The most words of an answer's first sentence, and of new names in it, of which one may be what is meant."""
TELLING = 12
"""The most telling words, where there is no name."""
PERSONAL = frozenset({"he", "she", "him", "his", "her", "hers"})
PLACES = frozenset({"in", "at", "to", "from", "on", "into"})
"""Prepositions behind which no person is named first."""
MORE = frozenset({"me", "us", "further", "details", "detail", "else"})
"""What is left of "tell me more"."""
_WHO = re.compile(r"\s*(?:\w+\s+)?whom?\b", re.IGNORECASE)
_THING = re.compile(r"\s*(?:\w+\s+)?(?:which|what|where)\b", re.IGNORECASE)
"""Questions that are answered by a name."""
_ENGLISH = re.compile(
    rf"\b(?:{WH}|the|of|does|did|do|is|are|was|were|and|about|in|it|he|she|they|can)\b", re.IGNORECASE
)


def is_english(question: str) -> bool:
    """Whether a question has a word by which this rule reads."""
    return bool(_ENGLISH.search(question))


def rewritten(question: str, said: Sequence[Turn]) -> str:
    """The question as it stands alone after these turns; the very same where it does already. O(text)."""
    topic = answer = ""
    for turn in said:
        if turn.role == "user":
            topic, answer = joined(turn.content, topic, answer), ""
        else:
            answer = turn.content
    return joined(question, topic, answer)


def joined(question: str, topic: str, answer: str) -> str:
    """The question after one that stands alone, and its answer."""
    if not topic.strip() or len(question) > LONGEST:
        return question
    rest = opening(question) or question
    if about := ABOUT.match(rest):
        rest = rest[about.end() :]
    if BARE.match(rest) or not set(matter(rest)) - MORE:
        return _after(topic, question)
    if about or _is_fragment(rest):
        return _completed(question, rest, topic, opened=len(rest) < len(question.lstrip()))
    if pronoun := points_back(question):
        return _named(question, pronoun, topic, answer)
    if noun := described(question, topic):
        return _with(question, noun, topic, answer)
    if refers(question):
        return _with(question, None, topic, answer)
    return question


def _is_fragment(rest: str) -> bool:
    """Whether it asks nothing by itself: a time, a name, a noun, but no verb that can be told."""
    timeless = TIME.sub(" ", rest)
    if ASKS.search(timeless) or ORDERS.match(rest):
        return False
    return bool(re.match(rf"\s*{PREPOSITION}\b", rest, re.IGNORECASE)) or len(matter(timeless)) <= 2


def _completed(question: str, rest: str, topic: str, *, opened: bool) -> str:
    """The question before, with the time or the name of this one in the place of its own."""
    bare = rest.strip().rstrip("?.!… ").strip()
    if len(topic) > LONGEST:
        return _with(question, None, topic, "")
    time, own = TIME.search(bare), names(bare)
    left = bare
    for span in [time.span() if time else (0, 0), *((n.start, n.end) for n in own)]:
        left = left.replace(bare[span[0] : span[1]], " ") if span[1] else left
    if matter(left) or not (time or (own and opened)):
        given = names(topic)
        attribute = re.match(r"(?:the|their|its|his|her)\b", bare, re.IGNORECASE)
        return _with(question, None, topic, "") if attribute and given else _after(topic, question)
    whole = topic
    if time:
        old = list(TIME.finditer(whole))
        whole = _put(whole, old[-1].span(), _timed(time[0], old[-1][0])) if old else _after_words(whole, time[0])
    if own:
        old_name = _like(own[0], whole)
        said = bare[own[0].start : own[-1].end]
        whole = _put(whole, (old_name.start, old_name.end), said) if old_name else _after(whole, question)
    return whole


def _timed(new: str, old: str) -> str:
    """A bare year takes the preposition of the time that it replaces."""
    before = re.match(rf"(?:{PREPOSITION})\s+", old, re.IGNORECASE)
    return f"{before[0]}{new}" if before and re.match(r"\W*\d", new) and not re.search(r"\d.*\d{4}", old) else new


def _like(new: Name, topic: str) -> Name | None:
    """The name that a new one replaces: behind the same preposition, or where it has none the subject ("did Sweden");
    then with as many words; of equals the first."""
    size = len(new.text.split())

    def unlike(name: Name) -> tuple[bool, bool, int]:
        subject = not new.before and ASKS.match(name.before) is not None
        same = subject or (new.before != "" and name.before == new.before)
        return is_adjective(name, topic), not same, abs(len(name.text.split()) - size)

    return min(names(topic), key=unlike, default=None)


def _named(question: str, pronoun: re.Match[str], topic: str, answer: str) -> str:
    """The pronoun's name in its place, what else was named behind the question."""
    person = pronoun[0].lower() in PERSONAL
    answers = bool((_WHO if person else _THING).match(topic))
    first, *others = _carried(topic, answer, answers=answers, person=person) or [""]
    if not first:
        return _with(question, None, topic, answer)
    owned = pronoun[0].lower() in POSSESSIVE and re.match(r"\s+[a-z]", question[pronoun.end() :])
    return _behind(_put(question, pronoun.span(), first + ("'s" if owned else "")), others)


def _with(question: str, noun: re.Match[str] | None, topic: str, answer: str) -> str:
    """The question with what was named behind its noun, or behind it all; the telling words where nothing was named."""
    answers = bool(_THING.match(topic)) and (noun is None or noun[1].lower() in matter(topic))
    found = [n for n in _carried(topic, answer, answers=answers) if n.lower() not in question.lower()]
    if not found and noun and noun[1].lower() not in GENERIC:
        return question
    if not found and not names(question):
        telling = [w for w in matter(topic) if w not in matter(question) and len(w) <= LONGEST_NAME]
        found = [" ".join(telling[:TELLING])]
    if noun is None or not found:
        return _behind(question, found)
    return _behind(_put(question, (noun.end(), noun.end()), f" ({found[0]})"), found[1:])


def _carried(topic: str, answer: str, *, answers: bool, person: bool = False) -> list[str]:
    """What was named, the likeliest first: by the question; before it by its answer, where `answers` says that this may
    be meant, and where it names little; by the answer alone where the question names nothing."""
    ranked = sorted(names(topic), key=lambda n: (is_adjective(n, topic), person and n.before in PLACES))
    asked = [n.text for n in ranked]
    first = answer[: sentences(answer)[0].end] if answer.strip() else ""
    found = names(first) if len(words(first[:LONGEST])) <= SHORT else []
    new = [n.text for n in found if not any(n.text in a or a in n.text for a in asked)]
    new = new if len(new) <= MEANT else []
    return list(dict.fromkeys([*new, *asked] if answers else asked or new))[:CARRIED]


def _behind(question: str, more: Sequence[str]) -> str:
    said = ", ".join(word for word in more if word)
    return f"{question.rstrip()} ({said})" if said else question


def _after(topic: str, question: str) -> str:
    """Both questions; of a long one, names and telling words."""
    return f"{topic.strip()} {question.strip()}" if len(topic) <= LONGEST else _with(question, None, topic, "")


def _after_words(topic: str, more: str) -> str:
    bare = topic.rstrip()
    end = len(bare.rstrip("?.! "))
    return f"{bare[:end]} {more}{bare[end:]}"


def _put(text: str, span: tuple[int, int], said: str) -> str:
    return text[: span[0]] + said + text[span[1] :]
