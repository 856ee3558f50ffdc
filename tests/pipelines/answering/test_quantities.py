"""Quantities: numbers however they are written, what they count, and the side on which they bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.answering.claims import Claim, agrees, denied
from fovea.pipelines.answering.contradictions import misbounded, miscounted, misplaced
from fovea.pipelines.answering.numerals import in_digits, numerals
from fovea.pipelines.answering.quantities import asked_numbers, numbers, quantities

ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"


def spelt(n: int) -> str:
    """`n` below a thousand million in English words."""
    small = [*ONES.split(), "eighteen", "nineteen"]
    if n < 20:
        return small[n]
    if n < 100:
        return TENS.split()[n // 10 - 2] + (f"-{small[n % 10]}" if n % 10 else "")
    if n < 1000:
        return f"{small[n // 100]} hundred" + (f" and {spelt(n % 100)}" if n % 100 else "")
    power, word = (1_000_000, "million") if n >= 1_000_000 else (1000, "thousand")
    rest = n % power
    return f"{spelt(n // power)} {word}" + (f"{' and' * (rest < 100)} {spelt(rest)}" if rest else "")


@given(st.integers(0, 10**9 - 1))
def test_number_words_are_read_as_they_are_written(n):
    assert numbers(f"there were {spelt(n)} of them") == {str(n)} or n >= 10**9


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("between one hundred and two hundred men", ["100", "200"]),
        ("five hundred and six hundred", ["500", "600"]),
        ("two hundred and fifty thousand", ["250000"]),
        ("a dozen, two dozen", ["12", "24"]),
        ("$1.5k or €10bn", ["1500", "10000000000"]),
        ("one, two and three", ["1", "2", "3"]),
    ],
)
def test_where_one_number_ends_and_another_begins(text, values):
    assert [n.digits for n in numerals(text)] == values


def test_numbers_in_digits():
    assert in_digits("Twenty-one of 1,500 men, one of a thousand.") == "21 of 1500 men, one of a thousand."
    assert asked_numbers("one of a thousand") == frozenset()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2 weeks a year, at most 4 months", [("2", "week", ""), ("4", "month", "most")]),
        ("$150, USD 150, US$150, 150 USD and 150 dollars", [("150", "dollar", "")] * 5),
        ("20%, 20 %, 20 percent, 20 per cent, 20 Prozent", [("20", "percent", "")] * 5),
        ("80 °C, 80° and 80 degrees", [("80", "degree", "")] * 3),
        ("30 calendar days, a 30-day term, 30 Tage", [("30", "day", "")] * 3),
        ("between 2 and 4 days, 2 to 4 days, 2–4 days", [("2", "day", "least"), ("4", "day", "most")] * 3),
        ("5 to 10 million users", [("5000000", "user", "least"), ("10000000", "user", "most")]),
        ("687 and 760 nm", [("687", "nm", ""), ("760", "nm", "")]),
        ("in 1969.", [("1969", "", "")]),
        ("The maximum, reached in 1969, was 300 km.", [("1969", "", ""), ("300", "kilometre", "")]),
    ],
)
def test_what_a_number_counts(text, found):
    assert [(q.value, (*q.things, "")[0], q.side) for q in quantities(text)] == found


MOST = [
    "at most 4", "up to 4", "no more than 4", "not more than 4", "it must not exceed 4", "it can't exceed 4",
    "a maximum of 4", "the maximum pay is 4", "4 months maximum", "4 or fewer", "less than 4", "within 4", "under 4",
    "höchstens 4", "maximal 4", "bis zu 4", "nicht mehr als 4", "weniger als 4", "au plus 4", "como máximo 4",
]  # fmt: skip
LEAST = [
    "at least 4", "no less than 4", "not fewer than 4", "more than 4", "above 4", "over about 4", "exceeding 4",
    "a minimum of 4", "4 or more", "4 months at least", "mindestens 4", "über 4", "mehr als 4", "au moins 4",
    "al menos 4", "nicht weniger als 4",
]  # fmt: skip
NEITHER = ["4", "the 4", "maximum. 4", "it was over, 4", "over the river stand those 4", "no more. 4"]


@pytest.mark.parametrize(
    ("text", "side"), [(t, s) for texts, s in ((MOST, "most"), (LEAST, "least"), (NEITHER, "")) for t in texts]
)
def test_the_side_on_which_a_number_bounds(text, side):
    (quantity,) = quantities(text)
    assert (quantity.value, quantity.side) == ("4", side)


@pytest.mark.parametrize("most", MOST)
@pytest.mark.parametrize("least", LEAST[:8])
def test_at_least_is_never_at_most(most, least):
    assert misbounded(quantities(most), quantities(least))
    assert misbounded(quantities(least), quantities(most))
    assert not misbounded(quantities(most), quantities(MOST[0]))
    assert not misbounded(quantities("4"), quantities(most))


def test_a_bound_is_not_lent_to_another_number():
    told = quantities("2 weeks a year, at most 4 months")
    assert misbounded(quantities("at most 2 weeks"), told)
    assert not misbounded(quantities("2 weeks a year"), told)
    assert not misbounded(quantities("2 weeks a year, at most 4 months"), told)
    assert not misbounded(quantities("at most 4 months"), quantities("children under 12 pay 4 euros for 4 months"))


@pytest.mark.parametrize(
    ("claim", "evidence", "wrong"),
    [
        ("4 weeks", "2 weeks, 4 months", True),
        ("150 euros", "$150", True),
        ("four receivers", "four wide receivers and 2 backs", False),
        ("12 dogs", "12 people came with 3 dogs", True),
        ("12 guests", "12 people came", False),
        ("12 people", "in the 12", False),
        ("3 hours", "3 hr", False),
    ],
)
def test_what_is_counted_is_compared(claim, evidence, wrong):
    assert miscounted(quantities(claim), quantities(evidence)) == wrong


def test_a_bound_is_no_denial():
    assert denied("no more than 4 months") == denied("It must not exceed 4 months.") == frozenset()
    assert denied("It has no more air.") == {"more", "air"}


def test_bounds_are_no_matter_of_a_claim():
    assert Claim.of("The pay is at most four months").words == Claim.of("The maximum pay is 4 months").words
    assert "maxim" in Claim.of("The maximum is unknown").words


TOLD = "The defense gave up just 308 points, while also leading the league in interceptions with 24 in 2015, 9 more."


@pytest.mark.parametrize(
    ("claim", "wrong"),
    [
        ("The defense gave up just 24 points.", True),
        ("They led the league in interceptions with 308.", True),
        ("The defense gave up just 308 points.", False),
        ("24 interceptions were made by the defense.", False),
        ("The defense gave up only 308.", False),
        (TOLD, False),
        # what the evidence does not hold is for others to find, and a year stands in no number's place
        ("The defense gave up just 7 points.", False),
        ("In 2015, the defense gave up just 308 points.", False),
        ("Leading the league in interceptions, 2015.", False),
    ],
)
def test_a_number_stands_among_its_words(claim, wrong):
    assert misplaced(quantities(claim), quantities(TOLD)) == wrong


PIECES = ["4", "5 months", "4 weeks", "at most", "at least", "tea", "1990", "two", "$7", "and", "to", "the,"]


def test_what_is_said_in_another_order_stands_in_its_place():
    told = quantities("Green tea is brewed at 80 degrees for two minutes.")
    assert not misplaced(quantities("Green tea is brewed for two minutes at 80 degrees."), told)


@given(st.lists(st.sampled_from(PIECES), max_size=14))
def test_what_is_copied_is_always_right(words):
    told = quantities(" ".join(words))
    assert not miscounted(told, told)
    assert not misbounded(told, told)
    assert not misplaced(told, told)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2 Mio. Einwohner, 3 Millionen Euro, 2,5 Mrd. Franken", ["1200000", "3000000", "2500000000"]),
        ("3 millions, 4 milliards, 5 millones", ["3000000", "4000000000", "5000000"]),
        ("drei, zwölf, dreißig und fünfundzwanzig Tage", ["3", "12", "30", "25"]),
        ("1\u202f400 Meter, 1\u00a0234\u00a0567,5 und 1'500 oder 12’000", ["1400", "1234567.5", "1500", "12000"]),
        ("'300' 1'40", ["300", "1", "40"]),
    ],
)
def test_numbers_of_other_languages(text, values):
    assert [n.digits for n in numerals(text)] == values


@pytest.mark.parametrize(
    ("told", "one", "other"),
    [
        ("Die Anzahlung darf 20 Prozent nicht überschreiten.", "höchstens 20 Prozent", "mindestens 20 Prozent"),
        ("Die Anzahlung soll 20 Prozent nicht unterschreiten.", "mindestens 20 Prozent", "höchstens 20 Prozent"),
        ("Kinder ab 12 Jahren zahlen voll.", "mindestens 12 Jahre", "unter 12 Jahren"),
        ("Kinder bis 12 Jahre reisen frei.", "bis zu 12 Jahren", "ab 12 Jahren"),
        ("Zahlbar innerhalb von 30 Tagen.", "spätestens nach 30 Tagen", "frühestens nach 30 Tagen"),
        ("Die Quote darf nicht über 5 Prozent liegen.", "höchstens 5 Prozent", "mehr als 5 Prozent"),
        ("It must not be above 20 degrees.", "at most 20 degrees", "above 20 degrees"),
        ("It must not fall below 5 degrees.", "at least 5 degrees", "below 5 degrees"),
        ("Payment is due within 30 days.", "30 days after it at the latest", "30 days after it at the earliest"),
    ],
)
def test_bounds_of_both_languages(told, one, other):
    assert not misbounded(quantities(one), quantities(told))
    assert misbounded(quantities(other), quantities(told))


def test_a_number_word_is_no_name():
    told = "Die Stadt hat 1.200.000 Einwohner."
    assert agrees(Claim.of("Die Stadt hat 1,2 Millionen Einwohner."), told, told)
    assert not agrees(Claim.of("Die Stadt hat 1,2 Milliarden Einwohner."), told, told)


def test_what_looks_like_a_bound_and_is_none():
    for text in ("Von 2 bis 4 Wochen", "Er lehnte ab, 12 Gäste kamen", "Die Gabe von 12 Euro"):
        assert quantities(text)[-1].side == ("most" if "bis" in text else "")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1.500 Euro, €1.500, 12.000 Franken, 1.500 Einwohner", ["1500", "1500", "12000", "1500"]),
        ("1.500 kg, $1.500 billion, 0.500 Euro", ["1.5", "1500000000", "0.5"]),
        ("1 400 metres, 12 500 €, 1 234 567 euros", ["1400", "12500", "1234567"]),
        ("room 1 400 guests, 1 40 metres", ["1", "400", "1", "40"]),
        ("1.2m people, 5k users, 3bn, 2m euros", ["1200000", "5000", "3000000000", "2000000"]),
        ("1.2m tall, a 5k race, 300k", ["1.2", "5", "300"]),
        ("5k tea", ["5"]),
        ("8:30, 08:30, 8.30 Uhr, 8.30 am, 8:00", ["8:30", "8:30", "8:30", "8:30", "8"]),
        ("16:9, 12:10:15, 8.30 euros", ["16", "9", "12", "10", "15", "8.3"]),
        ("2.1.0, 2.10, 192.168.1.200 and v2.10", ["2.1.0", "2.1", "192.168.1.200", "2.1"]),
    ],
)
def test_what_is_written_in_another_way(text, values):
    assert [n.digits for n in numerals(text)] == values


@pytest.mark.parametrize(
    ("claim", "evidence", "wrong"),
    [
        ("It needs version 2.1.", "It needs version 2.10.", True),
        ("It needs Python 3.1 or later.", "Python 3.10 or later is needed.", True),
        ("It needs version 2.10.", "The latest is 2.10.", False),
        ("It costs 2.5 euros.", "Espresso 2.50", False),
        ("It was 15 °C.", "It was -15 °C.", True),
        ("It was -15 °C.", "It was 15 degrees.", True),
        ("It was minus 15 degrees.", "It was -15 °C.", False),
        ("It was 15 degrees below zero.", "It was −15 °C.", False),
        ("It was 15 to 20 °C.", "It was 15-20 °C.", False),
        ("Sales fell by 15 percent.", "Sales: -15%", False),
        ("It opens at 8:30 pm.", "It opens at 8:30 a.m.", True),
        ("It opens at 8.30 a.m.", "It opens at 8:30am.", False),
        ("It opens at 8:30.", "It opens at 8:30 a.m.", False),
    ],
)
def test_the_same_digits_may_say_something_else(claim, evidence, wrong):
    assert miscounted(quantities(claim), quantities(evidence)) == wrong


HOURS = "The shop opens at 8:30 and closes at 17:00."


@pytest.mark.parametrize(
    ("claim", "evidence", "wrong"),
    [
        ("It opens at 17:00 and closes at 8:30.", HOURS, True),
        ("It closes at 17:00 and opens at 8:30.", HOURS, False),
        ("It opens at 8:30.", HOURS, False),
        ("Denver beat Carolina 24 to 10.", "Denver made 24 points and Carolina 10.", False),
        ("Denver 10 and Carolina 24.", "Denver 24, Carolina 10.", True),
        ("Denver 24, Carolina 10.", "24 by Denver, 10 by Carolina, 24 by Texas.", False),
    ],
)
def test_numbers_do_not_change_places(claim, evidence, wrong):
    assert misplaced(quantities(claim), quantities(evidence)) == wrong
