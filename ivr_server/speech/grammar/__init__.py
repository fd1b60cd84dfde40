"""The grammars of the languages: one module each, found by its file name (ru.py is 'ru').

A grammar is pure functions from values to whole phrases, and the names of its voice. It knows no
files. The sets of values that are rendered ahead are the same for all languages and stand here.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Protocol, cast

WAITS = (*range(1, 11), 15, 20, 25, 30)  # minutes; longer ones are "30+"
PLACES = range(1, 21)  # later ones are ">20"
NUMBERS = range(0, 101)
LONGEST_WAIT = f"{WAITS[-1]}+"
LAST_PLACE = f">{PLACES[-1]}"
LONGER = "longer"  # the wait that has outlasted its promise


class Grammar(Protocol):
    """What a module of this folder defines."""

    VOICE: str  # espeak-ng's name of the voice
    RATE: int  # words a minute
    SYMBOLS: Mapping[str, str]  # how 0-9 * # - . are read out one by one

    def place(self, n: int) -> str:
        """The caller's place in a queue, counted from 1."""

    def place_over(self, n: int) -> str:
        """The caller's place is later than n."""

    def wait(self, minutes: int) -> str:
        """The wait is at most so many minutes."""

    def wait_over(self, minutes: int) -> str:
        """The wait is longer than so many minutes."""

    def longer_than_expected(self) -> str:
        """The promised time has passed; no new number."""

    def number(self, n: int) -> str:
        """A cardinal number."""

    def digits(self, digits: str) -> str:
        """Characters of SYMBOLS one by one; others are left out."""


def wait_values() -> tuple[str, ...]:
    """Every value of Say('wait', ...) that has a phrase of its own."""
    return (*map(str, WAITS), LONGEST_WAIT, LONGER)


def place_values() -> tuple[str, ...]:
    """Every value of Say('place', ...) that has a phrase of its own."""
    return (*map(str, PLACES), LAST_PLACE)


@cache
def languages() -> frozenset[str]:
    """The languages that have a module here."""
    return frozenset(module.name for module in pkgutil.iter_modules(__path__))


@cache
def grammar(language: str) -> Grammar:
    """Raises KeyError for a language without a module."""
    if language not in languages():
        raise KeyError(language)
    return cast(Grammar, importlib.import_module(f"{__name__}.{language}"))
