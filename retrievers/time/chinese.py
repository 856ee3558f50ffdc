"""Chinese expressions of time, which are written without spaces and put their bounds behind the date.

2010年到去年    from-to      上个月以前    before      2015年以来    since      不晚于上周五    until
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from math import inf

from fovea.retrievers.time.anchored import Now, nearest
from fovea.retrievers.time.days import Interval, Relation, span
from fovea.retrievers.time.found import Found, around, quarter, shifted, third

HINT = re.compile("[年月日号周天季纪期]")
"""Without one of these there is nothing to read."""
_DIGITS = "〇零一二三四五六七八九"
_N = r"\d{1,3}|[一二两三四五六七八九十]{1,3}"
_UNITS = {"天": "day", "日": "day", "周": "week", "星期": "week", "礼拜": "week", "月": "month", "季度": "quarter",
          "年": "year"}  # fmt: skip
_TURNS = {"去": -1, "前": -2, "今": 0, "本": 0, "明": 1, "上": -1, "这": 0, "下": 1}
_DAYS = {"前天": -2, "昨天": -1, "昨日": -1, "今天": 0, "今日": 0, "现在": 0, "目前": 0, "今": 0, "明天": 1, "后天": 2}
_DATE = re.compile(
    rf"(?P<ago>{_N})个?(?P<back>天|日|周|星期|礼拜|月|季度|年)(?:以|之)?前"
    rf"|(?:最近|过去|近|过去的)(?P<last>{_N})个?(?P<lasting>天|日|周|星期|礼拜|月|季度|年)"
    rf"|(?:(?:(?P<century>\d\d|二十一?|十[一二三四五六七八九])世纪|(?P<past>上世纪))?(?P<decade>\d0|[一二三四五六七八九]十|\d{{3}}0)年代)"
    r"|(?P<whole>\d\d?|二十一?|十[一二三四五六七八九])世纪"
    rf"|(?:(?P<year>\d{{4}}|[{_DIGITS}]{{4}})年|(?P<turned>[去前今明])年)"
    r"(?:第?(?P<q>[1-4一二三四])季度|(?P<month>\d\d?|十[一二]?|[一二三四五六七八九])月(?:份|(?P<day>\d\d?)[日号])?)?"
    r"|(?P<turn>[上本这下])个?(?:(?P<unit>月|季度)|(?P<week>周|星期|礼拜)(?P<weekday>[一二三四五六日天末])?)"
    r"|(?P<near>前天|昨[天日]|今[天日]|明天|后天|现在|目前|(?<=[到至])今)"
    r"|(?:周|星期|礼拜)(?P<bare>[一二三四五六日天])"
    r"|(?<![\d年])(?P<bare_month>\d\d?)月(?:份|(?P<bare_day>\d\d?)[日号])?"
)
_EDGE = re.compile(r"(?:年|月)?(?P<edge>初|底|末)")
_BEHIND: tuple[tuple[re.Pattern[str], Relation], ...] = (
    (re.compile(r"(?:以来|起|开始|至今|到现在)"), "since"),
    (re.compile(r"(?:以前|之前|前)"), "before"),
    (re.compile(r"(?:以后|之后|后)"), "after"),
    (re.compile(r"为止"), "until"),
)
_AHEAD: tuple[tuple[re.Pattern[str], Relation], ...] = (
    (re.compile(r"(?:不早于)$"), "since"),
    (re.compile(r"(?:不晚于|不迟于|截至|截止到?|直到|[到至])$"), "until"),
    (re.compile(r"早于$"), "before"),
    (re.compile(r"晚于$"), "after"),
    (re.compile(r"(?:自从|自)$"), "since"),
)
_TO = re.compile(r"\s*(?:到|至|[-—–~～])\s*")
_AND = re.compile(r"(?:和|与|及|到|至)")
_BETWEEN = re.compile("(?:之间|间)")


class Chinese:
    """Reads texts in Chinese."""

    def find(self, text: str, now: Now | None = None) -> list[Found]:
        """The expressions in order, with their bounds; those that count from a day, from that of `now`."""
        if HINT.search(text) is None:
            return []
        dates: list[Found] = []
        for match in _DATE.finditer(text):
            try:
                if (one := _read(match, now)) is not None:
                    dates.append(_edged(text, one))
            except (ValueError, OverflowError):  # There is no such day.
                continue
        return list(_bounded(text, dates))


def _bounded(text: str, dates: list[Found]) -> Iterable[Found]:
    at = 0
    while at < len(dates):
        one = dates[at]
        other = dates[at + 1] if at + 1 < len(dates) else None
        if other is not None and (joined := _joined(text, one, other)):
            yield joined
            at += 2
            continue
        found = _related(text, one)
        if not (one.weak and found.interval.relation == "at"):
            yield found
        at += 1


def _joined(text: str, one: Found, other: Found) -> Found | None:
    first, last, gap = one.interval, other.interval, text[one.end : other.start]
    if first.end > last.end or one.interval.relation != "at":
        return None
    if _AND.fullmatch(gap) and (behind := _BETWEEN.match(text, other.end)):
        return Found(one.start, behind.end(), Interval(first.start, last.end, "between"))
    if _TO.fullmatch(gap):
        return Found(one.start, other.end, Interval(first.start, last.end, "from-to"))
    return None


def _related(text: str, one: Found) -> Found:
    start, end, relation = one.interval
    if relation != "at":
        return one
    found, stop = None, one.end
    for pattern, meant in _BEHIND:
        if match := pattern.match(text, one.end):
            found, stop = meant, match.end()
            break
    else:
        found = next(
            (meant for pattern, meant in _AHEAD if pattern.search(text, max(0, one.start - 4), one.start)), None
        )
    bounds = {"since": (start, inf), "before": (-inf, start - 1), "after": (end + 1, inf), "until": (-inf, end)}
    return Found(one.start, stop, Interval(*bounds[found], found)) if found else one


def _edged(text: str, one: Found) -> Found:
    """The beginning or end of a month, quarter or year: its first or last day behind a bound, else a third."""
    match = _EDGE.match(text, one.end)
    if match is None or one.interval.end - one.interval.start < 27:
        return one
    interval, which = one.interval, 0 if match["edge"] == "初" else 2
    bound = Found(one.start, match.end(), interval)
    if _related(text, bound).interval.relation != "at":
        day = interval.start if which == 0 else interval.end
        return bound._replace(interval=Interval(day, day))
    return bound._replace(interval=third(interval, which))


def _read(match: re.Match[str], now: Now | None) -> Found | None:
    groups = {name: value for name, value in match.groupdict().items() if value is not None}
    if groups.keys() & {"decade", "whole", "year"}:
        return Found(*match.span(), _dated(groups))
    if now is None:
        return None
    return Found(*match.span(), _counted(groups, now), weak=groups.get("near") in ("现在", "目前", "今"))


def _dated(groups: dict[str, str]) -> Interval:
    if "whole" in groups:
        first = 100 * _number(groups["whole"]) - 99
        return Interval(span(first).start, span(first + 99).end)
    if "decade" in groups:
        year = _number(groups["decade"])
        if year < 100:
            year += 100 * (_number(groups["century"]) - 1) if "century" in groups else 1900 if year >= 30 else 2000
        return Interval(span(year).start, span(year + 9).end)
    year = int("".join(str(max(0, _DIGITS.find(d) - 1)) if d in _DIGITS else d for d in groups["year"]))
    return _within(year, groups)


def _within(year: int, groups: dict[str, str]) -> Interval:
    """A quarter, month or day of a year, or all of it."""
    if "q" in groups:
        return quarter(year, _number(groups["q"]))
    return span(
        year, _number(groups["month"]) if "month" in groups else None, int(groups["day"]) if "day" in groups else None
    )


def _counted(groups: dict[str, str], now: Now) -> Interval:
    day, number = now.day, now.day.toordinal()
    if "ago" in groups:
        unit = _UNITS[groups["back"]]
        return around(shifted(day, unit, -_number(groups["ago"])), unit)
    if "last" in groups:
        first = shifted(day, _UNITS[groups["lasting"]], -_number(groups["last"]))
        return Interval(first.toordinal(), number, "last")
    if "turned" in groups:
        return _within(day.year + _TURNS[groups["turned"]], groups)
    if "near" in groups:
        return Interval(number + _DAYS[groups["near"]], number + _DAYS[groups["near"]])
    if "unit" in groups:
        unit = _UNITS[groups["unit"]]
        return around(shifted(day, unit, _TURNS[groups["turn"]]), unit)
    if "week" in groups:
        week = around(shifted(day, "week", _TURNS[groups["turn"]]), "week")
        if "weekday" not in groups:
            return week
        if groups["weekday"] == "末":
            return around(date.fromordinal(int(week.start)), "weekend")
        at = week.start + _weekday(groups["weekday"])
        return Interval(at, at)
    if "bare" in groups:
        at = number - (day.weekday() - _weekday(groups["bare"])) % 7
        return Interval(at, at)
    of_month = int(groups["bare_day"]) if "bare_day" in groups else None
    return nearest([span(day.year + i, int(groups["bare_month"]), of_month) for i in (-1, 0, 1)], None, now)


def _weekday(name: str) -> int:
    return "一二三四五六日".index(name.replace("天", "日"))


def _number(text: str) -> int:
    if text.isdigit():
        return int(text)
    text = text.replace("两", "二")
    tens, ten, ones = text.partition("十")
    if not ten:
        return max(0, _DIGITS.index(text) - 1)
    return 10 * (_DIGITS.index(tens) - 1 if tens else 1) + (_DIGITS.index(ones) - 1 if ones else 0)
