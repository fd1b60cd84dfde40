"""Walks a flow in the terminal, with no phone: what is heard, what is typed, where it leads.

A walk against a caller who never waits for real (testing/scripted.py) needs no event loop: the
coroutine runs through in one go. Knows nothing of how such a caller makes up its mind.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from ivr_server.flow import engine
from ivr_server.flow.ports import Caller, CallerGone, Prompt, Text, Utterance
from ivr_server.flow.spec import Flow

T = TypeVar("T")


class WalkEnd(StrEnum):
    """Why a simulated call ended: the members of FlowEnd, and the caller's own end."""

    HANGUP = "hangup"  # a hangup node
    END = "end"  # nowhere to go
    RUNAWAY = "runaway"  # too many nodes without waiting for the caller
    CALLER_GONE = "caller_gone"  # the caller hung up


@dataclass
class Walked:
    """One node that was run."""

    flow: str
    node: str
    node_type: str
    at_s: float
    variables: dict[str, Any]
    outcome: str = ""
    detail: dict[str, Any] = field(default_factory=dict)


class TimedCaller(Caller, Protocol):
    """A caller with a time of its own, who keeps a log of (seconds, what happened)."""

    now_s: float
    log: list[tuple[float, str]]


@dataclass
class Transcript:
    """A simulated call: a Story of its nodes, beside what the caller heard and did."""

    caller: TimedCaller
    steps: list[Walked] = field(default_factory=list)
    end: WalkEnd = WalkEnd.END

    @property
    def variables(self) -> dict[str, Any]:
        """The variables at the end."""
        last = self.steps[-1] if self.steps else None
        return {**last.variables, **last.detail.get("values", {})} if last else {}

    def entered(
        self,
        *,
        flow: str,
        version: str,
        node: str,
        node_type: str,
        variables: Mapping[str, Any],
    ) -> None:
        self.steps.append(Walked(flow, node, node_type, self.caller.now_s, dict(variables)))
        self.caller.log.append((self.caller.now_s, f"[{flow}.{node}] {node_type}"))

    def left(self, *, outcome: str, detail: Mapping[str, Any]) -> None:
        step = self.steps[-1]
        step.outcome, step.detail = outcome, dict(detail)
        errors = "".join(f"  ! {error}" for error in step.detail.get("errors", ()))
        self.caller.log.append((self.caller.now_s, f"  -> {outcome}{errors}"))

    def __str__(self) -> str:
        lines = [f"{at_s:8.1f}s  {what}" for at_s, what in self.caller.log]
        return "\n".join([*lines, f"{self.caller.now_s:8.1f}s  end: {self.end}"])


def simulate(
    flows: Mapping[str, Flow],
    flow: Flow,
    caller: TimedCaller,
    *,
    variables: Mapping[str, Any] | None = None,
    start: str | None = None,
) -> Transcript:
    """The whole call, at once; `str()` of the result is for people."""
    transcript = Transcript(caller)
    try:
        end = at_once(engine.run(flows, flow, caller, transcript, variables=variables, start=start))
        transcript.end = WalkEnd(end)
    except CallerGone:
        transcript.end = WalkEnd.CALLER_GONE
    return transcript


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never really waits. Raises RuntimeError if it does."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    coroutine.close()
    raise RuntimeError("a simulated caller must not wait for the real world")


def spoken(utterance: Utterance) -> str:
    """An utterance in one line: `welcome`, `text: Good day`, `digits: 1234`."""
    if isinstance(utterance, Prompt):
        return utterance.name
    if isinstance(utterance, Text):
        return f"text: {utterance.text}"
    return f"{utterance.kind}: {utterance.value}"
