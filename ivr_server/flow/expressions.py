"""CEL expressions over a flow's variables: typed when the flow is loaded, bounded when it runs.

A thin wrapper of cel-expr-python (Google's C++ CEL). Wrong names and types are found by `compile`
with line and column; evaluation has a budget and never touches the world. Knows nothing of YAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from cel_expr_python import cel

from ivr_server.errors import nearest

Value = bool | int | float | str


class VarType(StrEnum):
    """Types of variables; the names are CEL's."""

    STRING = "string"
    INT = "int"  # 64 bits
    BOOL = "bool"
    DOUBLE = "double"

    @property
    def python(self) -> type[Value]:
        """The type of its values: exactly this one, a bool is no int."""
        return _PYTHON[self]

    @property
    def default(self) -> Value:
        """The value of a variable without a default."""
        return _PYTHON[self]()

    def fits(self, value: object) -> bool:
        """Whether a value may be kept in such a variable."""
        return type(value) is _PYTHON[self] and (self != "int" or -(2**63) <= value < 2**63)  # type: ignore[operator]


_PYTHON: dict[VarType, type[Value]] = {
    VarType.STRING: str,
    VarType.INT: int,
    VarType.BOOL: bool,
    VarType.DOUBLE: float,
}
_CEL = {
    VarType.STRING: cel.Type.STRING,
    VarType.INT: cel.Type.INT,
    VarType.BOOL: cel.Type.BOOL,
    VarType.DOUBLE: cel.Type.DOUBLE,
}

# What every flow may read besides its own variables.
CALL_NAMES: dict[str, VarType] = {
    "caller.number": VarType.STRING,
    "caller.language": VarType.STRING,
    "call.dialled": VarType.STRING,
}
# fmt: off
RESERVED = frozenset([
    "as", "bool", "break", "bytes", "call", "caller", "const", "continue", "double", "duration",
    "dyn", "else", "false", "for", "function", "if", "import", "in", "int", "let", "list", "loop",
    "map", "matches", "namespace", "null", "null_type", "package", "return", "size", "string",
    "timestamp", "true", "type", "uint", "var", "void", "while",
])
_FUNCTIONS = [
    "all", "bool", "contains", "double", "duration", "dyn", "endsWith", "exists", "exists_one",
    "filter", "has", "int", "map", "matches", "size", "startsWith", "string", "timestamp",
]
# fmt: on

_NAME = re.compile(rf"(?!(?:{'|'.join(RESERVED)})\Z)[A-Za-z_][A-Za-z0-9_]*\Z")
_ERROR = re.compile(r"^(?:[A-Z_]+: )?ERROR: <input>:(-?\d+):(-?\d+): (.*)$", re.MULTILINE)
_UNDECLARED = re.compile(r"undeclared reference to '(.*)' \(in container")
_OVERLOAD = re.compile(r"found no matching overload for '(.*)' applied to '\(?(.*?)\)?'$")


@dataclass(frozen=True)
class Fault:
    """One mistake in an expression; line and column count from 1 within it."""

    line: int
    column: int
    message: str


class BadExpression(Exception):
    """An expression with mistakes, all of them in `faults`."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(fault.message for fault in faults))


class EvaluationError(Exception):
    """A sound expression had no value this time: division by zero, `int("x")`, a budget spent."""


class Expression:
    """A compiled expression. `type` is 'string', 'int', 'bool', 'double' or a CEL type."""

    __slots__ = ("_compiled", "source", "type")

    def __init__(self, source: str, compiled: cel.Expression) -> None:
        self.source = source
        self.type = compiled.return_type().name().lower()
        self._compiled = compiled

    def evaluate(self, values: Mapping[str, Value]) -> Value:
        """The value for these values of the names. Raises EvaluationError."""
        try:
            result = self._compiled.eval(data=values)
        except (RuntimeError, TypeError, ValueError) as error:  # budget spent, text not UTF-8
            raise EvaluationError(str(error)) from None
        value = result.value()
        if result.type() == cel.Type.ERROR:
            raise EvaluationError(str(value).partition(": ")[2] or str(value))
        if not isinstance(value, str | int | float):
            raise EvaluationError(f"a value of type {result.type().name().lower()}")
        return value


class Names:
    """The names an expression may use, each with its type."""

    def __init__(self, variables: Mapping[str, VarType], untyped: Iterable[str] = ()) -> None:
        """`untyped` names fit everywhere: their declaration is wrong and reported elsewhere."""
        self.types: dict[str, VarType] = {**CALL_NAMES, **variables}
        names = {name: cel.Type.DYN for name in untyped if _NAME.match(name)}
        names.update((name, _CEL[kind]) for name, kind in self.types.items())
        self._env = cel.NewEnv(variables=names)

    def compile(self, source: str) -> Expression:
        """The typed expression. Raises BadExpression with every fault."""
        try:
            return Expression(source, self._env.compile(source))
        except (RuntimeError, TypeError, ValueError) as error:
            raise BadExpression(self._faults(source, str(error))) from None

    def _faults(self, source: str, report: str) -> list[Fault]:
        faults: dict[tuple[int, int], Fault] = {}
        for row, column, text in _ERROR.findall(report):
            place = max(1, int(row)), max(1, int(column))
            faults.setdefault(place, Fault(*place, self._sentence(text)))
            if text.startswith("Syntax error"):
                break  # what follows is said because of this one
        if faults:
            return list(faults.values())
        if "recursion" in report:
            return [Fault(1, 1, "the expression is nested too deeply")]
        return [Fault(1, 1, f"this is not an expression: {report.splitlines()[0][:200]}")]

    def _sentence(self, text: str) -> str:
        text = text.removesuffix(" [INVALID_ARGUMENT]").rstrip()
        if match := _UNDECLARED.match(text):
            name = match[1]
            hint = nearest(name, [*self.types, *_FUNCTIONS])
            if not hint.startswith("did"):
                hint = nearest(name, self.types)
            return f"unknown name '{name}': {hint}"
        if match := _OVERLOAD.match(text):
            what = match[1] if match[1].isidentifier() else match[1].strip("@").replace("_", "")
            return f"'{what}' does not work with ({match[2]})"
        if text.startswith("Syntax error: "):
            said = text.removeprefix("Syntax error: ").partition(" expecting")[0]
            for theirs, ours in (("mismatched input", "unexpected"), ("extraneous input",
                "unexpected"), ("token recognition error at:", "unexpected"),
                ("'<EOF>'", "end of the expression")):  # fmt: skip
                said = said.replace(theirs, ours)
            return f"syntax error: {said}"
        return text


def constant(expression: Expression) -> Value | None:
    """The value, if the expression has one whatever the names stand for."""
    try:
        return Names({}).compile(expression.source).evaluate({})
    except (BadExpression, EvaluationError):
        return None


class Pattern:
    """A regular expression (RE2: linear time, whatever the author wrote) over typed digits."""

    __slots__ = ("_expression",)

    def __init__(self, source: str) -> None:
        """Raises ValueError when it is not a regular expression."""
        # A CEL string literal has the escapes of JSON for ASCII; others stand as themselves.
        quoted = source.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        names = Names({"digits": VarType.STRING})
        try:
            self._expression = names.compile(f'digits.matches("^(?:{quoted})$")')
            self._expression.evaluate({"digits": ""})
        except (BadExpression, EvaluationError) as error:
            said = str(error).removeprefix("invalid regular expression: ")
            raise ValueError(f"this is not a regular expression: {said}") from None

    def matches(self, digits: str) -> bool:
        """Whether all of the digits match."""
        return self._expression.evaluate({"digits": digits}) is True
