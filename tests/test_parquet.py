import datetime
import sys

import pyarrow
import pytest
from pyarrow import parquet

from classifier.errors import ClassifierError
from classifier.rows import open_table

MESSAGE = "my card is lost"


@pytest.fixture
def save(tmp_path):
    def make(**columns):
        parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
        return tmp_path / "a.parquet"

    return make


def read(path, **options):
    with open_table(path, **options) as table:
        return list(table)


def first_cells(path):
    return [row.cells[0] for row in read(path)]


def test_a_text_that_all_rows_repeat_counts_in_each(save):
    path = save(text=[MESSAGE * 10_000] * 500)
    assert path.stat().st_size < 20_000
    with pytest.raises(ClassifierError, match="longer than 1 MiB unpacked"):
        read(path, max_bytes=1 << 20)
    with pytest.raises(ClassifierError, match="200 times its size"):
        read(path)


@pytest.mark.parametrize("encoding", [{}, {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}}])
def test_repeated_texts_are_decoded_a_few_at_a_time(tmp_path, monkeypatch, encoding):
    table = pyarrow.table({"text": [MESSAGE * 10_000] * 50})
    parquet.write_table(table, tmp_path / "a.parquet", **encoding)
    decoded = []
    monkeypatch.setattr("classifier.parquet.BATCH_BYTES", 1 << 20)
    monkeypatch.setattr("classifier.parquet._values", lambda array: decoded.append(len(array)) or array.to_pylist())
    assert len(read(tmp_path / "a.parquet")) == 50
    assert max(decoded) * len(MESSAGE) * 10_000 <= 1 << 20


@pytest.mark.parametrize("form", ["list", "map", "struct"])
def test_texts_in_nested_values_count_too(save, form):
    long, count = MESSAGE * 10_000, 500
    if form == "list":
        nested = pyarrow.array([[long] * count])
    elif form == "map":
        nested = pyarrow.array([[("a", long)] * count], pyarrow.map_(pyarrow.string(), pyarrow.string()))
    else:
        nested = pyarrow.array([{"a": long}] * count)
    path = save(nested=nested, text=[MESSAGE] * len(nested))
    with pytest.raises(ClassifierError, match="200 times its size"):
        read(path)


def test_many_values_in_one_list_are_refused_before_they_are_read(save):
    path = save(nested=pyarrow.array([[0] * 10_000_000]), text=[MESSAGE])
    with pytest.raises(ClassifierError, match="200 times its size"):
        open_table(path)


def test_pages_are_measured_unpacked(save):
    path = save(text=[f"{number} {MESSAGE * 1000}" for number in range(100)])
    with pytest.raises(ClassifierError, match="longer than 1 MiB unpacked"):
        open_table(path, max_bytes=1 << 20)


def test_nested_values_come_as_they_are(save):
    path = save(nested=[{"a": ["x", "y"]}, None], text=[MESSAGE] * 2)
    assert first_cells(path) == [{"a": ["x", "y"]}, None]


@pytest.mark.parametrize("kind", ["binary", "large_binary", "binary_view", "string", "large_string", "string_view"])
def test_texts_of_every_type_are_texts(save, kind):
    cells = pyarrow.array([MESSAGE.encode(), None]).cast(getattr(pyarrow, kind)())
    assert first_cells(save(text=cells)) == [MESSAGE, None]


def test_bytes_that_are_no_utf8_are_replaced(save):
    assert first_cells(save(text=pyarrow.array([b"caf\xe9 is closed"]))) == ["caf\ufffd is closed"]


def test_texts_of_a_dictionary_are_texts(save):
    assert first_cells(save(text=pyarrow.array([MESSAGE, None, MESSAGE]).dictionary_encode())) == [
        MESSAGE,
        None,
        MESSAGE,
    ]


@pytest.mark.parametrize(
    ("value", "kind", "found"),
    [
        (0, pyarrow.timestamp("us"), datetime.datetime(1970, 1, 1)),
        (400_000_000_000_000_000, pyarrow.timestamp("us"), "14645-06-30 15:06:40.000000"),
        (0, pyarrow.timestamp("us", "Mars/Base"), "1970-01-01 00:00:00.000000Z"),
        (1_001, pyarrow.timestamp("ns"), datetime.datetime(1970, 1, 1, microsecond=1)),
        (1_001, pyarrow.duration("ns"), datetime.timedelta(microseconds=1)),
        (10**8, pyarrow.date32(), "<value out of range: 100000000>"),
    ],
)
def test_times_that_python_does_not_know_are_texts(save, monkeypatch, value, kind, found):
    width = pyarrow.int32() if kind == pyarrow.date32() else pyarrow.int64()
    path = save(time=pyarrow.array([value], width).cast(kind), text=[MESSAGE])
    monkeypatch.setitem(sys.modules, "pandas", None)  # as if it were not installed
    assert first_cells(path) == [found]


def test_damage_inside_is_one_sentence(save):
    path = save(text=[f"{number} {MESSAGE}" for number in range(3000)])
    content = bytearray(path.read_bytes())
    content[4:400] = b"\xff" * 396
    path.write_bytes(content)
    with pytest.raises(ClassifierError, match="damaged inside") as raised:
        read(path)
    assert "\n" not in str(raised.value)


def test_a_time_in_a_nested_value_that_python_does_not_know_is_one_sentence(save):
    kind = pyarrow.struct([("at", pyarrow.timestamp("us", "Mars/Base"))])
    path = save(nested=pyarrow.array([{"at": 0}], pyarrow.struct([("at", pyarrow.int64())])).cast(kind), text=[MESSAGE])
    with pytest.raises(ClassifierError, match="damaged inside"):
        read(path)
