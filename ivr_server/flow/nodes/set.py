"""set: give variables new values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ivr_server.flow.fields import Formula, VariableName
from ivr_server.flow.node import Finding, Node, Run, Scope


class Assign(Node):
    """Compute and keep values, from top to bottom; one without a value leaves its variable."""

    type: Literal["set"]
    values: dict[VariableName, Formula] = Field(
        min_length=1,
        description="A CEL expression for each variable, of the variable's type.",
        examples=[{"attempts": "attempts + 1", "vip": "caller.number == '+74951234567'"}],
    )

    def findings(self, scope: Scope) -> Iterator[Finding]:
        for variable, source in self.values.items():
            kind, expression = scope.variables.get(variable), scope.expression(source)
            if kind is not None and expression is not None and expression.type not in (kind, "dyn"):
                yield Finding(
                    ("values", variable),
                    f"'{variable}' is {kind}, but this is {expression.type}: "
                    f"write {kind}(...) to convert it",
                )

    async def run(self, run: Run) -> str:
        for variable, source in self.values.items():
            value = run.value(source)
            if value is not None:
                run.keep(variable, value)
        return "done"
