"""What every node type has: its wiring, its outcomes, and what it is given to run.

A node type is one class in one file of `nodes/`. It declares its outcomes and marks what its
fields refer to (fields.py); the checks, the engine, the graph and the schema need nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

from pydantic import Field

from ivr_server.flow.expressions import EvaluationError, Expression, Value, VarType
from ivr_server.flow.fields import NodeName, Phrase, Section
from ivr_server.flow.ports import Caller, PlayEnd, Prompt, Say, Text, Utterance
from ivr_server.flow.yamltext import Step


class Outcome(NamedTuple):
    """One way a node can end.

    `required`: it must lead to a node; otherwise the flow may end there. `waits`: time has passed
    for the caller, so that a loop through it is no runaway.
    """

    name: str
    required: bool = False
    waits: bool = False


DONE = Outcome("done")


class Edge(NamedTuple):
    """Where an outcome leads, and where in the node that is written."""

    outcome: str
    target: str
    path: tuple[Step, ...]


class Finding(NamedTuple):
    """A mistake that a node finds in itself, at a path within it."""

    path: tuple[Step, ...]
    message: str
    at_key: bool = False


class Scope(Protocol):
    """What a node may ask about its flow while it is checked."""

    @property
    def variables(self) -> Mapping[str, VarType]:
        """Declared variables."""

    def expression(self, source: str) -> Expression | None:
        """The compiled expression; None if it has faults, which are reported already."""


@dataclass(slots=True)
class Run:
    """One walk through a flow, as its nodes see it. `detail` is the trace of the current node."""

    caller: Caller
    variables: dict[str, Value]
    types: Mapping[str, VarType]
    expressions: Mapping[str, Expression]
    detail: dict[str, Any] = field(default_factory=dict)

    def value(self, source: str) -> Value | None:
        """The value of an expression of this flow; None if it has none this time (recorded)."""
        caller = self.caller
        values = {
            **self.variables,
            "caller.number": caller.number,
            "caller.language": caller.language,
            "call.dialled": caller.dialled,
        }
        try:
            return self.expressions[source].evaluate(values)
        except EvaluationError as error:
            self.detail.setdefault("errors", []).append(f"{source}: {error}")
            return None

    def keep(self, variable: str, value: Value) -> None:
        """Set a variable; the trace keeps the new value under `values`."""
        if self.types[variable].fits(value):
            self.variables[variable] = value
            self.detail.setdefault("values", {})[variable] = value
        else:
            self.detail.setdefault("errors", []).append(f"{variable}: {value!r} does not fit")

    def utterances(self, phrases: tuple[Phrase, ...]) -> list[Utterance]:
        """What is to be heard now; a value that cannot be computed is left out (recorded)."""
        heard: list[Utterance] = []
        for phrase in phrases:
            if phrase.prompt is not None:
                heard.append(Prompt(phrase.prompt))
            elif phrase.text is not None:
                heard.append(Text(phrase.text))
            elif phrase.say is not None and phrase.value is not None:
                value = self.value(phrase.value)
                if value is not None:
                    heard.append(Say(phrase.say, str(value)))
        return heard

    async def play(self, phrases: tuple[Phrase, ...], *, barge_in: bool) -> PlayEnd:
        """Play the phrases; how it ended is kept in the trace unless they were heard out."""
        heard = self.utterances(phrases)
        if not heard:
            return PlayEnd.FINISHED
        end = await self.caller.play(heard, barge_in=barge_in)
        if end is PlayEnd.FAILED:
            self.detail["failed"] = self.detail.get("failed", 0) + 1
        elif end is PlayEnd.INTERRUPTED:
            self.detail["interrupted"] = True
        return end


class Node(Section):
    """Common fields of all nodes. A subclass adds its own, and `async def run`."""

    ends: ClassVar[bool] = False  # the call is over behind this node

    type: str = Field(description="What this node does.")
    next: NodeName | None = Field(
        None, description="The next node: short for `on: {done: ...}`.", examples=["main_menu"]
    )
    on: dict[str, NodeName] = Field(
        default_factory=dict,
        description="The next node for each outcome.",
        examples=[{"timeout": "busy", "no_agents": "busy"}],
    )

    def outcomes(self) -> tuple[Outcome, ...]:
        """All the ways this node can end."""
        return (DONE,)

    def edges(self) -> Iterator[Edge]:
        """Where the outcomes lead; a node with notations of its own adds them."""
        if self.next is not None:
            yield Edge("done", self.next, ("next",))
        for outcome, target in self.on.items():
            yield Edge(outcome, target, ("on", outcome))

    def jump(self) -> str | None:
        """The flow in which the call goes on, if it leaves this one here."""
        return None

    def says(self) -> Iterator[Phrase]:
        """Phrases that the node makes of its fields, besides those that are fields of it."""
        yield from ()

    def findings(self, scope: Scope) -> Iterator[Finding]:
        """Mistakes that only this node type can see."""
        yield from ()

    async def run(self, run: Run) -> str:
        """Do it, and return the name of the outcome. Raises CallerGone."""
        raise NotImplementedError
