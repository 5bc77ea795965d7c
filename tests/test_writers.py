import json
import math

import pytest

from classifier.errors import ClassifierError
from classifier.plain_json import dump
from classifier.rows import open_table
from classifier.writers import neutralised, output_format, write_table


def written(path, columns, rows):
    write_table(columns, lambda: iter(rows), str(path))
    with open_table(path, text_column=columns[0]) as table:
        return [row.cells for row in table.rows()]


@pytest.mark.parametrize("sign", ["\x01", "\x0b", "\ufffe", "\x00\uffff"])
def test_no_formula_hides_behind_a_sign_that_a_sheet_cannot_hold(tmp_path, sign):
    openpyxl = pytest.importorskip("openpyxl")
    write_table(["text"], lambda: iter([[f"{sign}=1+1"], [f"a{sign}b"]]), str(tmp_path / "a.xlsx"))
    first, second = list(openpyxl.load_workbook(tmp_path / "a.xlsx").active.iter_rows(min_row=2))
    assert (first[0].value, first[0].data_type, second[0].value) == ("'=1+1", "s", "ab")


@pytest.mark.parametrize("value", ["-inf", "+nan", "-Infinity"])
def test_words_that_only_python_takes_for_numbers_are_neutralised(value):
    assert neutralised(value) == f"'{value}"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2**62], [1, 2**62]),
        ([1, 1.5], [1.0, 1.5]),
        ([12345678901234567890, 1], ["12345678901234567890", "1"]),
        ([2**53 + 1, 1.5], [str(2**53 + 1), "1.5"]),
        ([True, 1], ["True", "1"]),
        ([None, math.pi], [None, math.pi]),
    ],
)
def test_no_number_is_too_long_for_parquet_or_loses_digits(tmp_path, values, expected):
    pytest.importorskip("pyarrow")
    rows = [["a message", value] for value in values]
    assert [row[1] for row in written(tmp_path / "a.parquet", ["text", "number"], rows)] == expected


@pytest.mark.parametrize("target", ["a.xlsx.gz", "A.PARQUET.GZ"])
def test_what_is_compressed_is_not_compressed_again(target):
    with pytest.raises(ClassifierError, match="compressed already"):
        output_format(target)


def test_json_is_such_as_every_reader_takes():
    row = {"score": math.nan, "many": [math.inf, 1.5, {"deep": -math.inf}], "text": "hi \ud83d", "pair": (1, math.nan)}
    line = dump(row)
    assert json.loads(line, parse_constant=pytest.fail) == {
        "score": None,
        "many": [None, 1.5, {"deep": None}],
        "text": "hi ?",
        "pair": [1, None],
    }
    assert dump({"a": 1.5, "é": None}) == '{"a": 1.5, "é": null}'.encode()
