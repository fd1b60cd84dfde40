"""hangup: say good-bye if wanted, and end the call."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ivr_server.flow.fields import Phrases
from ivr_server.flow.node import Node, Outcome, Run


class Hangup(Node):
    """End the call from our side."""

    ends: ClassVar[bool] = True

    type: Literal["hangup"]
    prompt: Phrases | None = Field(None, description="Played first.", examples=["goodbye"])

    def outcomes(self) -> tuple[Outcome, ...]:
        return ()

    async def run(self, run: Run) -> str:
        if self.prompt is not None:
            await run.play(self.prompt, barge_in=False)
        await run.caller.hangup()
        return "hangup"
