import gzip
import io
import json
import sys
import zipfile

import openpyxl
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from classifier.delimited import NO_DELIMITER, find_dialect
from classifier.errors import ClassifierError
from classifier.rows import open_table, unique_names
from classifier.sources import detect_encoding
from classifier.writers import neutralised, write_table

MESSAGES = ["My card was charged twice, please help", "Where is my order?", 'They said "no" to my refund']


@pytest.fixture
def write(tmp_path):
    def make(content: bytes | str, name="export.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return make


def read(path, **options):
    with open_table(path, **options) as table:
        return table, list(table)


def texts(path, **options):
    table, rows = read(path, **options)
    at = table.columns.index(table.text_column)
    return [row.cells[at] for row in rows]


def errors(path, **options):
    return [row.error for row in read(path, **options)[1]]


# Encodings


@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("cp1252", "cp1252"),
    ],
)
def test_encoding_is_detected_named_and_survives(write, encoding, named):
    message = "Guten Tag, die Rückerstattung über 30 £ für das Café fehlt – bitte prüfen!"
    path = write("id,message\n" + f'1,"{message}"\n' * 40, encoding=encoding)
    table, rows = read(path)
    assert (table.encoding, table.text_column) == (named, "message")
    assert [row.cells for row in rows] == [["1", message]] * 40


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "I paid £30 for “this” — it’s broken"),
        ("cp1252", "le café déjà payé n’est pas arrivé"),
        ("cp1252", "El año pasado pagué 30 € y aún no llegó"),
        ("cp1252", "Wo bleibt meine Rückerstattung? Größe 42 war falsch"),
        ("cp1251", "Здравствуйте, верните пожалуйста деньги за заказ"),
        ("cp932", "注文した商品がまだ届いていません。返金をお願いします"),
    ],
)
def test_code_pages_are_told_apart(encoding, text):
    sample = f"id,message\n1,{text}\n".encode(encoding)
    assert detect_encoding(sample) == encoding


def test_first_special_sign_after_two_megabytes_does_not_break_utf8(write):
    path = write("message\n" + "please help me with my card\n" * 90_000 + "café déjà vu für alle\n")
    assert texts(path)[-1] == "café déjà vu für alle"


def test_stray_cp1252_bytes_in_utf8_are_read_as_such(write):
    good = "Größe und Café und Übung\n".encode() * 30
    path = write(b"message\n" + good + "Rückgabe läuft noch\n".encode("cp1252") + good)
    table, _ = read(path)
    assert table.encoding == "utf-8"
    assert texts(path)[30] == "Rückgabe läuft noch"


def test_chosen_encoding_wins_and_an_unknown_one_is_refused(write):
    path = write("message\nmy card declined again\n", encoding="utf-8")
    assert read(path, encoding="latin-1")[0].encoding == "iso8859-1"
    with pytest.raises(ClassifierError, match="no encoding 'klingon'"):
        open_table(path, encoding="klingon")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200))
@settings(max_examples=30, deadline=None)
def test_utf8_is_never_taken_for_something_else(text):
    if "\x00" not in text:
        assert detect_encoding(f"id,message\n1,{text}\n".encode()) in ("utf-8", "utf-8-sig")


# CSV


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "^", "~"])
def test_delimiter_is_detected(write, delimiter):
    rows = [
        delimiter.join([str(number), f'"{text.replace(chr(34), chr(34) * 2)}"']) for number, text in enumerate(MESSAGES)
    ]
    path = write(f"id{delimiter}message\n" + "\n".join(rows))
    table, found = read(path)
    assert table.delimiter == delimiter
    assert [row.cells[1] for row in found] == MESSAGES


def test_a_list_of_messages_with_commas_is_one_column(write):
    lines = ["Hello, I lost my card", "Please, help", "Thanks, all good", "no comma here"]
    path = write("message\n" + "\n".join(lines))
    assert find_dialect("message\n" + "\n".join(lines)).delimiter == NO_DELIMITER
    assert texts(path) == lines


def test_quoted_line_breaks_and_delimiters_stay_in_the_cell(write):
    path = write('id,message\r\n1,"Hello,\r\nmy card is lost"\r\n2,"a ""quoted"" word here"\r\n')
    assert texts(path) == ["Hello,\r\nmy card is lost", 'a "quoted" word here']


def test_ragged_rows_get_an_error_and_the_rest_goes_on(write):
    path = write("id,message,city\n1,my card is lost,Rome\n2,too short\n3,far,too,long,row\n4,where is my order,Oslo\n")
    _, rows = read(path)
    assert [bool(row.error) for row in rows] == [False, True, True, False]
    assert "2 cells, the header has 3" in rows[1].error
    assert "long | row" in rows[2].error
    assert rows[1].cells == ["2", "too short", None]


