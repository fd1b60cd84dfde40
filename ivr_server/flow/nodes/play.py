"""play: let the caller hear prompts, and go on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ivr_server.flow.fields import Phrases
from ivr_server.flow.node import Node, Run


class Play(Node):
    """Play one or more phrases. A key typed meanwhile is kept for the next menu."""

    type: Literal["play"]
    prompt: Phrases = Field(
        description="A prompt, or a list of phrases.",
        examples=["welcome", ["order_number_is", {"say": "digits", "value": "order"}]],
    )
    barge_in: bool = Field(True, description="A key ends the prompt at once.")

    async def run(self, run: Run) -> str:
        await run.play(self.prompt, barge_in=self.barge_in)
        return "done"
