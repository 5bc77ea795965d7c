import gzip
import json

import numpy as np
import pandas
import pytest

from classifier.data import read_auxiliary, read_examples
from classifier.errors import ClassifierError
from classifier.examples import MISSING, DataReport, concatenate, deduplicate, describe
from classifier.splits import split, twin_groups
from classifier.tables import read_public
from classifier.tasks import Label, Task, TaskSet

TASKS = TaskSet(
    "demo",
    "Demo",
    (
        Task("topic", "?", (Label("money"), Label("login"), Label("N/A"))),
        Task("mood", "?", (Label("fine", tone="good"), Label("cross", tone="bad"))),
    ),
    mood_task="mood",
)
ROWS = [
    {"text": "charged twice", "topic": "money", "mood": "cross"},
    {"text": "123", "topic": "N/A", "mood": None},
    {"text": 'a "quoted", long\nmessage', "topic": None, "mood": "fine"},
    {"text": "  ", "topic": "money", "mood": "fine"},
]


def write(path, rows=ROWS):
    frame = pandas.DataFrame(rows)
    if ".csv" in path.name or ".tsv" in path.name:
        frame.to_csv(path, index=False, sep="\t" if ".tsv" in path.name else ",")
    elif ".xlsx" in path.name:
        frame.to_excel(path, index=False)
    elif ".parquet" in path.name:
        frame.to_parquet(path)
    elif ".jsonl" in path.name:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    else:
        path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize(
    "name", ["d.csv", "d.tsv", "d.csv.gz", "d.json", "d.jsonl", "d.jsonl.gz", "d.parquet", "d.xlsx"]
)
def test_every_format_reads_the_same(tmp_path, name):
    report = DataReport()
    examples = read_examples(write(tmp_path / name), TASKS, report=report)
    assert examples.texts == [row["text"] for row in ROWS[:3]]
    assert examples.labels["topic"].tolist() == [0, 2, MISSING]
    assert examples.labels["mood"].tolist() == [1, MISSING, 0]
    assert report.empty == 1 and list(report.rows.values()) == [4]


def test_missing_task_columns_are_masked_and_columns_can_be_mapped(tmp_path):
    path = write(tmp_path / "d.csv", [{"message": "hello", "kind": "login"}])
    examples = read_examples(path, TASKS, columns={"text": "message", "topic": "kind"})
    assert examples.labels["topic"].tolist() == [1] and examples.labels["mood"].tolist() == [MISSING]


@pytest.mark.parametrize(
    ("rows", "columns", "says"),
    [
        ([{"message": "a", "topic": "money"}], {}, "no column 'text'; it has 'message', 'topic'"),
        ([{"text": "a", "other": "money"}], {}, "no column 'topic' or 'mood'"),
        ([{"text": "a", "topic": "money"}], {"mood": "feeling"}, "no column 'feeling'"),
        ([{"text": "a", "topic": "money"}], {"moood": "topic"}, "moood; expected text or a task: topic, mood"),
        ([{"text": "a", "topic": "money"}, {"text": "b", "topic": "Money"}], {}, "row 2: 'Money' is not a label"),
        ([{"text": " ", "topic": "money"}], {}, "holds no messages"),
    ],
)
def test_wrong_tables_say_what_is_wrong(tmp_path, rows, columns, says):
    with pytest.raises(ClassifierError, match=says):
        read_examples(write(tmp_path / "d.csv", rows), TASKS, columns=columns)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("d.csv", b'{"text": "a"}\n', "holds JSON"),
        ("d.csv", b"PK\x03\x04xxxx", "holds xlsx data"),
        ("d.jsonl", b"PAR1xxxx", "holds parquet data"),
        ("d.parquet", b"text,topic\na,money\n", "is no parquet file inside"),
        ("d.jsonl", b"text,topic\na,money\n", "is no JSON"),
        ("d.json", b'{\n"text": "a"}', "expected an array of objects"),
        ("d.jsonl.gz", b'\x1f\x8b{"text": "a"}\n', "damaged gzip"),
        ("d.csv", b"", "is empty"),
        ("d.csv", b"text,topic\na,money,more,and more\nb,money\n", "row 1: The row has 4 cells, the header has 2"),
        ("d.csv", b'text,topic\na,money\n"b,login\n', "row 2: A quotation mark is opened"),
        ("d.xlsx", b"PK", "is no xlsx file inside"),
    ],
)
def test_a_file_that_is_not_what_its_ending_says_is_refused(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ClassifierError, match=says):
        read_examples(path, TASKS)


