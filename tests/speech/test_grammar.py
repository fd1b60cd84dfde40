"""Forms of numbers in each language, against tables written by hand."""

from __future__ import annotations

import re

import pytest

from ivr_server.speech import grammar
from ivr_server.speech.grammar import en, ru

RU_MINUTES = {
    0: "нуля минут",
    1: "одной минуты",
    2: "двух минут",
    3: "трёх минут",
    4: "четырёх минут",
    5: "пяти минут",
    6: "шести минут",
    7: "семи минут",
    8: "восьми минут",
    9: "девяти минут",
    10: "десяти минут",
    11: "одиннадцати минут",
    12: "двенадцати минут",
    13: "тринадцати минут",
    14: "четырнадцати минут",
    15: "пятнадцати минут",
    16: "шестнадцати минут",
    17: "семнадцати минут",
    18: "восемнадцати минут",
    19: "девятнадцати минут",
    20: "двадцати минут",
    21: "двадцати одной минуты",
    22: "двадцати двух минут",
    25: "двадцати пяти минут",
    30: "тридцати минут",
    40: "сорока минут",
    50: "пятидесяти минут",
    60: "шестидесяти минут",
    70: "семидесяти минут",
    80: "восьмидесяти минут",
    90: "девяноста минут",
    100: "ста минут",
    101: "ста одной минуты",
    111: "ста одиннадцати минут",
    112: "ста двенадцати минут",
    121: "ста двадцати одной минуты",
}
RU_PLACES = [
    "первое",
    "второе",
    "третье",
    "четвёртое",
    "пятое",
    "шестое",
    "седьмое",
    "восьмое",
    "девятое",
    "десятое",
    "одиннадцатое",
    "двенадцатое",
    "тринадцатое",
    "четырнадцатое",
    "пятнадцатое",
    "шестнадцатое",
    "семнадцатое",
    "восемнадцатое",
    "девятнадцатое",
    "двадцатое",
]


def built_from_parts(n: int) -> str:
    """The genitive put together from the table alone, for the numbers it does not list."""
    if n in RU_MINUTES:
        return RU_MINUTES[n]
    above = next(step for step in (100, 90, 80, 70, 60, 50, 40, 30, 20) if step < n)
    return f"{RU_MINUTES[above].split()[0]} {built_from_parts(n - above)}"


@pytest.mark.parametrize("n", range(122))
def test_russian_minutes_in_the_genitive(n: int) -> None:
    assert ru.minutes_genitive(n) == built_from_parts(n)
    assert ru.wait(n) == f"Примерное время ожидания: не более {built_from_parts(n)}."
    assert ru.wait_over(n) == f"Примерное время ожидания: более {built_from_parts(n)}."


@pytest.mark.parametrize("n", range(1, 21))
def test_russian_places_are_neuter(n: int) -> None:
    assert ru.place(n) == f"Ваше место в очереди: {RU_PLACES[n - 1]}."


def test_russian_rest() -> None:
    assert ru.wait_over(30) == "Примерное время ожидания: более тридцати минут."
    assert ru.place_over(20) == "Перед вами в очереди не менее двадцати человек."
    assert ru.number(42) == "сорок два"
    assert ru.number(-3) == "минус три"
    assert ru.digits("4711") == "четыре, семь, один, один"
    assert ru.digits("0*#\n/x") == "ноль, звёздочка, решётка"


@pytest.mark.parametrize(
    ("minutes", "text"),
    [
        (0, "The estimated wait is less than one minute."),
        (1, "The estimated wait is less than one minute."),
        (2, "The estimated wait is up to two minutes."),
        (5, "The estimated wait is up to five minutes."),
        (21, "The estimated wait is up to twenty-one minutes."),
        (30, "The estimated wait is up to thirty minutes."),
    ],
)
def test_english_waits(minutes: int, text: str) -> None:
    assert en.wait(minutes) == text


def test_english_rest() -> None:
    assert en.wait_over(30) == "The estimated wait is more than thirty minutes."
    assert en.wait_over(1) == "The estimated wait is more than one minute."
    assert en.place(3) == "You are number three in the queue."
    assert en.place_over(20) == "There are at least twenty callers ahead of you."
    assert en.number(100) == "one hundred"
    assert en.digits("4711#") == "four, seven, one, one, pound"


def test_languages_are_found_by_file_name() -> None:
    assert grammar.languages() >= {"ru", "en"}
    assert grammar.grammar("ru").place(1) == ru.place(1)
    with pytest.raises(KeyError):
        grammar.grammar("../ru")


@pytest.mark.parametrize("language", sorted(grammar.languages()))
def test_every_language_has_whole_phrases_in_words(language: str) -> None:
    rules = grammar.grammar(language)
    phrases = [rules.place(n) for n in grammar.PLACES] + [rules.wait(n) for n in grammar.WAITS]
    phrases += [rules.place_over(20), rules.wait_over(30), rules.longer_than_expected()]
    assert len(set(phrases)) == len(phrases)
    # A digit would leave its grammar to the voice.
    assert not any(re.search(r"\d", phrase) for phrase in phrases)
    assert set("0123456789*#-.") <= set(rules.SYMBOLS)
    assert rules.VOICE
    assert rules.RATE > 80


def test_the_values_rendered_ahead_are_bounded() -> None:
    waits = [*map(str, range(1, 11)), "15", "20", "25", "30", "30+", "longer"]
    assert list(grammar.wait_values()) == waits
    assert list(grammar.place_values()) == [*map(str, range(1, 21)), ">20"]
