"""Russian. Worded so that nobody's gender matters: 'место' is neuter whoever the caller is.

Minutes stand in the genitive that 'не более' and 'более' demand: одной минуты, пяти минут.
"""

from __future__ import annotations

from num2words import num2words

VOICE = "ru"
RATE = 150
SYMBOLS = {
    "0": "ноль",
    "1": "один",
    "2": "два",
    "3": "три",
    "4": "четыре",
    "5": "пять",
    "6": "шесть",
    "7": "семь",
    "8": "восемь",
    "9": "девять",
    "*": "звёздочка",
    "#": "решётка",
    "-": "минус",
    ".": "точка",
}


def place(n: int) -> str:
    ordinal = num2words(n, lang="ru", to="ordinal", gender="n")
    return f"Ваше место в очереди: {ordinal}."


def place_over(n: int) -> str:
    return f"Перед вами в очереди не менее {_genitive(n, 'm')} человек."


def wait(minutes: int) -> str:
    return f"Примерное время ожидания: не более {minutes_genitive(minutes)}."


def wait_over(minutes: int) -> str:
    return f"Примерное время ожидания: более {minutes_genitive(minutes)}."


def longer_than_expected() -> str:
    return "Ожидание длится дольше, чем мы предполагали. Приносим извинения."


def number(n: int) -> str:
    return str(num2words(n, lang="ru"))


def digits(digits: str) -> str:
    return ", ".join(SYMBOLS[sign] for sign in digits if sign in SYMBOLS)


def minutes_genitive(n: int) -> str:
    """'двадцати одной минуты': singular after a final 'one', but not after eleven."""
    singular = n % 10 == 1 and n % 100 != 11
    return f"{_genitive(n, 'f')} {'минуты' if singular else 'минут'}"


def _genitive(n: int, gender: str) -> str:
    # num2words says 'ноля', which is technical usage; speech has 'нуля'.
    return "нуля" if n == 0 else str(num2words(n, lang="ru", case="g", gender=gender))
