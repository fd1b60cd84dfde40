"""From an utterance to the pieces of sound that say it, as alternatives, best first.

Pure: knows the words, the stem of each piece's file and the core sound that says the same; does
not know which of these files exist.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ivr_server.flow.ports import Prompt, Say, Text, Utterance
from ivr_server.speech import grammar
from ivr_server.speech.catalogue import LONGEST_TEXT, Catalogue

LONGEST_SPELLING = 40  # characters; a caller can type more than anybody would listen to
_WHOLE = re.compile(r"(-?\d{1,9})(\.0+)?", re.ASCII)
_SIGNS = {"*": "star", "#": "pound", "-": "minus", ".": "point"}
_CORE_SIGNS = {"*": "digits/star", "#": "digits/pound", "-": "digits/minus"}


@dataclass(frozen=True)
class Piece:
    """Something that one sound file says."""

    stem: str  # of the file that a person may record: prompts/<language>/<stem>.wav
    text: str
    sound: str | None = None


Sequence_ = tuple[Piece, ...]


def alternatives(catalogue: Catalogue, language: str, what: Utterance) -> list[Sequence_]:
    """Ways to say it in a language of the catalogue, best first; empty if there is none."""
    if language not in catalogue.languages:
        return []
    match what:
        case Prompt(name):
            phrase = catalogue.phrase(language, name)
            return [(Piece(phrase.name, phrase.text, phrase.sound),)] if phrase else []
        case Text(text):
            return [(_literal(text),)] if _sayable(text) else []
        case Say(kind, value):
            speak = _KINDS.get(kind)
            return speak(language, value) if speak else []


def standard(language: str) -> Iterator[Piece]:
    """What must be there before the first call, whatever the flows say."""
    rules = grammar.grammar(language)
    for sign in rules.SYMBOLS:
        yield _sign(language, sign)
    for n in grammar.NUMBERS:
        yield _whole_number(language, n)
    for value in grammar.wait_values():
        yield _wait(language, value)[0][0]
    for value in grammar.place_values():
        yield _place(language, value)[0][0]


def _literal(text: str) -> Piece:
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Piece(f"text-{digest}", text)


def _sayable(text: str) -> bool:
    return len(text) <= LONGEST_TEXT and any(sign.isalnum() for sign in text)


def _number(language: str, value: str) -> list[Sequence_]:
    whole = _WHOLE.fullmatch(value)
    ways: list[Sequence_] = [(_whole_number(language, int(whole[1])),)] if whole else []
    return ways + _digits(language, whole[1] if whole else value)


def _whole_number(language: str, n: int) -> Piece:
    core = f"digits/{n}" if 0 <= n <= 20 or n in range(30, 100, 10) else None
    return Piece(f"number-{n}", grammar.grammar(language).number(n), core)


def _digits(language: str, value: str) -> list[Sequence_]:
    signs = grammar.grammar(language).SYMBOLS
    spelled = tuple(_sign(language, sign) for sign in value[:LONGEST_SPELLING] if sign in signs)
    return [spelled] if spelled else []


def _sign(language: str, sign: str) -> Piece:
    core = f"digits/{sign}" if sign.isdigit() else _CORE_SIGNS.get(sign)
    return Piece(f"digit-{_SIGNS.get(sign, sign)}", grammar.grammar(language).SYMBOLS[sign], core)


def _wait(language: str, value: str) -> list[Sequence_]:
    """The next longer phrase that exists: an upper bound may grow, never shrink."""
    rules = grammar.grammar(language)
    longest = grammar.WAITS[-1]
    if value == grammar.LONGER:
        return [(Piece("wait-longer", rules.longer_than_expected()),)]
    minutes = _counted(value)
    if minutes is None and value != grammar.LONGEST_WAIT:
        return []
    if minutes is None or minutes > longest:
        return [(Piece(f"wait-over-{longest}", rules.wait_over(longest)),)]
    spoken = next(step for step in grammar.WAITS if step >= minutes)
    return [(Piece(f"wait-{spoken}", rules.wait(spoken)),)]


def _place(language: str, value: str) -> list[Sequence_]:
    rules = grammar.grammar(language)
    last = grammar.PLACES[-1]
    place = _counted(value)
    if value == grammar.LAST_PLACE or (place is not None and place > last):
        return [(Piece(f"place-over-{last}", rules.place_over(last)),)]
    return [(Piece(f"place-{place}", rules.place(place)),)] if place else []


def _counted(value: str) -> int | None:
    whole = _WHOLE.fullmatch(value)
    return int(whole[1]) if whole and int(whole[1]) >= 0 else None


_KINDS: dict[str, Callable[[str, str], list[Sequence_]]] = {
    "number": _number,
    "digits": _digits,
    "wait": _wait,
    "place": _place,
}
