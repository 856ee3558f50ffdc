"""What a model thinks aloud before it answers, kept apart from the answer: never cited, never judged.

Read are `<think>`, `<thinking>`, `<thought>`, `<reasoning>` and `[THINK]` blocks at the beginning of a text, also where
the chat template wrote the opening tag and only the closing one is said, and channels (`analysis`, `commentary`,
`final`), with their special tokens or with these already taken out. Tags inside code are text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fovea.pipelines.answering.code import spans_of_code, within

_NAMES = r"(?:think|thinking|thought|reasoning|seed:think)"
_OPEN = re.compile(rf"\s*(?:<{_NAMES}>|\[THINK\])", re.IGNORECASE)
_ENDS_OPEN = re.compile(rf"(?:<{_NAMES}>|\[THINK\])(?:\s|<\|[^|]*\|>)*+\Z", re.IGNORECASE)
_CLOSE = re.compile(rf"(?:</{_NAMES}>|\[/THINK\])\s*", re.IGNORECASE)
_CHANNEL = re.compile(
    r"\s*(?:<\|start\|>assistant)?<\|channel\|>(?P<name>\w+)[^<]*<\|message\|>(?P<said>.*?)"
    r"(?:<\|(?:end|return|call)\|>|(?=<\|start\|>|<\|channel\|>)|\Z)",
    re.DOTALL,
)
_BARE_CHANNEL = re.compile(r"\s*(?:analysis|commentary)(?=\S)(?P<thought>.*?)assistant(?:\s*)final(?=\S)", re.DOTALL)
_TAGS = ("<think>", "<thinking>", "<thought>", "<reasoning>", "<seed:think>", "[THINK]")
_CHANNELS = ("<|channel|>", "<|start|>assistant<|channel|>")
_LONGEST = max(map(len, (*_TAGS, *_CHANNELS)))


def split(text: str) -> tuple[str, str]:
    """`(reasoning, answer)` of all that a model said; a block that never closes leaves no answer. Linear."""
    if (said := _channels(text)) is not None:
        return said
    if opened := _OPEN.match(text):
        closed = _CLOSE.search(text, opened.end())
        return (
            (text[opened.end() : closed.start()].strip(), text[closed.end() :])
            if closed
            else (text[opened.end() :].strip(), "")
        )
    if closed := _unopened(text):
        return text[: closed.start()].strip(), text[closed.end() :]
    return "", text


def opens(prompt: str) -> bool:
    """Whether a prompt ends in an opening tag, special tokens aside: what the model says next is reasoning."""
    return bool(_ENDS_OPEN.search(prompt))


def _channels(text: str) -> tuple[str, str] | None:
    if bare := _BARE_CHANNEL.match(text):
        return bare["thought"].strip(), text[bare.end() :]
    if not text.lstrip().startswith(_CHANNELS):
        return None
    said = [(match["name"], match["said"]) for match in _CHANNEL.finditer(text)]
    thought = "\n".join(words.strip() for name, words in said if name != "final")
    return thought, "".join(words for name, words in said if name == "final")


def _unopened(text: str) -> re.Match[str] | None:
    """The first closing tag outside code, in a text that opened none."""
    if not _CLOSE.search(text):
        return None
    code = spans_of_code(text)
    return next((tag for tag in _CLOSE.finditer(text) if not within(tag.start(), code)), None)


@dataclass
class Listening:
    """`split` for a text that comes in pieces: `take` gives what of each is known to be answer, `close` the rest.

    `opened` says that the prompt itself ended in an opening tag, so that thinking comes first. A closing tag which
    nothing opened comes too late here: the pieces before it have been given, and `split` of the whole mends that.
    """

    opened: bool = False
    _said: list[str] = field(default_factory=list)
    _head: str = ""
    """What the text begins with, white space aside: enough of it to tell an opening tag."""
    _tail: str = ""
    _closed: bool = False
    _answering: bool = False

    @property
    def text(self) -> str:
        """All that was heard."""
        return "".join(self._said)

    @property
    def parts(self) -> tuple[str, str]:
        """`(reasoning, answer)` of all that was heard."""
        return split(f"<think>{self.text}" if self.opened and not _OPEN.match(self._head) else self.text)

    def take(self, piece: str) -> str:
        """What the answer has grown by."""
        self._said.append(piece)
        if self._answering:
            return piece
        if len(self._head) < _LONGEST:
            self._head = (self._head + piece).lstrip()[:_LONGEST]
        if self.opened or _OPEN.match(self._head):
            return self._behind(piece)
        if _may_open(self._head):
            return ""
        self._answering = True
        return self.text

    def close(self) -> str:
        """What was held back and turned out to be answer."""
        return "" if self._answering else self.parts[1]

    def _behind(self, piece: str) -> str:
        """The answer that stands behind the closing tag, once there is a word of it."""
        heard = self._tail + piece
        self._tail, self._closed = heard[-_LONGEST:], self._closed or bool(_CLOSE.search(heard))
        answer = self.parts[1] if self._closed and piece.strip() else ""
        self._answering = bool(answer)
        return answer


def _may_open(said: str) -> bool:
    """Whether a text that begins so could become reasoning; what speaks in channels is heard to its end."""
    if said.startswith(_CHANNELS):
        return True
    return len(said) < _LONGEST and any(b.lower().startswith(said.lower()) for b in (*_TAGS, *_CHANNELS))
