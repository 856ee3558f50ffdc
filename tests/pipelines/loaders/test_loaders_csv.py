"""CSV: where the table begins, what parts its columns, and one type for each of them."""

import pytest

from fovea.pipelines.loaders.csv import CsvLoader, columns, rows_above
from fovea.pipelines.loaders.markdown import MarkdownLoader
from fovea.rag.trace import Trace
from tests.growth import MOST, growth


def load(path, data, loader=None):
    """The documents of a CSV file, and the warnings they left."""
    path.write_text(data, encoding="utf-8", newline="")
    trace = Trace()
    with trace.stage("load"):
        documents = list((loader or CsvLoader()).load(path))
    return documents, dict(trace.warnings)


def column(tmp_path, cells, delimiter=";"):
    """What becomes of the cells of one column."""
    data = f"n{delimiter}c\n" + "".join(f"r{delimiter}{cell}\n" for cell in cells)
    documents, _ = load(tmp_path / "a.csv", data)
    return [d.metadata.get("c") for d in documents]


TITLED = [
    "Account statement\nGenerated on,2024-05-01\n\nDate,Amount,Note\n2024-04-01,-12.50,Lamp\n2024-04-02,30.00,Chair\n",
    "Account statement,,\nGenerated on,2024-05-01,\n,,\nDate,Amount,Note\n2024-04-01,-12.50,Lamp\n"
    "2024-04-02,30.00,Chair\n",
    "Account statement\nGenerated on;2024-05-01\nDate;Amount;Note\n2024-04-01;-12.50;Lamp\n2024-04-02;30.00;Chair\n",
]


@pytest.mark.parametrize("data", TITLED)
def test_title_rows_above_the_header_are_the_title_of_the_rows(tmp_path, data):
    (first, second), warnings = load(tmp_path / "a.csv", data)
    assert first.text == "Date: 2024-04-01\nAmount: -12.50\nNote: Lamp"
    assert first.title == second.title == "Account statement; Generated on 2024-05-01"
    assert dict(second.metadata) == {"Date": "2024-04-02", "Amount": "30.00", "Note": "Chair"}
    assert warnings == {}


@pytest.mark.parametrize(
    ("rows", "above"),
    [
        (["a,b,c", "1,2,3"], 0),
        (["name,city", "Kim,Rome,x", "Lee,Bonn,y"], 0),  # The last column has no name.
        (["a,b,", "1,2,3", "4,5,6"], 0),
        (["1,2", "1,2,3", "4,5,6"], 0),
        (["Sales", "name,city", "Kim,Rome"], 1),
        (["Sales by year", "Country,2019,2020", "Chad,1,2", "Mali,3,4"], 1),
        (["From,Kim", "To,Lee", "On,2024", "By,post", "id,name,price", "1,Nut,2", "2,Bolt,3", "Total,,5"], 4),
        (["note", "A plain line", "Another, with a comma"], 0),
        (["a,b,c", "1,2,3,4", "1,2,3,4,5", "1,2,3"], 0),
    ],
)
def test_titles_are_told_from_headers(rows, above):
    assert rows_above([row.split(",") for row in rows]) == above


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1990", "7", ""], [1990, 7, None]),
        (["1", "2.5"], [1.0, 2.5]),
        (["1.1", "1.10"], ["1.1", "1.10"]),
        (["90210", "01234"], ["90210", "01234"]),
        (["1", str(2**53 + 1)], ["1", str(2**53 + 1)]),
        (["+4912345", "12"], ["+4912345", "12"]),
        (["1,5", "2", "-3,25"], [1.5, 2.0, -3.25]),
        (["1.234,50", "2"], ["1.234,50", "2"]),
        (["true", "FALSE"], [True, False]),
        (["true", "1"], ["true", "1"]),
        (["3", "n/a"], ["3", "n/a"]),
        (["2024-05-06", "06/05/2024"], ["2024-05-06", "06/05/2024"]),
        (["inf", "nan", "1e5", "1_000", "٣"], ["inf", "nan", "1e5", "1_000", "٣"]),
    ],
)
def test_a_column_has_one_type_and_loses_nothing(tmp_path, cells, values):
    found = column(tmp_path, cells)
    assert found == values
    assert list(map(type, found)) == list(map(type, values))


def test_the_type_is_that_of_the_whole_file_not_of_its_beginning(tmp_path):
    assert set(map(type, column(tmp_path, [*map(str, range(3000)), "Total"]))) == {str}


def test_a_comma_between_digits_parts_columns_only_where_nothing_else_does(tmp_path):
    (first, *_), _ = load(tmp_path / "a.csv", "Preis, EUR;Menge, kg;Ort\n1,5;2,5;Ulm\n3,25;4,75;Aue\n")
    assert first.text == "Preis, EUR: 1,5\nMenge, kg: 2,5\nOrt: Ulm"
    (first, *_), _ = load(tmp_path / "a.csv", "a,b\n1,2\n3,4\n")
    assert first.text == "a: 1\nb: 2"


def test_newlines_in_quotes_stay_in_headers_and_cells(tmp_path):
    (first,), warnings = load(tmp_path / "a.csv", 'id,"price\nin EUR"\r\n1,"2\r\n3"\r\n')
    assert first.text == "id: 1\nprice\nin EUR: 2\r\n3"
    assert warnings == {}


def test_every_column_has_a_name_of_its_own():
    assert columns(["a", "a 3", "a", "", "column 4", "a"]) == ["a", "a 3", "a 4", "column 4", "column 4 5", "a 6"]


@pytest.mark.parametrize("name", ["", "a"])
def test_a_wide_header_costs_linear_time(name):
    def reading(n: int):
        header = [f"{name or 'column'} {i}" for i in range(n + 1, 2 * n + 1)] + [name] * n
        return lambda: columns(header)

    assert len(set(reading(20_000)())) == 40_000
    assert growth(reading, 5_000) < MOST


def test_front_matter_keeps_versions(tmp_path):
    (tmp_path / "a.md").write_text("---\nversion: 1.10\nzip: 01234\nyear: 1990\nratio: 0.5\n---\n# T\n")
    (document,) = MarkdownLoader().load(tmp_path / "a.md")
    assert document.metadata == {"version": "1.10", "zip": "01234", "year": 1990, "ratio": 0.5}


def test_rows_with_a_title_of_their_own_keep_the_title_rows_above(tmp_path):
    data = "Book list 2024\nBy shelf\ntitle,year,pages\nDune,1965,412\n,1815,300\n"
    (first, second), warnings = load(tmp_path / "a.csv", data)
    assert first.title == "Dune (Book list 2024; By shelf)"
    assert second.title == "Book list 2024; By shelf"
    assert warnings == {}
