"""goto: go on at another node, or in another flow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ivr_server.flow.fields import FlowName, NodeName
from ivr_server.flow.node import Edge, Finding, Node, Outcome, Run, Scope


class Goto(Node):
    """Go on elsewhere. Variables of the same name and type go along into another flow."""

    type: Literal["goto"]
    node: NodeName | None = Field(None, description="A node of this flow.")
    flow: FlowName | None = Field(None, description="Another flow, from its start.")

    def outcomes(self) -> tuple[Outcome, ...]:
        return (Outcome("done", required=self.flow is None),)

    def edges(self) -> Iterator[Edge]:
        if self.node is not None:
            yield Edge("done", self.node, ("node",))
        yield from super().edges()

    def jump(self) -> str | None:
        return self.flow

    def findings(self, scope: Scope) -> Iterator[Finding]:
        if self.flow is not None and any(self.edges()):
            yield Finding(("flow",), "a goto leads to a node or to a flow, not to both", True)

    async def run(self, run: Run) -> str:
        return "done"
