import os
import threading
import time

import pytest

from classifier.delimited import LEAST_RECORD, MAX_RECORD
from classifier.errors import ClassifierError
from classifier.rows import open_table
from classifier.sources import detect_encoding


@pytest.fixture
def read(tmp_path):
    def opened(content, name="export.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with open_table(path, **options) as table:
            return table, list(table)

    return opened


def cells(rows):
    return [row.cells for row in rows]


def plain(start, stop):
    return "".join(f"{number},message number {number}\n" for number in range(start, stop))


# Damage


def test_unclosed_quotes_cost_time_that_grows_with_the_file(read):
    started = time.process_time()
    _, rows = read("id,text\n" + "".join(f'{n},"never closed here\n' for n in range(60_000)))
    assert len(rows) == 60_000 and all(row.error for row in rows)
    assert time.process_time() - started < 20  # each record wrapped the iterator of the one before: minutes


def test_records_that_never_end_are_given_up_ever_sooner(read):
    started = time.process_time()
    line = '1,a","b the quote closes and opens again in each line\n'
    _, rows = read('id,text\n1,"start\n' + line * (MAX_RECORD // len(line)), text_column="text")
    assert len(rows) > MAX_RECORD // LEAST_RECORD
    assert time.process_time() - started < 20


def test_a_very_long_quoted_cell_is_one_cell(read):
    long = "Hello support,\n" + "data:image/png;base64,AAAA, xyz\n" * 5000
    _, rows = read("id,text\n" + plain(0, 50) + f'99,"{long}"\n' + plain(50, 100))
    assert [row.error for row in rows] == [""] * 101
    assert rows[50].cells == ["99", long]


@pytest.mark.parametrize("line", ["log line\n", "ERROR 12:00:01,123 with one delimiter as the rows\n"])
def test_a_record_of_many_lines_is_one_row(read, line):
    table, rows = read("id,text\n" + plain(0, 50) + '99,"start\n' + line * 600 + '"\n' + plain(50, 100))
    assert table.columns == ("id", "text")
    assert len(rows) == 101 and not any(row.error for row in rows)


def test_rows_are_not_swallowed_up_to_a_far_quotation_mark_at_a_line_end(read):
    _, rows = read('id,text\n2,"never closed\n' + plain(3, 3000) + '3000,the new one is 6"\n' + plain(3001, 3010))
    assert [number for number, row in enumerate(rows) if row.error] == [0]
    assert len(rows) == 3008


def test_a_damaged_record_leaves_delimiter_and_columns_as_they_are(read):
    damage = '31,"never closed\n' + "".join(f"ERROR boom; at {number}\n" for number in range(900))
    table, rows = read("id,text\n" + plain(0, 3) + damage + plain(33, 60))
    assert (table.delimiter, table.columns) == (",", ("id", "text"))
    assert sum(not row.error for row in rows) == 30


def test_only_line_ends_divide_lines(read):
    lines = [f"{number},card\u2028was\x85stolen\x0c and" for number in range(50)]
    table, rows = read("id,text\n" + "\n".join(lines))
    assert table.columns == ("id", "text")
    assert rows[0].cells == ["0", "card\u2028was\x85stolen\x0c and"]


# What a person asks for


@pytest.mark.parametrize("given", ["\t", "\\t", "tab", "Tab"])
def test_a_tab_can_be_typed(read, given):
    assert read("id,a\ttext\n1\tmy card is lost\n", delimiter=given)[0].columns == ("id,a", "text")


@pytest.mark.parametrize("given", [";;", "", "\n", '"', "comma"])
def test_what_is_no_delimiter_is_refused_in_one_sentence(read, given):
    with pytest.raises(ClassifierError, match="is no delimiter; give one sign"):
        read("id;text\n1;my card is lost\n", delimiter=given)


@pytest.mark.parametrize("given", ["base64", "rot13", "hex", "undefined", "", "a\0b"])
def test_what_encodes_no_text_is_refused_in_one_sentence(read, given):
    with pytest.raises(ClassifierError, match="There is no encoding"):
        read("id,text\n1,my card is lost\n", encoding=given)


@pytest.mark.parametrize(
    ("encoding", "given"),
    [("utf-8-sig", "utf-8"), ("utf-8-sig", "UTF8"), ("utf-16", "utf-16-le"), ("utf-16-le", "utf-16")],
)
def test_a_mark_is_no_part_of_a_name(read, encoding, given):
    assert read("id,text\n1,my card is lost\n".encode(encoding), encoding=given)[0].columns == ("id", "text")


# Headers


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (",review\n0,the card was stolen\n1,works very well\n", ("column_1", "review")),
        (",0\n0,the card was stolen\n1,works very well\n", ("column_1", "0")),
        (",review\n17,the card was stolen\n3,works very well\n", ("column_1", "review")),
        (
            "Timestamp,How can we help you today?\n2024/01/05 10:00:00 AM,my card\n2024/01/06 9:00:00 PM MEZ,refund\n",
            ("Timestamp", "How can we help you today?"),
        ),
        ("sep=;\r\nid;kommentar\r\n1;lost, I fear\r\n2;please\r\n", ("id", "kommentar")),
        ('"sep=;";;\nid;kunde;kommentar\n1;Max;lost, I fear\n', ("id", "kunde", "kommentar")),
        ("May report;;;\n;;;\nid;kunde;kommentar;status\n1;Max;lost;open\n", ("id", "kunde", "kommentar", "status")),
        ("May report;;\nAll of it;;\nid;kunde;grund\n1;Max;lost card\n2;Eva;x\n", ("id", "kunde", "grund")),
        ("May report;\n;\nid;kommentar\n1;lost\n2;please\n", ("id", "kommentar")),
        ("May report\r\n\r\nid;kunde;kommentar\r\n1;Max;lost\r\n2;Eva;x y\r\n", ("id", "kunde", "kommentar")),
        ("id;kommentar\n1;the card was stolen;\n2;please refund me;\n3;why;\n", ("id", "kommentar", "column_3")),
        ("id;kommentar;\n1;the card was stolen\n2;please refund me\n", ("id", "kommentar")),
    ],
)
def test_headers_of_common_exports(read, content, columns):
    table, rows = read(content)
    assert table.columns == columns
    assert not any(row.error for row in rows)


@pytest.mark.parametrize(
    "content",
    [
        ",I was charged again for nothing\n2,where is my order now please\n3,please refund it\n",
        "N/A,How do I ever get my money back?\n5,where is my order\n7,please refund\n",
        "A17,How do I ever get my money back?\n18,where is my order\n19,please refund\n",
        "Anna,How do I ever get my money back?\nBob,where is my order\n",
        "anna;;\nbob;;please help me with this now, I cannot get in.\ncara;;thanks\n",
        "1,My card was charged twice.,2026-01-01\n2,Where is my order?,2026-01-02\n",
    ],
)
def test_a_row_of_data_is_no_header(read, content):
    table, rows = read(content)
    assert table.columns[0] == "column_1"
    assert len(rows) == content.count("\n")


def test_blank_lines_between_messages_are_no_end_of_a_title(read):
    assert read("message\n\nHello, my card\n\nPlease, help\n\nno comma\n")[0].columns == ("message",)


def test_empty_cells_too_many_are_no_error_but_filled_ones_are(read):
    _, rows = read("id;kommentar\n1;hello there you\n2;what is it;\n3;foo bar\n4;last one;x\n5;my card\n")
    assert [bool(row.error) for row in rows] == [False, False, False, True, False]


# Quoting


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('id, text\n1, "Hello, x"\n2, "no, ""refund"""\n3, fine\n', ["Hello, x", 'no, "refund"', "fine"]),
        ('id,text\n1,"He said \\"hi\\", and"\n2,"no, refund"\n', ['He said "hi", and', "no, refund"]),
        ("id;text\n1;'Hello; the card'\n2;'no; it''s mine'\n", ["Hello; the card", "no; it's mine"]),
        ("id;text\n1;'it\\'s; mine'\n2;'no; refund'\n", ["it's; mine", "no; refund"]),
    ],
)
def test_other_ways_to_quote(read, content, expected):
    table, rows = read(content)
    assert table.columns == ("id", "text")
    assert cells(rows) == [[str(number), text] for number, text in enumerate(expected, 1)]


