"""What was said before: taken in, and as much of it kept as a model is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fovea.rag.errors import QueryError
from fovea.rag.tokens import WordTokenizer
from fovea.rag.types import Turn as Turn

ROLES = ("user", "assistant")
History = Iterable[Turn | Mapping[str, str]]


def turns(history: History | None) -> tuple[Turn, ...]:
    """The turns, oldest first, empty ones left out. Raises QueryError for what is none."""
    if isinstance(history, (str, bytes, Mapping)) or not isinstance(history or (), Iterable):
        raise QueryError(f"history is a list of turns, got {type(history).__name__}", fix=_FORM)
    found = [_turn(number, one) for number, one in enumerate(history or ())]
    return tuple(turn for turn in found if turn.content.strip())


_FORM = 'history=[{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]'


def _turn(number: int, one: Turn | Mapping[str, str]) -> Turn:
    if isinstance(one, Mapping):
        if not {"role", "content"} <= one.keys():
            raise QueryError(f"history[{number}] is no turn: it needs role and content", fix=_FORM)
        one = Turn(one["role"], one["content"])
    if not isinstance(one, Turn):
        raise QueryError(f"history[{number}] is no turn, but {type(one).__name__}", fix=_FORM)
    if one.role not in ROLES:
        raise QueryError(f"history[{number}]: unknown role {one.role!r}", got=str(one.role), allowed=ROLES)
    if not isinstance(one.content, str):
        raise QueryError(f"history[{number}]: the content is no text, but {type(one.content).__name__}", fix=_FORM)
    return one


def last(said: Sequence[Turn], most: int, tokens: int) -> tuple[Turn, ...]:
    """The last `most` turns, of these the newest that have `tokens` together; a turn that alone has more is cut there,
    with an ellipsis. O(text)."""
    kept: list[Turn] = []
    for turn in reversed(said[-most:] if most else ()):
        offsets = WordTokenizer().offsets(turn.content)
        if len(offsets) > tokens:
            if not kept and tokens:
                kept.append(Turn(turn.role, turn.content[: offsets[tokens - 1][1]] + " …"))
            break
        kept.append(turn)
        tokens -= len(offsets)
    return tuple(reversed(kept))
