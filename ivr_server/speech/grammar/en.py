"""English. Upper bounds are spoken as 'up to', because the number is one and not an average."""

from __future__ import annotations

from num2words import num2words

VOICE = "en-us"
RATE = 150
SYMBOLS = {
    "0": "zero",
    "1": "one",
    "2": "two",
    "3": "three",
    "4": "four",
    "5": "five",
    "6": "six",
    "7": "seven",
    "8": "eight",
    "9": "nine",
    "*": "star",
    "#": "pound",
    "-": "minus",
    ".": "point",
}


def place(n: int) -> str:
    return f"You are number {number(n)} in the queue."


def place_over(n: int) -> str:
    return f"There are at least {number(n)} callers ahead of you."


def wait(minutes: int) -> str:
    if minutes <= 1:
        return "The estimated wait is less than one minute."
    return f"The estimated wait is up to {_minutes(minutes)}."


def wait_over(minutes: int) -> str:
    return f"The estimated wait is more than {_minutes(minutes)}."


def longer_than_expected() -> str:
    return "The wait is taking longer than we expected. We apologise for the delay."


def number(n: int) -> str:
    return str(num2words(n, lang="en"))


def digits(digits: str) -> str:
    return ", ".join(SYMBOLS[sign] for sign in digits if sign in SYMBOLS)


def _minutes(n: int) -> str:
    return f"{number(n)} {'minute' if n == 1 else 'minutes'}"
