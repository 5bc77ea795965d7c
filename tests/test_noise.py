import random
import re

from hypothesis import given
from hypothesis import strategies as st

from classifier.desks import SUPPORT
from classifier.examples import Examples, noisy_copy
from classifier.noise import EVALUATION_NOISE, NoiseSettings, add_noise

OFF = NoiseSettings(rate=1, typos=0, slang=0, markers=0, casing=0, punctuation=0, names=0, numbers=0)


def only(**kinds):
    return OFF.model_copy(update=kinds)


def test_the_same_seed_gives_the_same_noise():
    text = "Please tell me why you charged my card twice before tomorrow."
    assert add_noise(text, random.Random(3), EVALUATION_NOISE) == add_noise(text, random.Random(3), EVALUATION_NOISE)
    assert len({add_noise(text, random.Random(seed), EVALUATION_NOISE) for seed in range(20)}) > 15


@given(st.text(min_size=1), st.integers(0, 10**6))
def test_noise_never_empties_a_message(text, seed):
    noisy = add_noise(text, random.Random(seed), EVALUATION_NOISE, "bad")
    assert bool(noisy.strip()) == bool(text.strip())


def test_rate_zero_alters_nothing():
    text = "Why was I charged twice?"
    assert {add_noise(text, random.Random(s), NoiseSettings(rate=0), "bad") for s in range(50)} == {text}


def test_the_rate_is_kept():
    text = "Why was I charged twice for one and the same thing?"
    settings = only(rate=0.3, typos=1.0, strength=0.5)
    altered = sum(add_noise(text, random.Random(s), settings) != text for s in range(1000))
    assert 250 < altered < 350


def test_each_kind_does_what_it_says():
    text = "Please tell me, are you open?"
    assert add_noise(text, random.Random(0), only(slang=1.0)) == "plz tell me, r u open?"
    assert add_noise(text, random.Random(0), only(punctuation=1.0)) == "Please tell me are you open"
    assert add_noise(text, random.Random(0), only(casing=1.0)).lower() == text.lower()
    strong = [add_noise(text, random.Random(s), only(typos=1.0, strength=0.3)) for s in range(30)]
    assert all(abs(len(noisy) - len(text)) < 12 for noisy in strong)
    assert sum(noisy != text for noisy in strong) > 25


def test_more_strength_means_more_typos():
    text = "where is the parcel that was promised for last monday " * 4

    def changed(strength):
        noisy = add_noise(text, random.Random(1), only(typos=1.0, strength=strength))
        return sum(a != b for a, b in zip(text.split(), noisy.split(), strict=False))

    assert changed(0.01) < changed(0.3)


def test_markers_follow_the_tone_and_need_one():
    settings = only(markers=1.0)
    by_tone = {
        tone: {add_noise("x", random.Random(s), settings, tone) for s in range(200)} for tone in ("good", "warn", "bad")
    }
    assert not by_tone["good"] & by_tone["bad"] and not by_tone["warn"] & by_tone["bad"]
    assert {add_noise("x", random.Random(s), settings, None) for s in range(50)} == {"x"}
    assert {add_noise("x", random.Random(s), settings, "neutral") for s in range(50)} == {"x"}


def test_a_noisy_copy_keeps_labels_and_row_noise_is_independent_of_other_rows():
    import numpy as np

    labels = {name: np.zeros(3, np.int64) for name in SUPPORT.task_names}
    examples = Examples(["Why was I charged twice?", "Where is my parcel, please?", "I am locked out."], labels)
    copy = noisy_copy(examples, SUPPORT, seed=1)
    assert copy.texts != examples.texts and copy.labels is examples.labels
    assert noisy_copy(examples, SUPPORT, seed=1).texts == copy.texts
    assert noisy_copy(examples, SUPPORT, seed=2).texts != copy.texts
    assert noisy_copy(examples.take([0]), SUPPORT, seed=1).texts[0] == copy.texts[0]


def test_long_numbers_become_others_and_short_ones_stay():
    rng, found = random.Random(0), set()
    for _ in range(50):
        noisy = add_noise("order 40-22817 of 12.50 in 2 days", rng, only(numbers=1.0))
        assert re.fullmatch(r"order 40-\d{5} of 12\.50 in 2 days", noisy)
        found.add(noisy)
    assert len(found) > 40


def test_names_of_many_places_stand_before_or_behind_the_message():
    settings = only(names=1.0)
    found = {add_noise("my card was declined", random.Random(seed), settings) for seed in range(400)}
    assert all("my card was declined" in text and text != "my card was declined" for text in found)
    assert len(found) > 300, "drawn from many names"
    assert any(text.startswith("my card") for text in found) and any(text.endswith("declined") for text in found)