def test_nul_bytes_and_empty_cells_get_an_error(write):
    path = write("id,message\n1,my card is lost\n2,\n3,broken\0 row here\n4,   \n5,where is it\n")
    found = errors(path)
    assert [bool(error) for error in found] == [False, True, True, True, False]
    assert "NUL" in found[2]
    assert "'message' is empty" in found[1]


def test_an_unclosed_quote_costs_one_row(write):
    lines = [f"{number},message number {number} here" for number in range(700)]
    lines[3] = '3,"this quote is never closed'
    found = errors(write("id,message\n" + "\n".join(lines)))
    assert len(found) == 700
    assert [number for number, error in enumerate(found) if error] == [3]


def test_an_unclosed_quote_does_not_swallow_the_rows_up_to_the_next_quote(write):
    path = write('id,message\n1,"never closed\n2,where is my order\n3,"my card, please"\n4,"two\nlines"\n')
    assert [bool(error) for error in errors(path)] == [True, False, False, False]
    assert texts(path)[2:] == ["my card, please", "two\nlines"]


def test_lines_before_the_header_are_skipped_and_told(write):
    path = write("Export of 1 May\n\nid;message;city\n" + "1;my card is lost;Rome\n" * 30)
    table, rows = read(path)
    assert table.columns == ("id", "message", "city")
    assert len(rows) == 30
    assert "Skipped 1 line" in table.notes[0]


def test_a_file_without_header_keeps_its_first_row(write):
    table, rows = read(write("1,My card was charged twice.,2026-01-01\n2,Where is my order?,2026-01-02\n"))
    assert table.columns == ("column_1", "column_2", "column_3")
    assert table.text_column == "column_2"
    assert len(rows) == 2


def test_repeated_and_empty_names_become_unique():
    assert unique_names(["a", "a", "", None, " a "]) == ("a", "a_2", "column_3", "column_4", "a_3")


def test_an_endless_line_is_refused_in_one_sentence(write):
    path = write("id,message\n1," + "x" * (2 << 20))
    with pytest.raises(ClassifierError, match="over 1,048,576 characters"):
        read(path)


# The text column


def test_text_column_by_name_before_content(write):
    path = write("history,message\n" + "a b c d e f g h i j,please refund me\n" * 5)
    assert read(path)[0].text_column == "message"


def test_a_name_that_holds_no_words_is_passed_over(write):
    path = write("message_id,what_they_wrote\n" + "m1,please refund my order\n" * 5)
    assert read(path)[0].text_column == "what_they_wrote"


def test_chosen_text_column_and_its_error(write):
    path = write("subject,body\nmy subject line,my body text\n")
    assert texts(path, text_column="subject") == ["my subject line"]
    with pytest.raises(ClassifierError, match="no column 'text'; its columns are 'subject', 'body'"):
        open_table(path, text_column="text")


def test_a_table_of_numbers_has_no_text_column(write):
    with pytest.raises(ClassifierError, match="holds texts; name the right one"):
        open_table(write("a,b\n1,2\n3,4\n"))


@pytest.mark.parametrize(
    ("header", "cells", "found"),
    [
        (
            "Review Username,Review Title,Review Content",
            "Jane Doe,Great stuff really,the card was stolen and nobody helped",
            "Review Content",
        ),
        ("Requester,Was ist passiert", "Jane Doe,die Karte wurde gestohlen", "Was ist passiert"),
        ("content_type,customer_words", "text and html,the card was stolen", "customer_words"),
        ("user_message,agent_notes_id", "please refund me now,seen by our agent Max on Monday", "user_message"),
        ("CommentAuthor,CommentText", "Jane Maria van Doe,my card is lost", "CommentText"),
        ("Antwort,Nachricht", "wir haben Ihnen das Geld gestern schon überwiesen,Geld zurück bitte", "Nachricht"),
        ("respuesta,mensaje", "le devolvimos el dinero ayer por la tarde,quiero mi dinero", "mensaje"),
        ("incident_description,history", "my card is lost,opened then moved then closed again", "incident_description"),
    ],
)
def test_a_name_about_the_message_is_not_taken_for_its_column(write, header, cells, found):
    assert read(write(f"{header}\n" + f"{cells}\n" * 5))[0].text_column == found


# Other formats


