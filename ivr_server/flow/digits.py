"""What keys typed on a phone mean, and when enough of them were typed.

    typed so far  --judge-->  COMPLETE     nothing longer is possible: take it at once
                              ENOUGH       valid, but more may follow: wait for the next key
                              PARTIAL      not valid yet: wait for the next key
                              IMPOSSIBLE   nothing that begins so is valid: refuse it at once

    key           IMPOSSIBLE -> INVALID   COMPLETE -> MATCHED   else read on
                  (a terminator right behind a COMPLETE number belongs to it, and is dropped)
    terminator    ENOUGH -> MATCHED       else INVALID
    silence       nothing typed -> NO_INPUT   ENOUGH -> MATCHED   PARTIAL -> INVALID

So a menu never waits after an unambiguous key, and a key that is no terminator is never lost.
Knows nothing of prompts and retries.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, StrEnum
from typing import NamedTuple, Protocol

from ivr_server.flow.expressions import Pattern
from ivr_server.flow.ports import Caller

LEAST_INTERDIGIT_S = 0.5  # nobody types several keys faster than that on purpose


class Verdict(Enum):
    """What the keys typed so far are worth; see the table above."""

    COMPLETE = "complete"
    ENOUGH = "enough"
    PARTIAL = "partial"
    IMPOSSIBLE = "impossible"


class EntryEnd(StrEnum):
    """How reading keys ended; the values are outcomes of nodes."""

    MATCHED = "done"
    INVALID = "invalid"
    NO_INPUT = "no_input"


class Entry(NamedTuple):
    """What was typed, without the terminator, and what it is."""

    digits: str
    end: EntryEnd


class Grammar(Protocol):
    """Which keys are wanted."""

    def judge(self, typed: str) -> Verdict:
        """What the keys typed so far are worth."""


class Choices:
    """One of several keys or sequences of keys."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = frozenset(keys)
        self._beginnings = frozenset(key[:n] for key in self._keys for n in range(len(key)))

    def judge(self, typed: str) -> Verdict:
        longer = typed in self._beginnings
        if typed in self._keys:
            return Verdict.ENOUGH if longer else Verdict.COMPLETE
        return Verdict.PARTIAL if longer else Verdict.IMPOSSIBLE


class Length:
    """So many digits, and a pattern for all of them if there is one."""

    def __init__(self, shortest: int, longest: int, pattern: Pattern | None = None) -> None:
        self._shortest, self._longest, self._pattern = shortest, longest, pattern

    def judge(self, typed: str) -> Verdict:
        if not typed.isdecimal() and typed:
            return Verdict.IMPOSSIBLE
        fits = self._pattern is None or self._pattern.matches(typed)
        if len(typed) >= self._longest:
            return Verdict.COMPLETE if fits else Verdict.IMPOSSIBLE
        return Verdict.ENOUGH if fits and len(typed) >= self._shortest else Verdict.PARTIAL


async def read(
    caller: Caller,
    grammar: Grammar,
    *,
    first_timeout_s: float,
    interdigit_timeout_s: float,
    terminator: str | None,
) -> Entry:
    """Keys of the caller until they match, cannot match any more, or stop coming."""
    typed = ""
    verdict = grammar.judge(typed)
    while True:
        key = await caller.key(interdigit_timeout_s if typed else first_timeout_s)
        if key is None and not typed:
            return Entry(typed, EntryEnd.NO_INPUT)
        if key is None or key == terminator:
            return Entry(typed, EntryEnd.MATCHED if verdict is Verdict.ENOUGH else EntryEnd.INVALID)
        typed += key
        verdict = grammar.judge(typed)
        if verdict is Verdict.IMPOSSIBLE:
            return Entry(typed, EntryEnd.INVALID)
        if verdict is Verdict.COMPLETE:
            if terminator is not None and len(typed) > 1:
                caller.forget_next(terminator, max(interdigit_timeout_s, LEAST_INTERDIGIT_S))
            return Entry(typed, EntryEnd.MATCHED)