def test_an_export_of_a_spreadsheet_is_read_as_it_comes(tmp_path):
    path = tmp_path / "export.csv"
    path.write_bytes("text;topic\r\nschön, aber zu teuer;money\r\nkein Zugang;login\r\n".encode("cp1252"))
    examples = read_examples(path, TASKS)
    assert examples.texts == ["schön, aber zu teuer", "kein Zugang"] and examples.labels["topic"].tolist() == [0, 1]


@pytest.mark.parametrize("name", ["late.jsonl", "late.json"])
def test_a_column_may_begin_late_in_a_json_file(tmp_path, name):
    rows = [{"text": f"message {number}", "topic": "money"} for number in range(1200)]
    examples = read_examples(write(tmp_path / name, [*rows, {"text": "at last", "mood": "fine"}]), TASKS)
    assert examples.labels["mood"].tolist() == [MISSING] * 1200 + [0] and examples.labels["topic"][-1] == MISSING


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("text,2023\nhello there,money\n", {"topic": "2023"}),
        (",text,topic\n0,hello there,money\n", {}),
        ("text,topic\nhello there,money,\nand again,login,\n", {}),
        ("Consumer said,Urgent?,topic\nhello there,no,money\n", {"text": "Consumer said"}),
        ("text,topic\n👍,money\n", {}),
    ],
)
def test_headers_of_all_kinds_are_headers(tmp_path, content, columns):
    path = tmp_path / "d.csv"
    path.write_text(content, encoding="utf-8")
    examples = read_examples(path, TASKS, columns=columns)
    assert examples.texts[0] in ("hello there", "👍") and examples.labels["topic"][0] == 0


def test_a_category_that_could_name_a_column_makes_no_header(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("My card has not come yet and nobody answers.,complaint\nWhere is it now then?,question\n")
    with pytest.raises(ClassifierError, match="it has 'column_1', 'column_2'"):
        read_examples(path, TASKS)


def test_plain_text_is_no_training_data(tmp_path):
    path = tmp_path / "pool.txt"
    path.write_text("text\ttopic\nwhere is my card\tmoney\n")
    with pytest.raises(ClassifierError, match="named columns"):
        read_examples(path, TASKS)


@pytest.mark.parametrize("name", ["d.xlsx", "d.parquet"])
def test_a_file_that_is_damaged_inside_gets_a_sentence(tmp_path, name):
    path = write(
        tmp_path / name, [{"text": f"message {number} {hash(str(number))}", "topic": "money"} for number in range(3000)]
    )
    content = bytearray(path.read_bytes())
    middle = slice(len(content) // 8, len(content) // 3)
    content[middle] = bytes(reversed(content[middle]))
    path.write_bytes(content)
    with pytest.raises(ClassifierError, match=r"damaged inside|no Excel workbook"):
        read_examples(path, TASKS)


def test_a_missing_file_is_named():
    with pytest.raises(ClassifierError, match=r"no file 'nowhere\.csv'"):
        read_examples("nowhere.csv", TASKS)


def test_auxiliary_labels_come_from_the_data(tmp_path):
    path = write(tmp_path / "aux.csv", [{"text": "b", "intent": "two"}, {"text": "a", "intent": "one"}])
    task, examples = read_auxiliary("clinc", path)
    assert task.label_names == ("one", "two") and examples.labels["clinc"].tolist() == [1, 0]
    both = write(tmp_path / "both.csv", [{"text": "bye", "x": "1", "y": "2"}, {"text": "see you", "x": "2", "y": "2"}])
    with pytest.raises(ClassifierError, match="which one holds the labels"):
        read_auxiliary("clinc", both)
    assert read_auxiliary("clinc", both, "x")[0].label_names == ("1", "2")


def test_public_sets_are_read_from_a_local_folder(tmp_path):
    (tmp_path / "clinc150").mkdir()
    write(tmp_path / "clinc150" / "train.jsonl.gz", [{"text": "hi", "intent": "greeting"}])
    assert read_public("clinc150", "train", tmp_path) == {"text": ["hi"], "intent": ["greeting"]}


def test_hub_data_sets_come_with_label_names_from_the_cache(tmp_path, monkeypatch):
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "mood": datasets.ClassLabel(names=["fine", "cross"])}
    )
    stored = datasets.Dataset.from_dict({"text": ["a", "b"], "mood": [1, 0]}, features=features)
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: asked.append((args, kwargs)) or stored)
    examples = read_examples("owner/name:plus", TASKS, split="test")
    assert asked == [(("owner/name", "plus"), {"split": "test"})]
    assert examples.labels["mood"].tolist() == [1, 0]
    read_examples("owner/name:plus@validation", TASKS, split="test")
    read_examples("tweet_emotion@test", TASKS)
    assert asked[1:] == [
        (("owner/name", "plus"), {"split": "validation"}),
        (("cardiffnlp/tweet_eval", "emotion"), {"split": "test"}),
    ]


