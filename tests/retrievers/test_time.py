"""Times: expressions read as intervals, how well they fit, and the refiners that use them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from math import inf, isinf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError, MissingExtra
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.testing.refiners import check_refiner
from fovea.rag.trace import Trace
from fovea.rag.types import Document, Hit, Query, Span
from fovea.retrievers.time.days import Interval, calendar, day_number, iso, moment, span
from fovea.retrievers.time.fit import fit, recency
from tests.time_bounds import CHINESE, ENGLISH, FRENCH, GERMAN, OTHER_DAYS, SPANISH
from tests.time_expressions import FIRST, SECOND

pytest.importorskip("dateparser", reason="needs the extra 'time'")

from fovea.retrievers.calibrated import CalibratedFuser
from fovea.retrievers.recency import RecencyRefiner
from fovea.retrievers.time.anchored import Now
from fovea.retrievers.time.parser import SPOKEN, TimeParser
from fovea.retrievers.time.passages import UNDATED, PassageTimes
from fovea.retrievers.time.scan import scanner
from fovea.retrievers.time_filter import TimeFilterRefiner
from fovea.retrievers.time_scope import TimeScopeRefiner

PARSER, SCANNER = TimeParser(), scanner(SPOKEN)
ASKED_ON = datetime(2020, 6, 15, 12)
ENCODER = HashEncoder()


def plain(interval: Interval) -> tuple[str, str, str]:
    first, last = ("" if isinf(day) else iso(day) for day in interval[:2])
    return interval.relation, first, last


def read(text: str) -> tuple[list[tuple[str, str, str]], bool]:
    scope = PARSER.read(text, ASKED_ON)
    return [plain(one) for one in scope.intervals], scope.recent


def test_sixty_expressions():
    table = [*FIRST, *SECOND]
    wrong = [(text, read(text)) for text, intervals, recent in table if read(text) != (intervals, recent)]
    assert len(table) == 60
    assert len(wrong) <= 3, wrong


BOUNDS = [("2026-01-14", *row) for row in (*ENGLISH, *GERMAN, *FRENCH, *SPANISH, *CHINESE)] + OTHER_DAYS


@pytest.mark.parametrize(("day", "text", "expected"), BOUNDS, ids=[f"{day} {text}" for day, text, _ in BOUNDS])
def test_bounds_and_ranges(day, text, expected):
    assert [plain(one) for one in PARSER.read(text, datetime.fromisoformat(day)).intervals] == expected


RELATIVE = st.sampled_from(["yesterday", "last week", "last month", "last quarter", "last year", "two weeks ago",
                            "last Friday", "3 May", "the last two years"])  # fmt: skip
DAYS = st.datetimes(datetime(1200, 1, 1), datetime(2900, 1, 1))


@given(RELATIVE, DAYS)
def test_bounds_meet_at_the_time_that_they_bound(phrase, day):
    """Before, at and after a time lie behind one another without a gap; since and until hold it too."""

    def only(text):
        [interval] = PARSER.read(text, day).intervals
        return interval

    at = only(f"in {phrase}")
    assert only(f"before {phrase}") == (-inf, at.start - 1, "before")
    if at.relation == "at":
        assert only(f"after {phrase}") == (at.end + 1, inf, "after")
        assert only(f"since {phrase}") == (at.start, inf, "since")
        assert only(f"until {phrase}") == (-inf, at.end, "until")
        assert only(f"from 1190 to {phrase}") == (day_number(1190), at.end, "from-to")
        assert only(f"between 1190 and {phrase}") == (day_number(1190), at.end, "between")
    assert at.start <= at.end <= day.toordinal() + 1


WORDS = (
    "last", "next", "this", "3", "two", "weeks", "month", "Monday", "ago", "before", "after", "since", "May", "31",
    "to", "February", "2024", "between", "and", "today", "去年", "三天前", "以前", "到", "2月29日", "29", "year",
    "past", "early", "late", "the end of", "the second half of", "more than", "(1984–)", "yesterday",
)  # fmt: skip
ANYTHING = st.text(alphabet="0123456789 -–./,abcMay'BC年月日上周", max_size=40) | st.lists(st.sampled_from(WORDS)).map(
    " ".join
)


@given(ANYTHING, st.datetimes())
def test_anything_can_be_read_on_any_day(text, day):
    found = SCANNER.find(text, Now(day.date()))
    for one, other in pairwise(found):
        assert one.end <= other.start
    assert all(one.start < one.end <= len(text) and one.interval.start <= one.interval.end for one in found)
    intervals = [one.interval for one in found]
    assert 0 <= fit(intervals, intervals) <= 1 + 1e-9
    assert not any(isinf(i.start) and isinf(i.end) for i in intervals), "asks for something"


@pytest.mark.parametrize(
    ("text", "day", "expected"),
    [
        ("at the end of the past year", "2025-06-01", ("last", "2025-01-31", "2025-06-01")),
        ("in the early past quarter", "2025-12-20", ("last", "2025-09-20", "2025-10-19")),
        ("the singer (early 1984–)", "2025-05-01", ("since", "1984-01-01", "")),
        ("until (1984–)", "2025-05-01", ("since", "1984-01-01", "")),
        ("after (1984–)", "2025-05-01", ("since", "1984-01-01", "")),
        ("before more than two years ago", "2025-05-01", ("before", "", "2023-04-30")),
        ("on 29 February of last year", "2024-05-01", ("at", "2023-01-01", "2023-12-31")),
        ("on 29 February of last year", "2025-05-01", ("at", "2024-02-29", "2024-02-29")),
        ("on 29 February next", "2025-05-01", ("at", "2028-02-29", "2028-02-29")),
        ("last 29 February", "1903-05-01", ("at", "1896-02-29", "1896-02-29")),
        ("in the first half of last week", "2025-05-01", ("at", "2025-04-21", "2025-04-23")),
        ("for the first half of 3 May 2020", "2025-05-01", ("at", "2020-05-03", "2020-05-03")),
    ],
)
def test_odd_times_are_times_still(text, day, expected):
    assert [plain(one) for one in PARSER.read(text, datetime.fromisoformat(day)).intervals] == [expected]


@pytest.mark.parametrize(
    "text",
    ["1,500 people", "He paid $1950.", "the 2000 metres final", "aged 45", "Flight 1549 and Boeing 747", "in 843 cases",
     "fiscal year 2012", "FY 2012", "1500 Einwohner", "2000 habitants", "No. 1984", "B-1234", "3.1415", "page 1999",
     "a 1500-seat hall", "in May", "31 February", "Geschäftsjahr 2011", "12:45", "x1999y"],
)  # fmt: skip
def test_what_is_no_date(text):
    assert SCANNER.intervals(text) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1914–18", ("from-to", "1914-01-01", "1918-12-31")),
        ("the 2004-05 season", ("from-to", "2004-01-01", "2005-12-31")),
        ("( b . September 5 , 1847 )", ("at", "1847-09-05", "1847-09-05")),
        ("from 3 May to 5 June 1848", ("from-to", "1848-05-03", "1848-06-05")),
        ("On 25 December 800 he", ("at", "0800-12-25", "0800-12-25")),
        ("3rd century BC", ("at", "-0299-01-01", "-0200-12-31")),
        ("44-31 BC", ("from-to", "-0043-01-01", "-0030-12-31")),
        ("mid-1990s", ("at", "1994-01-01", "1996-12-31")),
        ("(1984– )", ("since", "1984-01-01", "")),
        ("12.3.1999", ("at", "1999-03-12", "1999-03-12")),
        ("nach dem 3. März 2005", ("after", "2005-03-04", "")),
        ("hasta finales de 1989", ("until", "", "1989-12-31")),
        ("29 February 2000", ("at", "2000-02-29", "2000-02-29")),
    ],
)
def test_passages(text, expected):
    assert [plain(one) for one in SCANNER.intervals(text)] == [expected]


def test_a_day_that_the_calendar_lacks_is_none():
    assert SCANNER.intervals("on 2001-02-29 and 30 February 2001") == ()


@given(st.text(alphabet="0123456789 -–./,abcMay'BC", max_size=60))
def test_anything_can_be_scanned(text):
    for one in SCANNER.find(text):
        assert 0 <= one.start < one.end <= len(text)
        assert one.interval.start <= one.interval.end


@given(st.integers(-4000, 4000), st.integers(1, 12), st.integers(1, 28))
def test_days_there_and_back(year, month, day):
    number = day_number(year, month, day)
    assert calendar(number) == (year, month, day)
    assert day_number(year, month, day + 1 if day < 28 else day) - number == (day < 28)
    if year >= 1:
        assert number == date(year, month, day).toordinal()


@given(st.integers(1, 9999), st.integers(1, 12))
def test_months_fill_the_year(year, month):
    whole, part = span(year), span(year, month)
    assert whole.start <= part.start <= part.end <= whole.end
    assert part.end + 1 == (span(year, month + 1).start if month < 12 else span(year + 1).start)


def test_moments_with_and_without_a_zone():
    berlin = timezone(timedelta(hours=2))
    assert moment(datetime(2020, 6, 15, 12)) == moment(datetime(2020, 6, 15, 12, tzinfo=UTC))
    assert moment(datetime(2020, 6, 15, 1, tzinfo=berlin)) == moment(datetime(2020, 6, 14, 23))
    assert moment(datetime(2020, 6, 15, 18)) == day_number(2020, 6, 15) + 0.75


def test_as_of_with_a_zone_decides_the_day():
    late = datetime(2020, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert PARSER.read("yesterday", late).intervals == (span(2019, 12, 30),)


def test_an_unknown_language_is_named():
    with pytest.raises(ConfigError, match="klingon"):
        TimeParser(("klingon",))


def test_without_the_library_the_extra_is_named(monkeypatch):
    import sys

    from fovea.retrievers.time.lexicon import Lexicon

    monkeypatch.setitem(sys.modules, "dateparser", None)
    with pytest.raises((MissingExtra, ModuleNotFoundError), match="dateparser"):
        Lexicon(("en",))


class TestFit:
    asked = (span(1950),)

    def test_by_hand(self):
        year = 365.2425
        assert fit(self.asked, (span(1950),)) == 1
        assert fit(self.asked, (Interval(day_number(1940), day_number(1960)),)) == pytest.approx(
            0.5 + 0.5 * 2.718281828 ** -((day_number(1950) - day_number(1940) - year) / year)
        )
        assert fit(self.asked, ()) == fit((), (span(1950),)) == 0
        before = (Interval(-inf, day_number(1950) - 1, "before"),)
        assert fit(before, (span(1945),)) == 1

    @given(st.integers(1000, 2000), st.integers(0, 40), st.integers(0, 40))
    def test_nearer_fits_better(self, year, near, further):
        near, further = sorted((near, further))
        one, other = (fit((span(year),), (span(year + d),)) for d in (near, further))
        assert 0 <= other <= one <= 1

    def test_who_asks_of_a_day_looks_among_days(self):
        asked, a_month_off = span(2023, 5, 8), span(2023, 6, 8)
        assert fit((asked,), (span(2023, 5, 9),)) > 0.9
        assert fit((asked,), (a_month_off,)) < 0.2
        assert fit((span(2022),), (a_month_off,)) > 0.5, "of a year among years"

    def test_recency(self):
        now = day_number(2020)
        assert recency((span(2019),), now, 365) == pytest.approx(0.5)
        assert recency((span(2021),), now, 365) == 0, "what has not begun counts for nothing"
        assert recency((span(2019), span(2021)), now, 365) == pytest.approx(0.5)


TEXTS = {
    "early": "She led the institute from 1950 to 1960.",
    "late": "She led the institute from 1990 to 1999.",
    "never": "She led the institute for years.",
}


def corpus_of(**metadata: dict) -> MemoryCorpus:
    documents = [Document(n, t, source=n, metadata=metadata.get(n, {})) for n, t in TEXTS.items()]
    return MemoryCorpus(documents, [d.chunk(Span(0, len(d.text))) for d in documents], ENCODER)


def found(refiner, text, corpus, *, as_of=None, score=1.0):
    trace = Trace()
    hits = [Hit(c, score).scored("dense", score) for c in corpus.chunks()]
    with trace.stage("s") as stage:
        refined = refiner.refine(Query(text, as_of), hits, corpus)
    return [h.chunk.document_id for h in refined], refined, stage


def test_time_scope_puts_what_fits_first_and_drops_nothing():
    ids, hits, stage = found(TimeScopeRefiner(), "Who led it in 1990?", corpus := corpus_of())
    assert ids[0] == "late"
    assert set(ids) == set(TEXTS)
    assert stage.warnings[UNDATED] == 1
    assert hits[0].score == pytest.approx(1 + 4 * corpus.spread), "a perfect fit is worth `weight` deviations"
    assert found(TimeScopeRefiner(), "Who led it?", corpus)[0] == list(TEXTS), "nothing asked, nothing moved"


def test_time_scope_adds_in_the_unit_of_the_scores():
    corpus = corpus_of()
    hits = [h.scored("dense", h.score) for h in corpus.nearest(corpus.embed("institute"), 9)]
    fused = CalibratedFuser().fuse({"dense": hits, "bm25": hits[:2]}, 9, Query("x"), corpus)
    raised = TimeScopeRefiner().refine(Query("in 1990"), fused, corpus)
    before = {h.chunk.id: h.score for h in fused}
    late = next(h for h in raised if h.chunk.document_id == "late")
    assert late.score - before[late.chunk.id] == pytest.approx(4)
    again = RecencyRefiner(always=True).refine(Query("in 1990", datetime(1990, 1, 1)), raised, corpus)
    gained = next(h for h in again if h.chunk.document_id == "late").score - late.score
    assert gained == pytest.approx(2), "the unit is still that of the fusion"


def test_time_scope_may_take_the_moment_of_asking_for_the_time():
    corpus, at = corpus_of(), datetime(1955, 5, 5)
    assert found(TimeScopeRefiner(), "Who led it?", corpus, as_of=at)[0] == list(TEXTS)
    assert found(TimeScopeRefiner(as_of=True), "Who led it?", corpus, as_of=at)[0][0] == "early"


def test_a_documents_date_counts_where_its_text_names_none():
    corpus = corpus_of(never={"published_at": "2010-03-04T10:00:00+02:00"}, early={"published_at": "2010-03-05"})
    ids, _, stage = found(TimeScopeRefiner(), "What was written in March 2010?", corpus)
    assert ids[0] == "never"
    assert not stage.warnings
    assert found(TimeScopeRefiner(), "Who led it in 1950?", corpus)[0][0] == "early", "told, not published"


def test_a_date_that_cannot_be_read_is_counted_and_the_passage_still_found():
    _, hits, stage = found(TimeScopeRefiner(), "in 1990", corpus_of(never={"date": "someday soon-ish"}))
    assert len(hits) == 3
    assert any("could not be read" in warning for warning in stage.warnings)


DIALOGUE = """[2023-05-08 10:30] Ann: We moved in yesterday.
Ben: And in March you were still looking.
## Tuesday, 9 May 2023
Ben: So you have been there for two days.
Ann: The painters came last week."""


def told(times: PassageTimes, corpus: MemoryCorpus, *, at: int, end: int | None = None) -> list[tuple[str, str, str]]:
    [document] = [corpus.document("talk")]
    return [plain(one) for one in times.of(document.chunk(Span(at, end or len(document.text))), corpus).stated]


def test_a_day_at_the_beginning_of_a_line_is_that_of_what_follows():
    corpus = MemoryCorpus.of({"talk": DIALOGUE}, ENCODER)
    days = [("at", day, day) for day in ("2023-05-08", "2023-05-07", "2023-05-09")]
    found = told(PassageTimes(), corpus, at=0)
    assert found == [*days[:2], ("at", "2023-03-01", "2023-03-31"), days[2], ("at", "2023-05-01", "2023-05-07")]


def test_it_may_stand_before_the_passage():
    corpus, last = MemoryCorpus.of({"talk": DIALOGUE}, ENCODER), DIALOGUE.index("Ann: The")
    assert told(PassageTimes(), corpus, at=last) == []
    assert told(PassageTimes(looks_back=True), corpus, at=last) == [("at", "2023-05-01", "2023-05-07")]
    second = DIALOGUE.index("Ben: So"), DIALOGUE.index("Ann: The")
    day = ("at", "2023-05-09", "2023-05-09")
    assert told(PassageTimes(looks_back=True), corpus, at=second[0], end=second[1]) == [day], "or none is told"


@pytest.mark.parametrize("given", [{"title": "Ann and Ben, 8 May, 2023"}, {"metadata": {"date": "2023-05-08"}}])
def test_yesterday_is_that_of_the_passage(given):
    document = Document("talk", "Ann: We moved in yesterday, and the party is in June.", **given)
    found = PassageTimes().of(document.chunk(Span(0, len(document.text))))
    june = ("at", "2023-06-01", "2023-06-30")
    assert [plain(one) for one in found.told] == [("at", "2023-05-07", "2023-05-07"), june], "the nearest June"
    assert plain(found.of) == ("at", "2023-05-08", "2023-05-08")
    far = Document("talk", document.text, metadata={"date": "2020"})
    assert not PassageTimes().of(far.chunk(Span(0, len(far.text)))).told, "no day to count from"


def test_recency_is_off_unless_the_newest_is_asked_for():
    corpus, at = corpus_of(), datetime(2000, 1, 1)
    assert found(RecencyRefiner(), "Who led it in 1955?", corpus, as_of=at)[0] == list(TEXTS)
    assert found(RecencyRefiner(), "Who leads it now?", corpus, as_of=at)[0][0] == "late"
    assert found(RecencyRefiner(always=True), "Who led it in 1955?", corpus, as_of=at)[0][0] == "late"
    assert found(RecencyRefiner(), "Who leads it now?", corpus, as_of=datetime(1970, 1, 1))[0][0] == "early"


def test_the_time_filter_drops_with_reasons():
    ids, _, stage = found(TimeFilterRefiner(), "Who led it in 1990?", corpus_of())
    assert ids == ["late", "never"]
    assert list(stage.dropped.values()) == ["names no time near that of the question"]
    assert found(TimeFilterRefiner(keep_undated=False), "in 1990", corpus_of())[0] == ["late"]
    assert found(TimeFilterRefiner(slack=30.0), "in 1990", corpus_of())[0] == list(TEXTS)


ACTING = [TimeScopeRefiner(as_of=True), RecencyRefiner(always=True), TimeFilterRefiner(keep_undated=False)]


@pytest.mark.parametrize("refiner", ACTING, ids=repr)
def test_laws_where_they_act(refiner):
    check_refiner(refiner)
