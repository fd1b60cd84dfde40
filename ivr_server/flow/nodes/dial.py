"""dial: ring a destination or an agent of the site, talk, and come back."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from pydantic import Field

from ivr_server.flow.fields import DestinationName, Timeout
from ivr_server.flow.node import Node, Outcome, Run
from ivr_server.flow.ports import DialRequest


class Dial(Node):
    """Ring one destination. Outcomes: answered, busy, noanswer, unreachable."""

    type: Literal["dial"]
    destination: DestinationName = Field(
        description="A destination or an agent of the site.", examples=["night_guard"]
    )
    timeout: Timeout = Field(30.0, description="How long it rings.", examples=["30s"])

    @cached_property
    def _request(self) -> DialRequest:
        return DialRequest(destination=self.destination, timeout_s=self.timeout)

    def outcomes(self) -> tuple[Outcome, ...]:
        return (
            Outcome("answered", waits=True),
            Outcome("busy", required=True),
            Outcome("noanswer", required=True, waits=True),
            Outcome("unreachable", required=True),
        )

    async def run(self, run: Run) -> str:
        run.detail["destination"] = self.destination
        outcome = await run.caller.dial(self._request)
        run.caller.forget_keys()  # keys of the talk choose nothing in a menu
        return outcome.value
