import zipfile

import openpyxl
import pytest

from classifier.errors import ClassifierError
from classifier.rows import open_table

TICKETS = [["id", "name", "comment"], *([number, "Max", f"card {number} was stolen"] for number in range(5))]


@pytest.fixture
def save(tmp_path):
    def make(sheets, hidden=()):
        workbook = openpyxl.Workbook()
        workbook.remove(workbook.active)
        for title, rows in sheets.items():
            sheet = workbook.create_sheet(title)
            for row in rows:
                sheet.append(row)
            sheet.sheet_state = "hidden" if title in hidden else "visible"
        workbook.save(tmp_path / "a.xlsx")
        return tmp_path / "a.xlsx"

    return make


def read(path, **options):
    with open_table(path, **options) as table:
        return table, list(table)


def test_a_preamble_of_two_cells_is_no_header(save):
    table, rows = read(save({"A": [["Exported by", "Max"], ["Date", "May"], *TICKETS]}))
    assert (table.columns, table.text_column) == (("id", "name", "comment"), "comment")
    assert [row.error for row in rows] == [""] * 5
    assert table.notes == ("Skipped 2 lines before the header.",)


def test_columns_that_most_rows_leave_empty_make_the_header_no_preamble(save):
    rows = [["id", "text", "a", "b", "c"], *([n, "my card is lost", *"xyz"[: n % 4]] for n in range(40))]
    table, found = read(save({"A": rows}))
    assert table.columns == ("id", "text", "a", "b", "c")
    assert not any(row.error for row in found)


def test_a_header_may_leave_its_last_column_unnamed(save):
    table, found = read(save({"A": [["id", "name", "comment"], *([*row, "x"] for row in TICKETS[1:])]}))
    assert table.columns == ("id", "name", "comment", "column_4")
    assert not any(row.error for row in found)


def test_a_hidden_sheet_is_not_read(save):
    lookup = [["code", "meaning text"], ["A", "some lookup thing"]]
    table, _ = read(save({"lookup": lookup, "Tickets": TICKETS}, hidden=["lookup"]))
    assert table.columns == ("id", "name", "comment")
    assert table.notes == ("Read the sheet 'Tickets' of 2.",)


def test_a_cover_is_passed_over_for_a_table(save):
    cover = [["About this export"], ["It holds the tickets of May."], [None, "Ask Max for more."]]
    assert read(save({"About": cover, "Tickets": TICKETS}))[0].columns == ("id", "name", "comment")


def test_a_named_list_of_messages_is_no_cover(save):
    path = save({"A": [["message"], ["my card is lost"]], "B": TICKETS})
    assert read(path)[0].columns == ("message",)


def test_a_list_of_messages_without_any_other_sheet_is_read(save):
    assert len(read(save({"A": [["my card is lost."], ["where is it?"]]}))[1]) == 2


@pytest.mark.parametrize("last_row", ["1048576", "99999999999999"])
def test_a_cell_in_the_last_corner_does_not_fill_the_sheet(save, tmp_path, last_row):
    workbook = openpyxl.load_workbook(save({"A": TICKETS}))
    workbook["A"]["XFD1048576"] = " "
    workbook.save(tmp_path / "a.xlsx")
    path = tmp_path / "corner.xlsx"
    with zipfile.ZipFile(tmp_path / "a.xlsx") as before, zipfile.ZipFile(path, "w") as after:
        for name in before.namelist():
            after.writestr(name, before.read(name).replace(b"1048576", last_row.encode()))
    table, rows = read(path)
    assert (len(table.columns), len(rows)) == (3, 5)


def test_a_text_counts_in_every_cell_that_shows_it(save):
    path = save({"A": [["text"], *[["my card is lost " * 2000]] * 100]})
    assert path.stat().st_size < 20_000
    with pytest.raises(ClassifierError, match="longer than 1 MiB unpacked"):
        read(path, max_bytes=1 << 20)


def test_rows_that_are_wide_for_one_cell_count_as_wide(tmp_path):
    workbook = openpyxl.Workbook()
    for row in range(1, 100):
        workbook.active.cell(row, 1, "my card is lost")
        workbook.active.cell(row, 16_384, 1)
    workbook.save(tmp_path / "wide.xlsx")
    with pytest.raises(ClassifierError, match="longer than 1 MiB unpacked"):
        read(tmp_path / "wide.xlsx", max_bytes=1 << 20)