def test_jsonl_with_damage_mixed_types_and_new_keys(write):
    first = [json.dumps({"id": 1, "text": "my card is lost"}), "{broken", json.dumps({"id": 2, "text": 5}), "[1]"]
    filler = [json.dumps({"id": 3, "text": "hello there"})] * 1000
    path = write("\n".join([*first, *filler, json.dumps({"text": "where is it", "extra": 7})]), "export.jsonl")
    found = errors(path)
    assert [bool(error) for error in found[:4]] == [False, True, True, True]
    assert "type int" in found[2]
    assert "extra" in found[-1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_array_of_objects(write, encoding):
    path = write(
        json.dumps(
            [{"id": 1, "body": "für mich bitte"}, {"id": 2, "body": "zweite Nachricht hier"}], ensure_ascii=False
        ),
        "a.json",
        encoding,
    )
    assert texts(path) == ["für mich bitte", "zweite Nachricht hier"]


def test_json_that_breaks_off_keeps_what_was_whole(write):
    path = write('[{"text": "my card is lost"}, {"text": "where is', "a.json")
    _, rows = read(path)
    assert rows[0].cells == ["my card is lost"]
    assert "breaks off" in rows[1].error


def test_a_json_array_is_read_across_the_parts_it_comes_in(write):
    items = [{"n": number, "text": f'say "[{number}]", please' + " x" * (number % 700)} for number in range(1000)]
    assert [row.cells for row in read(write(json.dumps(items, indent=1), "a.json"))[1]] == [
        list(item.values()) for item in items
    ]


def test_json_lines_under_the_name_of_json_break_at_line_ends_only(write):
    lines = [json.dumps({"text": f"my{sign}card is lost"}, ensure_ascii=False) for sign in "\u2028\x85"]
    assert texts(write("\n".join(lines), "a.json")) == ["my\u2028card is lost", "my\x85card is lost"]


def test_numbers_that_are_none_are_missing_in_json(write):
    objects = [{"n": number, "text": "NaN of my card"} for number in (1.5, float("nan"), float("-inf"))]
    for path in (
        write(json.dumps(objects), "a.json"),
        write("\n".join(map(json.dumps, objects)), "a.jsonl"),
    ):
        assert [row.cells for row in read(path)[1]] == [[n, "NaN of my card"] for n in (1.5, None, None)]


@pytest.mark.parametrize("depth", [150, 200_000])
def test_brackets_without_end_are_an_error_of_their_row(write, depth):
    good = '{"text": "my card is lost"}'
    deep = '{"text": "my card is lost", "more": ' + "[" * depth + "]" * depth + "}"
    assert [bool(error) for error in errors(write(f"{good}\n{deep}\n{good}", "a.jsonl"))] == [False, True, False]
    assert [bool(error) for error in errors(write(f"[{good}, {deep}]", "a.json"))] == [False, True]


def test_one_json_object_is_refused(write):
    with pytest.raises(ClassifierError, match="expected an array of objects"):
        open_table(write('{"rows": [\n{"text": "a b"}]}', "a.json"))


def test_plain_text_is_a_message_a_line(write):
    assert texts(write("my card, lost\n\nwhere is it?\r\n", "a.txt")) == ["my card, lost", "where is it?"]


def test_excel_with_preamble_numbers_dates_and_empty_cells(tmp_path):
    workbook = openpyxl.Workbook()
    workbook.create_sheet("data")
    sheet = workbook["data"]
    for row in (
        ["Export"],
        ["id", "message", "note"],
        [1, "my card is lost", None],
        [2, 77, "x"],
        [3, None, "y"],
        [None],
        [4, "=SUM(1)", "z"],
    ):
        sheet.append(row)
    workbook.save(tmp_path / "a.xlsx")
    table, rows = read(tmp_path / "a.xlsx")
    assert table.columns == ("id", "message", "note")
    assert [row.cells[0] for row in rows] == [1, 2, 3, 4]
    assert [bool(row.error) for row in rows] == [False, True, True, True]
    assert any("sheet 'data'" in note for note in table.notes)


def test_parquet_keeps_all_columns(tmp_path):
    parquet.write_table(pyarrow.table({"n": [1, 2], "review": ["works very well", None]}), tmp_path / "a.parquet")
    table, rows = read(tmp_path / "a.parquet")
    assert table.columns == ("n", "review")
    assert [bool(row.error) for row in rows] == [False, True]


def test_gzip_is_unpacked_whatever_the_name(write):
    content = gzip.compress(b"id,message\n1,my card is lost\n")
    assert texts(write(content, "a.csv.gz")) == texts(write(content, "b.csv")) == ["my card is lost"]


# What is not what it claims


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (b"", "a.csv", "is empty"),
        (b" \n\n", "a.csv", "is empty"),
        (b"message\n", "a.csv", "has no rows"),
        (b"id,message\n1,hello there", "a.xlsx", "no xlsx file inside"),
        (b"PK\x03\x04" + b"\0" * 100, "a.xlsx", "no Excel workbook"),
        (b"PAR1 and then nothing", "a.parquet", "no readable Parquet"),
        (b"PAR1 and then nothing", "a.csv", "holds parquet data"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 100, "a.xls", "old Excel workbook"),
        (b"%PDF-1.7", "a.csv", "PDF"),
        (bytes(range(32)) * 300, "a.csv", "is no text"),
        (b'"just a string"', "a.json", "is no JSON"),
        (b"\x1f\x8b\x08\x00damaged", "a.csv.gz", "damaged gzip"),
    ],
)
def test_a_wrong_file_gets_one_clear_sentence(write, content, name, sentence):
    with pytest.raises(ClassifierError, match=sentence) as raised:
        read(write(content, name))
    assert "\n" not in str(raised.value)


