"""Noise as customers make it: typos, slang, casing, missing punctuation and emotional markers, fixed by a seed.

The kinds follow Sengupta et al. 2021 ("On the robustness of intent classification and slot labeling in
goal-oriented dialog systems to real-world noise", arXiv:2104.07149). Noise never changes what a message
asks for, so labels stay; emotional markers are chosen by the tone of the label, never by its name.
"""

from __future__ import annotations

import random
import re

from pydantic import BaseModel, ConfigDict, Field

#: Neighbours of each letter on a QWERTY keyboard.
_KEYBOARD = {
    key: "".join(
        neighbour
        for near in range(row - 1, row + 2)
        if 0 <= near < 3
        for neighbour in ("qwertyuiop", "asdfghjkl", "zxcvbnm")[near][max(column - 1, 0) : column + 2]
        if neighbour != key
    )
    for row, keys in enumerate(("qwertyuiop", "asdfghjkl", "zxcvbnm"))
    for column, key in enumerate(keys)
}

_SLANG = {
    "you": "u",
    "your": "ur",
    "are": "r",
    "please": "plz",
    "thanks": "thx",
    "thank you": "ty",
    "because": "cuz",
    "want to": "wanna",
    "going to": "gonna",
    "don't know": "dunno",
    "to be honest": "tbh",
    "right now": "rn",
    "as soon as possible": "asap",
    "message": "msg",
    "account": "acct",
    "i am": "im",
    "cannot": "cant",
    "before": "b4",
    "tomorrow": "tmrw",
    "something": "smth",
    "people": "ppl",
    "with": "w/",
}
_SLANG_PATTERN = re.compile(rf"\b({'|'.join(sorted(map(re.escape, _SLANG), key=len, reverse=True))})\b", re.IGNORECASE)

#: What people put before and after a message, by the tone of their mood.
_MARKERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "good": (("Hi,", "Hello,", "Hey there,", "Hi team,"), ("Thanks", "Thank you!", "Cheers", "🙂", "Have a nice day")),
    "warn": (("Ugh,", "Sigh.", "Really?", "Come on,", "Hmm,"), ("...", "😕", "Not great.", "sigh", "😞")),
    "bad": (("WTF!", "OMG,", "Seriously?!", "Unbelievable!"), ("!!!", "😡", "Ridiculous!", "🤬", "?!?!")),
}


def _words(text: str) -> list[str]:
    return text.split()


#: Given and family names from many places, drawn independently, so that no name goes with a kind of message.
_GIVEN = _words(
    "Aaliyah Abdul Adaeze Ahmed Aiko Alejandro Amina Ana Andrei Anjali Arjun Ayşe Beatriz Bongani Brian Camila Chen "
    "Chiara Chloe Daisuke DeShawn Diego Dmitri Elena Emeka Emma Farah Gareth Giulia Hamza Hannah Hassan Ibrahim Imani "
    "Ingrid Isla Jack Jasmine Javier Jin Joanna Joseph Kareem Keisha Kenji Khalid Kofi Lars Latoya Leila Lin Lucas "
    "Malik Marie Mateo Megan Mehmet Mei Min Miriam Musa Nadia Naomi Ngozi Nia Nikolai Noah Olga Omar Paul Pedro Pooja "
    "Rahul Rania Rebecca Rosa Ruth Sakura Samir Sean Shanice Siobhan Sofia Sunita Tariq Tomasz Trevon Tuan Uma "
    "Valentina Wanjiru Wen Xin Yasmin Yuki Yusuf Zainab Zoe"
)
_FAMILY = _words(
    "Abebe Ali Almeida Anderson Banerjee Bauer Bianchi Castillo Chanda Cohen-Levy Cooper Costa Diallo Dubois Eze "
    "Ferrari García Gupta Haddad Hansen Huang Hughes Ito Ivanov Jackson Johansson Kapoor Kaya Khan Kim Kovács Kruger "
    "Larsen Lee Lopez Mbeki Mensah Mitchell Morales Müller Mwangi Nguyen Nowak Núñez O'Brien Okafor Osei Park Patel "
    "Pereira Petrov Popescu Ramos Reddy Reyes Robertson Rossi Sahin Santos Sato Schmidt Sharma Silva Singh Suzuki "
    "Taylor Tran Usman Wang Williams Wood Wu Yamamoto Yılmaz Zhao"
)
#: Shorter ones are amounts, hours or days, which can matter.
_LONG_NUMBER = re.compile(r"\d{4,}")

_INTRODUCTIONS = ("Hi, {} here. ", "My name is {}. ", "This is {}. ", "{} here, ", "Hello, I am {}. ", "Hi! I'm {}. ")
_SIGNATURES = (" Regards, {}", " {}", " Thanks, {}", " - {}", "\n{}", " Best wishes, {}")


