"""CEL behind our names: faults with places and hints, values or EvaluationError."""

from __future__ import annotations

import pytest

from ivr_server.flow.expressions import BadExpression, EvaluationError, Names, VarType

NAMES = Names(
    {"n": VarType.INT, "order": VarType.STRING, "ok": VarType.BOOL, "rate": VarType.DOUBLE}
)
VALUES = {
    "n": 3,
    "order": "0042",
    "ok": True,
    "rate": 0.5,
    "caller.number": "+74951234567",
    "caller.language": "ru",
    "call.dialled": "88001234567",
}


@pytest.mark.parametrize(
    ("source", "kind", "value"),
    [
        ("n + 1", "int", 4),
        ("n > 2 && ok", "bool", True),
        ('order + "!"', "string", "0042!"),
        ("rate * 2.0", "double", 1.0),
        ('caller.number.startsWith("+7")', "bool", True),
        ('call.dialled == "88001234567" || 1/0 > 1', "bool", True),
        ("int(order)", "int", 42),
        ("ok ? n : -1", "int", 3),
    ],
)
def test_values(source: str, kind: str, value: object) -> None:
    expression = NAMES.compile(source)
    assert expression.type == kind
    assert expression.evaluate(VALUES) == value


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ("m > 1", [(1, 1, "unknown name 'm': valid: call.dialled, caller.language, caller.number, "
                         "n, ok, order, rate")]),
        ("ordr == 'x'", [(1, 1, "unknown name 'ordr': did you mean 'order'?")]),
        ("n == 1 &&\n caller.numbr == ''",
         [(2, 8, "unknown name 'caller.numbr': did you mean 'caller.number'?")]),
        ("order.startWith('0')", [(1, 16, "unknown name 'startWith': did you mean 'startsWith'?")]),
        ("n == 'x' || ordr == ''", [(1, 3, "'==' does not work with (int, string)"),
                                    (1, 13, "unknown name 'ordr': did you mean 'order'?")]),
        ("!n", [(1, 1, "'!' does not work with (int)")]),
        ("-ok", [(1, 1, "'-' does not work with (bool)")]),
        ("ok ? 1 : 'x'", [(1, 4, "'?:' does not work with (bool, int, string)")]),
        ("size(n)", [(1, 5, "'size' does not work with (int)")]),
        ("n +", [(1, 4, "syntax error: unexpected end of the expression")]),
        ("n n", [(1, 3, "syntax error: unexpected 'n'")]),
        ("'привет' + ordr", [(1, 12, "unknown name 'ordr': did you mean 'order'?")]),
        ("(" * 300 + "1" + ")" * 300, [(1, 1, "the expression is nested too deeply")]),
        ("99999999999999999999", [(1, 1, "invalid int literal")]),
    ],
)  # fmt: skip
def test_faults(source: str, faults: list[tuple[int, int, str]]) -> None:
    with pytest.raises(BadExpression) as caught:
        NAMES.compile(source)
    assert [(one.line, one.column, one.message) for one in caught.value.faults] == faults


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / (n - 3)", "divide by zero"),
        ("9223372036854775807 + n", "integer overflow"),
        ("int(order + 'x')", "cannot convert string to int"),
        ("order.matches('[')", "invalid regular expression"),
        ("[n][1]", "Index error"),
        ("[n]", "a value of type list"),
        (f"{[1] * 300}.all(a, {[1] * 300}.all(b, {[1] * 300}.all(c, a + b + c > 0)))", "budget"),
    ],
)
def test_no_value(source: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        NAMES.compile(source).evaluate(VALUES)


def test_wrong_values_are_no_values() -> None:
    expression = NAMES.compile("n > 1")
    for values in ({}, {"n": "1"}, {"n": 2**70}, {"n": None}):
        with pytest.raises(EvaluationError):
            expression.evaluate(values)  # type: ignore[arg-type]
