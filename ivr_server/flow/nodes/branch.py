"""branch: go on by conditions; the first one that is true wins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ivr_server.flow.expressions import constant
from ivr_server.flow.fields import Condition, NodeName, Section
from ivr_server.flow.node import Edge, Finding, Node, Outcome, Run, Scope


class Case(Section):
    """A condition and where it leads."""

    when: Condition = Field(
        description="A CEL expression of type bool; without a value (such as 1/0) it is false.",
        examples=["attempts > 2", "caller.number.startsWith('+7')"],
    )
    next: NodeName = Field(description="The next node if it is true.")


class Branch(Node):
    """Test the cases in order. The outcome is 'case 1', 'case 2', ... or 'else'."""

    type: Literal["branch"]
    cases: list[Case] = Field(min_length=1, description="Tested from top to bottom.")
    otherwise: NodeName | None = Field(
        None, alias="else", description="The next node if no case is true."
    )

    def outcomes(self) -> tuple[Outcome, ...]:
        cases = (Outcome(f"case {number + 1}") for number in range(len(self.cases)))
        return (*cases, Outcome("else", required=True))

    def edges(self) -> Iterator[Edge]:
        for number, case in enumerate(self.cases):
            yield Edge(f"case {number + 1}", case.next, ("cases", number, "next"))
        if self.otherwise is not None:
            yield Edge("else", self.otherwise, ("else",))
        yield from super().edges()

    def findings(self, scope: Scope) -> Iterator[Finding]:
        seen: dict[str, int] = {}
        certain = 0
        for number, case in enumerate(self.cases, start=1):
            path = ("cases", number - 1, "when")
            expression = scope.expression(case.when)
            value = constant(expression) if expression is not None else None
            first = seen.setdefault(case.when.strip(), number)
            if certain:
                yield Finding(path, f"this case is never reached: case {certain} is always true")
            elif value is False:
                yield Finding(path, "this condition is never true")
            elif first != number:
                yield Finding(path, f"this case is never reached: case {first} is the same")
            elif value is True:
                certain = number

    async def run(self, run: Run) -> str:
        for number, case in enumerate(self.cases, start=1):
            if run.value(case.when) is True:
                return f"case {number}"
        return "else"