def test_rows_of_which_no_tokenizer_makes_anything_are_dropped(tmp_path, classifier):
    unseen = ["", "  ", "\u200b", "\ufeff", "\xad \u2060", "\x07", "\u0301", "\ufffd"]
    path = write(
        tmp_path / "d.jsonl", [{"text": text, "mood": "fine"} for text in [*unseen, "ok", "🫩", "💳", "?", "\u200bé"]]
    )
    report = DataReport()
    texts = read_examples(path, TASKS, report=report).texts
    assert texts == ["ok", "🫩", "💳", "?", "\u200bé"] and report.empty == len(unseen)
    assert len(classifier.probabilities(texts)) == len(texts)
    for text in unseen:
        with pytest.raises(ClassifierError, match="nothing to read"):
            classifier.classify(text)


def test_duplicates_are_dropped_counted_and_never_shared_with_held_out_data(tmp_path):
    rows = [
        {"text": "Pay me", "topic": "money", "mood": None},
        {"text": " pay  ME", "topic": "login", "mood": None},
        {"text": "pay me", "topic": None, "mood": "cross"},
        {"text": "held out", "topic": "money", "mood": None},
    ]
    examples = read_examples(write(tmp_path / "d.jsonl", rows), TASKS)
    report = DataReport()
    kept = deduplicate(examples, [examples.take([3])], report)
    assert kept.texts == ["Pay me", "pay me"], "a row with a further task's label stays"
    assert (report.duplicates, report.conflicts, report.held_out) == (1, 1, 1)


def test_the_hash_knows_content_but_not_order(tmp_path):
    examples = read_examples(write(tmp_path / "d.jsonl"), TASKS)
    assert examples.take([2, 0, 1]).content_hash() == examples.content_hash()
    assert examples.take([0, 1]).content_hash() != examples.content_hash()
    other = read_examples(write(tmp_path / "e.jsonl", [{**ROWS[0], "mood": "fine"}, *ROWS[1:]]), TASKS)
    assert other.content_hash() != examples.content_hash()
    assert read_examples(tmp_path / "d.jsonl", TASKS, weight=2.0).content_hash() != examples.content_hash()


def test_the_description_counts_labels_and_lengths(tmp_path):
    described = describe(read_examples(write(tmp_path / "d.jsonl"), TASKS), TASKS)
    assert described["rows"] == 3
    assert described["tasks"]["topic"] == {"labelled": 2, "shares": {"money": 0.5, "login": 0.0, "N/A": 0.5}}


def many(tmp_path, count=300):
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(400)]
    rows = []
    for _ in range(count):
        text = " ".join(rng.choice(words, 8))
        topic = rng.choice(["money", "login", "N/A"], p=[0.6, 0.3, 0.1])
        rows += [
            {"text": text, "topic": topic, "mood": "fine"},
            {"text": f"{text} !!", "topic": topic, "mood": "cross"},
        ]
    return concatenate([read_examples(write(tmp_path / "many.jsonl", rows), TASKS)])


def test_near_twins_share_a_group_and_strangers_do_not():
    texts = ["I was charged twice for my March invoice", "I was charged twice for my March invoice, no rush"]
    strangers = ["the printer on floor two is jammed", "please reset the password of my printer account"]
    groups = twin_groups(texts + strangers + texts[:1])
    assert groups[0] == groups[1] == groups[4] and len(set(groups[[0, 2, 3]])) == 3
    assert len(set(twin_groups(["a", "?"]))) == 2


def test_splits_are_seeded_stratified_and_keep_twins_together(tmp_path):
    examples = many(tmp_path)
    train, validation = split(examples, TASKS, 0.2, seed=1)
    assert len(train) + len(validation) == len(examples) and 90 < len(validation) < 150
    assert not {t.removesuffix(" !!") for t in train.texts} & {t.removesuffix(" !!") for t in validation.texts}
    for side in (train, validation):
        shares = np.bincount(side.labels["topic"]) / len(side)
        assert np.allclose(shares, np.bincount(examples.labels["topic"]) / len(examples), atol=0.05)
    assert split(examples, TASKS, 0.2, seed=1)[1].texts == validation.texts
    assert split(examples, TASKS, 0.2, seed=2)[1].texts != validation.texts


def test_an_empty_split_is_an_error(tmp_path):
    with pytest.raises(ClassifierError, match="too few to hold out 10%"):
        split(many(tmp_path, 2), TASKS, 0.1, seed=0)
