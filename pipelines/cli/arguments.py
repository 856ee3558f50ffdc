"""The parser of the command line: what is wrong is said with the usage of the verb it was given to, and the nearest."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


def port(text: str) -> int:
    """The number of a port, as an argument; 0 lets the system choose."""
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text[:40]!r}")
    return int(text)


def seconds(text: str) -> float:
    """A number of seconds, as an argument: more than none, and no more than a day."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= 86_400:
        raise argparse.ArgumentTypeError(f"expected seconds, more than 0 and up to 86400, got {text[:40]!r}")
    return found


class Parser(argparse.ArgumentParser):
    """argparse's, for a verb and its parts; what it makes with `add_subparsers` is of this class too."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse, but what a part does not know is refused by that part, not by the whole."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            odd = next((word for word in rest if word.startswith("-")), "").split("=")[0]
            near = _near(odd, [option for option in self._option_string_actions if option.startswith("--")])
            self.error(f"unrecognized arguments: {' '.join(rest)}{near}")
        return found, rest

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            near = _near(str(value), choices)
            raise argparse.ArgumentError(action, f"invalid choice: {value!r} (choose from {', '.join(choices)}){near}")


def _near(word: str, choices: Sequence[str]) -> str:
    from fovea.rag.errors import nearest

    near = nearest(word, choices)
    return f"; did you mean {near!r}?" if near else ""
