"""Values are shown as spreadsheets show them."""

from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fovea.pipelines.loaders.sheets.number_format import general, shown

NOON = datetime(2026, 1, 9, 14, 5, 9)

SHOWN = [
    (1234.5, "General", "1234.5"),
    (0.1 + 0.2, "General", "0.3"),
    (1e-7, "General", "1E-07"),
    (12345678901234567890, "General", "12345678901234567890"),
    (True, "0", "TRUE"),
    (0.256, "0.0%", "25.6%"),
    (0.256, "0%", "26%"),
    (1234567.891, "#,##0.00", "1,234,567.89"),
    (999, "#,##0", "999"),
    (1000, "#,##0", "1,000"),
    (-5.5, "#,##0.00;[Red](#,##0.00)", "(5.50)"),
    (-5.5, "0.0", "-5.5"),
    (0, '0;-0;"none"', "none"),
    (7, "00000", "00007"),
    (123456789, "000-00-0000", "123-45-6789"),
    (5551234567, "(000) 000-0000", "(555) 123-4567"),
    (1234567, '0.0,,"M"', "1.2M"),
    (12345678, "#,##0,", "12,346"),
    (2.675, "0.00", "2.68"),
    (0.5, "#.##", ".5"),
    (3, "0.##", "3"),
    (5.25, "# ?/?", "5 1/4"),
    (5.125, "# ?/8", "5 1/8"),
    (0.5, "?/?", "1/2"),
    (3.14159, "# ??/??", "3 14/99"),
    (12345, "0.00E+00", "1.23E+04"),
    (0.00012, "0.0E+0", "1.2E-4"),
    (42, "[$€-407] #,##0.00", "€ 42.00"),
    (42.5, '_-* #,##0.00\\ "€"_-;-* #,##0.00\\ "€"_-', "42.50 €"),
    (1234.5, '"$"#,##0.00_);("$"#,##0.00)', "$1,234.50"),
    (150, '[>100]"high";[<=100]"low"', "high"),
    (50, '[>100]"high";[<=100]"low"', "low"),
    (12, '0 "kg"', "12 kg"),
    ("01234", "@", "01234"),
    ("01234", "General", "01234"),
    ("x", '0;0;0;"<"@">"', "<x>"),
    ("words", "0.00", "words"),
    (NOON, "mm-dd-yy", "2026-01-09"),
    (NOON, "m/d/yy h:mm", "2026-01-09 14:05"),
    (NOON, "d mmmm yyyy, h:mm AM/PM", "9 January 2026, 2:05 PM"),
    (NOON, "dd.mm.yyyy hh:mm:ss", "09.01.2026 14:05:09"),
    (NOON, "[$-407]dddd, d. mmm yy", "Friday, 9. Jan 26"),
    (NOON, "mm:ss", "05:09"),
    (date(2026, 3, 4), "ddd d mmm yy", "Wed 4 Mar 26"),
    (time(9, 5), "h:mm", "9:05"),
    (timedelta(hours=30, minutes=5), "[h]:mm", "30:05"),
    (timedelta(minutes=5, seconds=3), "mm:ss.0", "05:03.0"),
]


@pytest.mark.parametrize(("value", "code", "words"), SHOWN)
def test_a_value_is_shown_by_its_format(value, code, words):
    assert shown(value, code) == words


@given(
    value=st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(), st.datetimes(), st.text()),
    code=st.text('0#?.,%/E+-;"\\[]@ydmhs<>=$_* GeneralAM/P', max_size=20),
)
def test_no_format_fails(value, code):
    assert isinstance(shown(value, code), str)


@example(value=-0.0, code="0.0")
@given(
    value=st.floats(-1e12, 1e12) | st.integers(-(10**15), 10**15),
    code=st.sampled_from(["0", "0.0", "0.00", "#,##0", "#,##0.000", "0%", "#,##0.0%"]),
)
def test_common_formats_take_a_shorter_way_to_the_same(value, code):
    assert shown(value, code) == shown(value, code + '""')


@given(value=st.integers(-(10**14), 10**14))
def test_thousands_are_the_digits_with_commas(value):
    assert shown(value, "#,##0") == f"{value:,}"


@given(value=st.floats(-1e9, 1e9))
def test_general_form_keeps_fifteen_digits(value):
    assert float(general(value)) == pytest.approx(value, rel=1e-14)
