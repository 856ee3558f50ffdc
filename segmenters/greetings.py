"""Greetings and goodbyes, and what time and speakers tell: evidence for a boundary between turns that is set by hand.

Texts to learn such words from are rare and not free to learn from, so that their weights, in nats of log odds, are
rules: a greeting that answers none begins a dialogue; thanks or a goodbye that nobody returns end one. Words are
English.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fovea.segmenters.turns import Turn

if TYPE_CHECKING:
    import numpy as np

GREETING, GOODBYE = 3.0, 1.5
SAME_SPEAKER, OTHER_SPEAKERS = -1.0, 3.0
REACH = 8
"""Turns on either side whose speakers are compared."""
SILENCE, LONGEST_SILENCE = 0.75, 6.0
"""For each doubling of the pause over the median of the text, and how many doublings count."""

_GREETING = re.compile(r"^\W*(hi|hello|hey|good (morning|afternoon|evening)|greetings|welcome)\b", re.I)
_GOODBYE = re.compile(
    r"\b(bye|goodbye|good ?night|see (you|ya)|talk (to you )?(later|soon)|take care|catch you|thank(s| you)|welcome|"
    r"have a (nice|good|great|wonderful)|that('?s| is| will be) (all|it|everything)|no problem|cheers|"
    r"glad (i|to) (could|help|be)|anytime|adjourn\w*)\b",
    re.I,
)


def evidence(turns: Sequence[Turn]) -> np.ndarray:
    """What to add to the log odds of a boundary at each gap: float64 `(gaps,)`. O(turns)."""
    import numpy as np

    greets = np.array([bool(_GREETING.match(turn.words)) for turn in turns])
    parts = np.array([bool(_GOODBYE.search(turn.words)) for turn in turns])
    found = GREETING * (greets[1:] & ~greets[:-1]) + GOODBYE * (parts[:-1] & ~parts[1:])
    return found + _speakers([turn.speaker for turn in turns]) + SILENCE * pauses([turn.seconds for turn in turns])


def _speakers(names: Sequence[str]) -> np.ndarray:
    import numpy as np

    found = np.zeros(len(names) - 1)
    for gap in range(len(found)):
        if names[gap] and names[gap + 1]:
            before, after = {*names[max(gap + 1 - REACH, 0) : gap + 1]}, {*names[gap + 1 : gap + 1 + REACH]}
            found[gap] = SAME_SPEAKER * (names[gap] == names[gap + 1]) + OTHER_SPEAKERS * before.isdisjoint(after)
    return found


def pauses(seconds: Sequence[float | None]) -> np.ndarray:
    """Doublings of the time from one turn's beginning to the next over the median of the text, between 0 and the
    longest: float64 `(gaps,)`; 0 where a time is not known or runs backwards.
    """
    import numpy as np

    times = np.array([np.nan if s is None else s for s in seconds], float)
    gaps = np.diff(times)
    known = gaps > 0
    if not known.any():
        return np.zeros(len(gaps))
    ratio = np.divide(gaps, np.median(gaps[known]), out=np.ones_like(gaps), where=known)
    return np.clip(np.log2(ratio), 0, LONGEST_SILENCE)
