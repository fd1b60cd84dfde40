"""Walks a flow: runs a node, writes down what happened, and follows the outcome to the next.

Knows neither node types nor channels. A caller who hangs up ends the walk with CallerGone, which
passes through to the one place that catches it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from ivr_server.flow.node import Run
from ivr_server.flow.ports import Caller, CallerGone, Story
from ivr_server.flow.spec import Flow

RUNAWAY_NODES = 1000


class FlowEnd(StrEnum):
    """Why a flow came to its end."""

    HANGUP = "hangup"  # a hangup node: the call is over
    END = "end"  # the last outcome leads nowhere; the call goes on as its starter wants
    RUNAWAY = "runaway"  # more than RUNAWAY_NODES nodes in a row without waiting for the caller


async def run(
    flows: Mapping[str, Flow],
    flow: Flow,
    caller: Caller,
    story: Story,
    *,
    variables: Mapping[str, Any] | None = None,
    start: str | None = None,
    after: str | None = None,
) -> FlowEnd:
    """Walk the flow to its end. Raises CallerGone, and whatever the caller's verbs raise.

    To resume a call, give the node (`start`) and the variables it had; a node that the flow does
    not have is replaced by the flow's start, a variable that does not fit by its default. `flows`
    is asked only for the flows that a goto names. With `after` the node is not run: the walk goes
    on behind that outcome of it.
    """
    await caller.answer()
    walk = _walk(flow, caller, variables or {})
    name, ended = flow.start, None
    if start is not None and start in flow.nodes:
        name, ended = start, after
    hurried = 0
    while True:
        node = flow.nodes[name]
        jump = node.jump()
        other = flows.get(jump) if jump is not None else None
        outcome = ended
        if outcome is None:
            outcome = await _step(flow, name, walk, story, lost=jump if other is None else None)
        ended = None
        if node.ends:
            return FlowEnd.HANGUP
        hurried = 0 if outcome in flow.waits[name] else hurried + 1
        if hurried > RUNAWAY_NODES:
            return FlowEnd.RUNAWAY
        if other is not None:
            flow, walk, target = other, _walk(other, caller, walk.variables), other.start
        else:
            following = flow.wires[name].get(outcome)
            if following is None:
                return FlowEnd.END
            target = following
        name = target


async def _step(flow: Flow, name: str, walk: Run, story: Story, *, lost: str | None) -> str:
    """Run one node and write its step down. `lost` is a flow it leads to that is not there."""
    node = flow.nodes[name]
    walk.detail = {}
    story.entered(
        flow=flow.name,
        version=flow.version,
        node=name,
        node_type=node.type,
        variables=dict(walk.variables),
    )
    try:
        outcome = await node.run(walk)
    except CallerGone:
        story.left(outcome="caller_gone", detail=walk.detail)
        raise
    except Exception:
        # Not handled here: the story must not show a node that is still running.
        story.left(outcome="failed", detail=walk.detail)
        raise
    if lost is not None:
        walk.detail.setdefault("errors", []).append(f"no flow '{lost}'")
    story.left(outcome=outcome, detail=walk.detail)
    return outcome


def _walk(flow: Flow, caller: Caller, variables: Mapping[str, Any]) -> Run:
    return Run(caller, flow.fitting(variables), flow.variables, flow.expressions)
