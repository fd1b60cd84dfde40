"""collect: the caller types a number, which is kept in a variable."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ivr_server.flow.asking import Asking
from ivr_server.flow.digits import EntryEnd, Length
from ivr_server.flow.expressions import Pattern, VarType
from ivr_server.flow.fields import VariableName
from ivr_server.flow.node import Finding, Outcome, Run, Scope


def _pattern(source: str) -> str:
    Pattern(source)
    return source


class Collect(Asking):
    """Ask for digits. Done at once when `max_digits` are typed, else by terminator or silence."""

    type: Literal["collect"]
    into: VariableName = Field(
        description="The variable that keeps the digits; a string.", examples=["order"]
    )
    min_digits: int = Field(1, ge=0, le=32, description="Fewer digits are invalid.")
    max_digits: int = Field(ge=1, le=32, description="Done as soon as so many are typed.")
    pattern: Annotated[str, AfterValidator(_pattern)] | None = Field(
        None,
        max_length=200,
        description="A regular expression (RE2) that all the digits must match.",
        examples=["[1-9][0-9]*"],
    )

    @cached_property
    def _length(self) -> Length:
        pattern = None if self.pattern is None else Pattern(self.pattern)
        return Length(self.min_digits, self.max_digits, pattern)

    def outcomes(self) -> tuple[Outcome, ...]:
        return (Outcome("done", waits=True), *self._ways_out())

    def findings(self, scope: Scope) -> Iterator[Finding]:
        yield from super().findings(scope)
        yield from self._too_fast(self.max_digits, f"{self.max_digits} digits")
        if self.min_digits > self.max_digits:
            place = "min_digits" if "min_digits" in self.model_fields_set else "max_digits"
            yield Finding(
                (place,), f"min_digits ({self.min_digits}) is above max_digits ({self.max_digits})"
            )
        if self.terminator is not None and self.terminator.isdecimal():
            yield Finding(("terminator",), f"'{self.terminator}' cannot end digits: it is one")
        kind = scope.variables.get(self.into)
        if kind not in (None, VarType.STRING):
            message = f"digits are kept in a string (zeros lead), but '{self.into}' is {kind}"
            yield Finding(("into",), message)

    async def run(self, run: Run) -> str:
        entry = await self.ask(run, self._length, self.terminator)
        if entry.end is EntryEnd.MATCHED:
            run.keep(self.into, entry.digits)
        return entry.end.value
