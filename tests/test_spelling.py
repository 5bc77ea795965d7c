import json
import sys

import pytest
from colours import rows, settings
from hypothesis import given
from hypothesis import strategies as st

from classifier import finish, train
from classifier.errors import ClassifierError
from classifier.folder import WORDS, ModelFolder
from classifier.logits import predict_logits
from classifier.predict import Classifier
from classifier.spelling import Spelling, collect_words, one_slip

LEARNED = ("refund", "order", "account", "payment", "please", "loan", "receive", "card", "help")
SPELLING = Spelling(LEARNED, ["border", "ardour", "lotion"], ["cart", "##ount"])


@pytest.mark.parametrize(
    "text, expected",
    [
        ("i want a refudn for my ordr", "i want a refund for my order"),  # swapped, missing
        ("accoount paymemt", "account payment"),  # one too many, another
        ("REFUDN my Ordr! Ordr", "REFUND my Ordr! Order"),  # the case stays, and so does a name
        ("pleeeease helllllp", "please help"),
        ("border lotion cart", "border lotion cart"),  # words of their own
        ("ordr@shop.com www.ordr.com #refudn @paymnt ordr/paymnt ordr-77 ordr7 ordr.com", None),
        ("refnd's ordren't accoun’t", None),  # what is left of a short form is no word
        ("teh lon", None),  # too short to tell
        ("qwertz zzzz", None),  # nothing near
        ("", None),
        ("好的 ❤ наказ", None),
    ],
)
def test_slips_are_mended_and_all_else_stays(text, expected):
    assert SPELLING.correct(text) == (text if expected is None else expected)


def test_the_likelier_slip_wins_unless_the_word_is_rare():
    assert Spelling(["what", "want", "help", "hello"]).correct("i wnat helo") == "i want hello"
    assert Spelling(["what", *map("filler{}".format, range(20)), "want"]).correct("wnat") == "what"
    assert Spelling(["annual", "manual"]).correct("mannual") == "manual"


def test_the_more_frequent_word_wins_but_the_first_letter_is_trusted():
    assert Spelling(["hand", "hard"]).correct("hagd") == "hand"
    assert Spelling(["hard", "hand"]).correct("hagd") == "hard"
    assert Spelling(["lane", "cane"]).correct("ckane") == "cane"
    assert Spelling(["kane", "cane"]).correct("ckane") == "cane"


def test_nothing_is_corrected_without_words():
    assert Spelling().correct("refudn") == "refudn"


def test_where_it_is_read_otherwise_is_told_in_order():
    text = "The ordr never came, refudn pleese"
    found = list(SPELLING.slips(text))
    assert [(text[start:stop], word) for start, stop, word in found] == [
        ("ordr", "order"), ("refudn", "refund"), ("pleese", "please"),
    ]  # fmt: skip


WORD = st.sampled_from([*LEARNED, "nothing"]).flatmap(lambda word: st.sampled_from(sorted(one_slip(word, "aeıß"))))
ODD = st.sampled_from(["İ", "ß", "e\u0301", "'", "-", "\ud800", " ", ". ", "\n", "#", "İADE "])


@given(st.lists(st.one_of(WORD, WORD.map(str.upper), WORD.map(str.title), ODD)).map("".join))
def test_what_is_told_is_what_is_read(text):
    parts, end = [], 0
    for start, stop, word in SPELLING.slips(text):
        parts += [text[end:start], word]
        end = stop
    assert "".join([*parts, text[end:]]) == SPELLING.correct(text)
    assert len(SPELLING.correct(text).split()) == len(text.split())


def test_only_what_can_be_read_is_mended():
    assert Spelling(LEARNED, most=2).correct("ordr refnd ordr") == "order refund ordr"


@given(st.sampled_from(LEARNED), st.data())
def test_a_slip_of_a_slip_leads_back(word, data):
    slip = data.draw(st.sampled_from(sorted(one_slip(word, "abez"))))
    assert word in set(one_slip(slip, "abcdefghijklmnopqrstuvwxyz"))


def test_rubbish_without_end_is_passed_over():
    """The slips of a word are as many as its letters, and as long: a million would take hours."""
    assert SPELLING.correct("x" * 1_000_000) == "x" * 1_000_000
    assert SPELLING.correct("refudnn" * 100_000) == "refudnn" * 100_000


