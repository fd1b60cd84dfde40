"""queue: wait for an agent of the site, talk, and come back."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Literal

from pydantic import Field

from ivr_server.flow.fields import Key, NodeName, QueueName, Timeout
from ivr_server.flow.node import Edge, Node, Outcome, Run
from ivr_server.flow.ports import QueueOutcome, QueueRequest


class Queue(Node):
    """Join a queue. Outcomes: answered, timeout, full, no_agents, and 'exit_key *' per key."""

    type: Literal["queue"]
    queue: QueueName = Field(description="A queue of the site.", examples=["sales"])
    priority: int = Field(0, ge=0, le=100, description="Higher is served first.")
    max_wait: Timeout | None = Field(
        None, description="Outcome `timeout` after this long; the queue's own limit if absent."
    )
    exit_keys: dict[Key, NodeName] = Field(
        default_factory=dict,
        description="Keys that leave the queue, at every moment of the wait.",
        examples=[{"*": "main_menu"}],
    )

    @cached_property
    def _request(self) -> QueueRequest:
        return QueueRequest(
            queue=self.queue,
            priority=self.priority,
            max_wait_s=self.max_wait,
            exit_keys=frozenset(self.exit_keys),
        )

    def outcomes(self) -> tuple[Outcome, ...]:
        return (
            Outcome("answered", waits=True),
            Outcome("timeout", required=True, waits=True),
            Outcome("full", required=True),
            Outcome("no_agents", required=True),
            *(Outcome(f"exit_key {key}", waits=True) for key in self.exit_keys),
        )

    def edges(self) -> Iterator[Edge]:
        for key, target in self.exit_keys.items():
            yield Edge(f"exit_key {key}", target, ("exit_keys", key))
        yield from super().edges()

    async def run(self, run: Run) -> str:
        run.detail["queue"] = self.queue
        ended = await run.caller.queue(self._request)
        if ended.outcome is QueueOutcome.EXIT_KEY:
            return f"exit_key {ended.key}"
        run.caller.forget_keys()  # keys of the wait and of the talk choose nothing in a menu
        return ended.outcome.value