def test_a_zip_bomb_is_noticed_early(tmp_path):
    path = tmp_path / "bomb.csv.gz"
    with gzip.open(path, "wb") as out:
        out.write(b"message\n")
        for _ in range(80):
            out.write(b"my card is lost " * 60_000 + b"\n")
    with pytest.raises(ClassifierError, match="200 times its size"):
        for _ in open_table(path):
            pass


def test_an_excel_bomb_is_noticed_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"\0" * (70 << 20))
    with pytest.raises(ClassifierError, match="200 times its size"):
        open_table(tmp_path / "bomb.xlsx")


def test_limits_of_bytes_and_rows(write):
    path = write("message\n" + "my card is lost\n" * 120_000)
    with pytest.raises(ClassifierError, match="longer than 1 MiB"):
        read(path, max_bytes=1 << 20)
    with pytest.raises(ClassifierError, match="over 50,000 rows"):
        read(path, max_rows=50_000)


def test_a_missing_file_and_an_unknown_kind_of_url(tmp_path):
    with pytest.raises(ClassifierError, match="cannot be opened"):
        open_table(tmp_path / "missing.csv")
    with pytest.raises(ClassifierError, match="cannot be opened"):
        open_table("gopher2://somewhere/file.csv")


# Writers

COLUMNS = ["n", "text", "share", "sure"]
ROWS = [[1, "=cmd|' /C calc'!A1", 0.5, True], [2, None, None, False], [3, "für 5 €\nand more", -1.5, True]]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "xlsx", "parquet", "csv.gz", "jsonl.gz"])
def test_what_is_written_can_be_read(tmp_path, ending):
    path = tmp_path / f"out.{ending}"
    write_table(COLUMNS, lambda: iter(ROWS), str(path))
    table, rows = read(path)
    assert table.columns == tuple(COLUMNS)
    assert rows[2].cells[1] == "für 5 €\nand more"
    formula = "=cmd|' /C calc'!A1"
    runs = ending.split(".")[0] in ("csv", "tsv", "xlsx")
    assert rows[0].cells[1] == (f"'{formula}" if runs else formula)
    assert not list(tmp_path.glob("*.writing"))


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "＝1"])
def test_formulas_are_neutralised(text):
    assert neutralised(text) == f"'{text}"


@pytest.mark.parametrize("value", ["-5", "+4.5", "plain", "", None, -3, "a=b"])
def test_numbers_and_plain_text_are_left_alone(value):
    assert neutralised(value) == value


def test_excel_takes_control_characters_and_very_long_cells(tmp_path):
    write_table(["text"], lambda: iter([["bell \x07 here"], ["x" * 40_000]]), str(tmp_path / "a.xlsx"))
    _, rows = read(tmp_path / "a.xlsx", text_column="text")
    assert [rows[0].cells[0], len(rows[1].cells[0])] == ["bell  here", 32_767]


def test_an_unknown_output_format_is_refused(tmp_path):
    with pytest.raises(ClassifierError, match=r"'out.docx' cannot be written as 'docx'; use csv"):
        write_table(COLUMNS, lambda: iter(ROWS), "out.docx")


def test_standard_input_is_read_as_a_stream(monkeypatch):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(Pipe(b"message\nmy card is lost\n")))
    table, rows = read("-")
    assert [row.cells for row in rows] == [["my card is lost"]]
    assert table.share_read() is None


def test_parquet_without_its_library_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as if it were not installed
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and so on PAR1")
    with pytest.raises(ClassifierError, match="pip install pyarrow"), open_table(str(tmp_path / "a.parquet")):
        pass