@pytest.mark.parametrize(
    "texts",
    [
        ["it's mine", "'cause I said so", "'tis broken", "I don't know"],
        ["'quoted' is this word", "he said 'no'", "'all of it'", "'never'"],
        ['{"a": "he said \\"no\\" to me"}', "C:\\new\\table", "plain"],
        ["She said: \"yes\" - and, well, 'no'", 'a "b"', "c"],
    ],
)
def test_quotation_marks_in_texts_are_left_alone(read, texts):
    content = "id\ttext\n" + "".join(f"{number}\t{text}\n" for number, text in enumerate(texts))
    assert [row.cells[1] for row in read(content)[1]] == texts


def test_a_backslash_before_a_closing_quote_is_a_path(read):
    _, rows = read('id,path,text\n1,"C:\\Temp\\",my card is lost\n2,"C:\\New\\",hello there you\n')
    assert cells(rows) == [["1", "C:\\Temp\\", "my card is lost"], ["2", "C:\\New\\", "hello there you"]]


# Text files, web pages, pipes


def test_excels_unicode_text_is_a_table(read):
    table, rows = read("id\ttext\r\n1\tdie Karte\r\n2\trefund please\r\n".encode("utf-16"), "export.txt")
    assert (table.format, table.delimiter, table.columns) == ("csv", "\t", ("id", "text"))
    assert len(rows) == 2


