"""The table in digits.py, row by row."""

from __future__ import annotations

import pytest

from ivr_server.flow.digits import Choices, EntryEnd, Grammar, Length, Verdict, read
from ivr_server.flow.expressions import Pattern
from ivr_server.flow.simulate import at_once
from ivr_server.testing.scripted import ScriptedCaller

MENU = Choices(["1", "12", "123", "2", "*0", "#"])
LEADING = Length(2, 4, Pattern("[1-9]+"))


@pytest.mark.parametrize(
    ("grammar", "typed", "verdict"),
    [
        (MENU, "", Verdict.PARTIAL),
        (MENU, "2", Verdict.COMPLETE),
        (MENU, "1", Verdict.ENOUGH),
        (MENU, "12", Verdict.ENOUGH),
        (MENU, "123", Verdict.COMPLETE),
        (MENU, "13", Verdict.IMPOSSIBLE),
        (MENU, "9", Verdict.IMPOSSIBLE),
        (MENU, "*", Verdict.PARTIAL),
        (MENU, "*0", Verdict.COMPLETE),
        (MENU, "#", Verdict.COMPLETE),
        (Length(1, 3), "", Verdict.PARTIAL),
        (Length(0, 3), "", Verdict.ENOUGH),
        (Length(1, 3), "1", Verdict.ENOUGH),
        (Length(2, 3), "1", Verdict.PARTIAL),
        (Length(1, 3), "123", Verdict.COMPLETE),
        (Length(1, 3), "1*", Verdict.IMPOSSIBLE),
        (Length(1, 3), "A", Verdict.IMPOSSIBLE),
        (LEADING, "10", Verdict.PARTIAL),
        (LEADING, "12", Verdict.ENOUGH),
        (LEADING, "1230", Verdict.IMPOSSIBLE),
        (LEADING, "1234", Verdict.COMPLETE),
    ],
)
def test_verdicts(grammar: Grammar, typed: str, verdict: Verdict) -> None:
    assert grammar.judge(typed) is verdict


@pytest.mark.parametrize(
    ("grammar", "script", "digits", "end", "lasts_s"),
    [
        (MENU, ["2"], "2", EntryEnd.MATCHED, 0.3),
        (MENU, ["1"], "1", EntryEnd.MATCHED, 2.3),
        (MENU, ["12"], "12", EntryEnd.MATCHED, 2.6),
        (MENU, ["123"], "123", EntryEnd.MATCHED, 0.9),
        (MENU, ["13"], "13", EntryEnd.INVALID, 0.6),
        (MENU, ["9"], "9", EntryEnd.INVALID, 0.3),
        (MENU, ["*"], "*", EntryEnd.INVALID, 2.3),
        (MENU, [], "", EntryEnd.NO_INPUT, 5.0),
        (MENU, ["4s", "2"], "2", EntryEnd.MATCHED, 4.0),
        (MENU, ["6s", "2"], "", EntryEnd.NO_INPUT, 5.0),
        (MENU, ["1", "1.9s", "2"], "12", EntryEnd.MATCHED, 4.2),
        (MENU, ["1", "2.1s", "2"], "1", EntryEnd.MATCHED, 2.3),
        (MENU, ["1", "0s", "2"], "12", EntryEnd.MATCHED, 2.3),
        (Length(1, 4), ["12D"], "12", EntryEnd.MATCHED, 0.9),
        (Length(1, 4), ["D"], "", EntryEnd.INVALID, 0.3),
        (Length(0, 4), ["D"], "", EntryEnd.MATCHED, 0.3),
        (Length(0, 4), [], "", EntryEnd.NO_INPUT, 5.0),
        (Length(3, 4), ["12D"], "12", EntryEnd.INVALID, 0.9),
        (Length(3, 4), ["12"], "12", EntryEnd.INVALID, 2.6),
        (Length(4, 4), ["1234"], "1234", EntryEnd.MATCHED, 1.2),
        (LEADING, ["10D"], "10", EntryEnd.INVALID, 0.9),
    ],
)
def test_reading(
    grammar: Grammar, script: list[str], digits: str, end: EntryEnd, lasts_s: float
) -> None:
    caller = ScriptedCaller(script)
    entry = at_once(
        read(caller, grammar, first_timeout_s=5, interdigit_timeout_s=2, terminator="D")
    )
    assert (entry.digits, entry.end) == (digits, end)
    assert caller.now_s == pytest.approx(lasts_s)


def test_keys_behind_a_match_are_left_for_the_next_node() -> None:
    caller = ScriptedCaller(["0s", "2123"])
    first = at_once(read(caller, MENU, first_timeout_s=5, interdigit_timeout_s=2, terminator=None))
    second = at_once(read(caller, MENU, first_timeout_s=5, interdigit_timeout_s=2, terminator=None))
    assert (first.digits, second.digits) == ("2", "123")


@pytest.mark.parametrize("bad", ["[", "(?=1)", "*", "a{2000}"])
def test_patterns_that_are_none(bad: str) -> None:
    with pytest.raises(ValueError, match="not a regular expression"):
        Pattern(bad)


@pytest.mark.parametrize(
    ("source", "digits", "matches"),
    [
        ("1|2", "1", True),
        ("1|2", "12", False),
        (r"\d{3}", "123", True),
        ("(1*)*b", "1" * 32, False),
    ],
)
def test_patterns_match_whole_entries_in_linear_time(
    source: str, digits: str, matches: bool
) -> None:
    assert Pattern(source).matches(digits) is matches
