"""Whether the numbers of a statement are used otherwise than its evidence uses them: for another thing, on the other
side of a bound, in the place of another number. All are linear in the text, but for `misplaced`, which compares each
number of the claim with each of the evidence.
"""

from __future__ import annotations

from fovea.pipelines.answering.quantities import Quantity

MARGIN = 2
"""By how many words another place must fit a number better."""


def miscounted(claimed: tuple[Quantity, ...], told: tuple[Quantity, ...]) -> bool:
    """Whether a number of the claim counts something else in the evidence: there the number counts other things only,
    and either all are units, or the claim's thing has another number; or all that is there contradicts it."""
    for q in claimed:
        there = [t for t in told if t.value == q.value]
        if there and all(q.contradicts(t) for t in there):
            return True
        if not q.things or not there or any(not t.things or q.counts_as(t) for t in there):
            continue
        if (q.measured and all(t.measured for t in there)) or any(q.counts_as(t) for t in told):
            return True
    return False


def misbounded(claimed: tuple[Quantity, ...], told: tuple[Quantity, ...]) -> bool:
    """Whether the claim takes "at least" for "at most", or gives to a number the bound that another has
    (a unit's to a unit, any other's to another)."""
    for q in claimed:
        there = {t.side for t in told if t.value == q.value}
        if not q.side or not there or q.side in there:
            continue
        others = {t.value for t in told if (t.side, t.measured) == (q.side, q.measured)} - {c.value for c in claimed}
        if there - {""} or others:
            return True
    return False


def misplaced(claimed: tuple[Quantity, ...], told: tuple[Quantity, ...]) -> bool:
    """Whether a number of the claim stands among words (more than half of those around it) among which the evidence has
    another number, and its own elsewhere: "gave up 24 points", of "gave up 308 points, with 24 interceptions". A year
    takes one word more to stand in the place of another number, and the reverse; a number that counts the same thing
    there is compared with numbers of that thing alone. Or two numbers have each other's places."""
    for q in claimed:
        own = [q.placed_as(t) for t in told if t.value == q.value]
        alike = any(q.counts_as(t) for t in told if t.value == q.value)
        rivals = [t for t in told if t.value != q.value and not (alike and t.things and not q.counts_as(t))]
        others = [q.placed_as(t) - (t.dated != q.dated) for t in rivals]
        around = len(q.before) + len(q.behind)
        if own and others and 2 * max(others) > around and max(others) - max(own) >= MARGIN:
            return True
    return _swapped(claimed, told)


def _swapped(claimed: tuple[Quantity, ...], told: tuple[Quantity, ...]) -> bool:
    """Whether numbers stand in each other's place: "opens at 17:00, closes at 8:30", of "opens at 8:30 and closes at
    17:00". A place is the telling word before; the numbers of those that differ are the same ones, and nowhere else."""
    said, known = _by_place(claimed), _by_place(told)
    crossed = [place for place in said if place in known and not said[place] & known[place]]
    moved = frozenset().union(*(said[place] for place in crossed))
    return (
        len(crossed) > 1
        and moved == frozenset().union(*(known[place] for place in crossed))
        and not any(q.value in moved and q.after not in crossed for q in (*claimed, *told))
    )


def _by_place(read: tuple[Quantity, ...]) -> dict[str, set[str]]:
    places: dict[str, set[str]] = {}
    for q in read:
        if q.after:
            places.setdefault(q.after, set()).add(q.value)
    return places