def test_messages_in_utf16_stay_messages(read):
    table, rows = read("my card is lost\r\nwhere\tis it\r\nrefund please\r\n".encode("utf-16"), "export.txt")
    assert (table.format, len(rows)) == ("text", 3)


def test_a_given_delimiter_makes_a_text_file_a_table(read):
    assert read("id;text\n1;my card is lost\n", "export.txt", delimiter=";")[0].columns == ("id", "text")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"<html><table><tr><td>id</td></tr></table></html>", "export.xls"),
        (" \n<!DOCTYPE HTML>\n<table>".encode("utf-16"), "export.csv"),
        (b"<table border=1><tr><td>id</td></tr></table>", "export.csv"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><Workbook>", "export.xls"),
    ],
)
def test_a_web_page_is_refused_in_one_sentence(read, content, name):
    with pytest.raises(ClassifierError, match="holds a web page or XML; open it in Excel"):
        read(content, name)


def test_messages_may_begin_with_a_tag(read):
    assert len(read("<table> is not shown\nwhy is <html> in it\n", "export.txt")[1]) == 2


def test_a_named_pipe_is_read_as_a_stream(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"id,text\n1,my card is lost\n",))
    writer.start()
    with open_table(pipe) as table:
        assert cells(table) == [["1", "my card is lost"]]
    writer.join()


def test_an_error_of_opening_ends_in_one_full_stop(monkeypatch, tmp_path):
    def unseekable(*_):
        raise ValueError("File or stream is not seekable.")

    monkeypatch.setattr("fsspec.open", unseekable)
    with pytest.raises(ClassifierError, match=r"not seekable\. Check the path\.$"):
        open_table(tmp_path / "export.csv")


# Code pages


@pytest.mark.parametrize("encoding", ["cp1252", "cp850", "mac_roman"])
def test_german_of_dos_windows_and_the_old_mac(encoding):
    text = "id;kommentar\r\n1;Die Karte für Bücher wurde gestohlen\r\n2;Rückgabe bitte schön\r\n"
    assert detect_encoding(text.encode(encoding)) == encoding


@pytest.mark.parametrize("text", ["カードが盗まれました。助けてください。", "東京都港区商品返金希望"])
@pytest.mark.parametrize("lines", [20, 4001])
def test_japanese_of_any_length(text, lines):
    content = "id,text\n" + "".join(f"{number},{text}\n" for number in range(lines))
    assert detect_encoding(content.encode("cp932")) == "cp932"