class NoiseSettings(BaseModel):
    """How often and how strongly messages are altered. All shares are 0 to 1.

    Attributes:
        rate: Share of the messages that are altered at all.
        typos: Share of the altered messages that get typos.
        strength: Share of a message's letters that get a typo (swap, delete, double, insert, neighbour key).
        slang: Share of the altered messages in which short forms replace words.
        markers: Share that get an emotional marker in front or behind.
        casing: Share that become all lower case, all capitals or randomly cased.
        punctuation: Share that lose their punctuation.
        names: Share to which the writer's name is added, so that answers come to depend on none.
        numbers: Share whose long numbers (of orders, phones, accounts) become others, for the same reason.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float = Field(default=0.45, ge=0, le=1)
    typos: float = Field(default=0.5, ge=0, le=1)
    strength: float = Field(default=0.03, ge=0, le=1)
    slang: float = Field(default=0.15, ge=0, le=1)
    markers: float = Field(default=0.1, ge=0, le=1)
    casing: float = Field(default=0.2, ge=0, le=1)
    punctuation: float = Field(default=0.3, ge=0, le=1)
    names: float = Field(default=0.08, ge=0, le=1)
    numbers: float = Field(default=0.2, ge=0, le=1)


#: The noise of evaluation copies: every message is altered, harder than in training.
EVALUATION_NOISE = NoiseSettings(
    rate=1.0, typos=0.8, strength=0.06, slang=0.3, markers=0.3, casing=0.3, names=0.0, numbers=0.0
)


def add_noise(text: str, rng: random.Random, settings: NoiseSettings, tone: str | None = None) -> str:
    """Alter a message at random, or leave it as it is.

    Args:
        text: The message.
        rng: Source of chance; the same state gives the same answer.
        settings: How often and how strongly.
        tone: Tone of the message's mood label (``good``, ``warn`` or ``bad``); markers are added only then.

    Returns:
        The altered message, never empty where `text` is not.
    """
    if not text.strip() or rng.random() >= settings.rate:
        return text
    noisy = text
    if settings.names and rng.random() < settings.names:
        name = f"{rng.choice(_GIVEN)} {rng.choice(_FAMILY)}" if rng.random() < 0.7 else rng.choice(_GIVEN)
        ahead = rng.random() < 0.5
        noisy = (
            rng.choice(_INTRODUCTIONS).format(name) + noisy if ahead else noisy + rng.choice(_SIGNATURES).format(name)
        )
    if settings.numbers and rng.random() < settings.numbers:
        noisy = _LONG_NUMBER.sub(lambda found: "".join(rng.choice("0123456789") for _ in found[0]), noisy)
    if rng.random() < settings.slang:
        noisy = _SLANG_PATTERN.sub(lambda found: _SLANG[found[0].lower()], noisy)
    if rng.random() < settings.typos:
        noisy = _typos(noisy, rng, settings.strength)
    if rng.random() < settings.punctuation:
        noisy = re.sub(r"[.,!?;:'’]", "", noisy)
    if rng.random() < settings.casing:
        noisy = _casing(noisy, rng)
    if tone in _MARKERS and rng.random() < settings.markers:
        before, after = _MARKERS[tone]
        noisy = f"{rng.choice(before)} {noisy}" if rng.random() < 0.5 else f"{noisy} {rng.choice(after)}"
    return noisy if noisy.strip() else text


def _typos(text: str, rng: random.Random, strength: float) -> str:
    letters = list(text)
    for place in range(len(letters)):
        letter = letters[place]
        if not letter.isalpha() or rng.random() >= strength:
            continue
        kind = rng.choice(("swap", "delete", "double", "insert", "neighbour"))
        if kind == "swap" and place + 1 < len(letters):
            letters[place], letters[place + 1] = letters[place + 1], letter
        elif kind == "delete":
            letters[place] = ""
        elif kind == "double":
            letters[place] = letter * 2
        elif kind == "insert":
            letters[place] = letter + rng.choice("abcdefghijklmnopqrstuvwxyz")
        elif kind == "neighbour":
            near = rng.choice(_KEYBOARD.get(letter.lower(), letter))
            letters[place] = near.upper() if letter.isupper() else near
    return "".join(letters)


def _casing(text: str, rng: random.Random) -> str:
    kind = rng.choice(("lower", "lower", "upper", "random"))
    if kind == "lower":
        return text.lower()
    if kind == "upper":
        return text.upper()
    return "".join(letter.swapcase() if rng.random() < 0.3 else letter for letter in text)