def test_words_are_collected_from_messages_and_what_could_be_mistaken_from_a_dictionary():
    texts = ["My order for the hotel", "the ORDER number for a hotel"] * 5 + ["a lottion", "flybee"]
    words = collect_words(texts, "en")
    assert words["learned"] == ["order", "hotel", "number"]
    assert {"border", "older", "motel", "lumber"} <= set(words["others"])
    assert not {"order", "banana", "lottion", "flybee"} & set(words["others"])
    named = ["Zubrowka said that there should have been more money in this flybee"] * 5
    learned = collect_words(named, "en")["learned"]
    assert {"flybee", "money"} <= set(learned) and "zubrowka" not in learned, "names stay where they were written"
    texts = ["Die Rechnung ist leider falsch und ich kann keine Karte finden"] * 5
    german = collect_words(texts, "de")
    assert Spelling(**german).correct("die Rechnung ist flasch") == "die Rechnung ist falsch"
    assert "meine" in german["others"]  # "keine Karte" is not "meine Karte"
    assert collect_words(texts, "en") is None


def test_short_forms_are_words():
    words = collect_words(["the agent must call and it was great"] * 5, "en")
    assert Spelling(**words).correct("you mustn't, they arent, cant") == "you mustn't, they arent, cant"


def test_without_the_dictionaries_training_says_so_before_it_begins(world, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "spellchecker", None)
    with pytest.raises(
        ClassifierError, match=r"pyspellchecker, which is not installed; install requirements-train\.txt"
    ):
        train.train(settings(world, tmp_path / "model"))


def test_a_damaged_file_is_one_clear_error(own_folder):
    for content in ("{}", '{"learned": "order", "others": []}', '{"learned": [1], "others": []}', "["):
        (own_folder / WORDS).write_text(content)
        with pytest.raises(ClassifierError, match=r"words\.json"):
            Classifier.load(own_folder)


def test_the_served_model_reads_a_slip_as_the_word(own_folder):
    (own_folder / WORDS).write_text(json.dumps({"learned": ["refund", "order"], "others": []}))
    without = Classifier.load(own_folder).fingerprint
    served = Classifier.load(own_folder)
    right, wrong = served.classify("a refund for my order"), served.classify("a refudn for my orderr")
    assert wrong.probabilities == right.probabilities and wrong.tokens == right.tokens
    assert served.slips("a refudn for my orderr") == [("refudn", "refund"), ("orderr", "order")]
    assert [result.labels for result in served.classify_many(["a refudn for my orderr"])] == [right.labels]
    assert served.probabilities(["a refudn for my orderr"]) == [dict(right.probabilities)]
    (own_folder / WORDS).unlink()
    other = Classifier.load(own_folder)
    assert other.fingerprint != without and other.slips("a refudn") == []
    assert other.fingerprint == Classifier.load(own_folder).fingerprint


def test_what_is_read_of_a_long_message_is_told_in_its_own_letters(own_folder):
    (own_folder / WORDS).write_text(json.dumps({"learned": ["refund", "order"], "others": []}))
    served = Classifier.load(own_folder)
    text = "reffund ordr " * 400
    assert served.classify(text).truncated
    part = served.part_read(text)
    assert text.startswith(part) and 0 < len(part) < len(text)
    assert served.classify(part).tokens == served.classify(text).tokens


def test_training_writes_the_words_that_it_learned(world, tmp_path):
    folder = ModelFolder.read(train.train(settings(world, tmp_path / "with", epochs=1)))
    words = json.loads((folder.path / WORDS).read_text())
    assert {"card", "refund", "order", "please", "urgent"} <= set(words["learned"])
    assert "cards" in words["others"]
    off = train.train(settings(world, tmp_path / "without", epochs=1, spelling=None))
    assert not (off / WORDS).exists()


def test_temperatures_are_fitted_to_what_will_be_read(world, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(finish, "predict_logits", lambda *given: seen.append(given[2]) or predict_logits(*given))
    held_out = tmp_path / "dev.jsonl"
    held_out.write_text("".join(json.dumps(row | {"text": f"refudn {row['text']}"}) + "\n" for row in rows(20, seed=5)))
    train.train(settings(world, tmp_path / "model", epochs=1, dev=str(held_out)))
    assert len(seen) == 1 and len(seen[0]) > 10
    assert all(text.startswith("refund ") for text in seen[0])


def test_messages_of_another_language_are_left_alone(world, tmp_path, capsys):
    out = train.train(settings(world, tmp_path / "model", epochs=1, spelling="de"))
    assert not (out / WORDS).exists()
    assert "stand in no dictionary of the language 'de'; spelling will not be mended" in capsys.readouterr().err
