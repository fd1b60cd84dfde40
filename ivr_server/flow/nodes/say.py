"""say: speak a literal text or one value, for which there is no recording."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ivr_server.flow.fields import Phrase, SayKind, Spoken, Words
from ivr_server.flow.node import Finding, Node, Run, Scope


class Speak(Node):
    """Speak `text`, or `value` in the manner of `say`."""

    type: Literal["say"]
    text: Words | None = Field(None, description="A literal text.", examples=["Hello."])
    say: SayKind | None = Field(None, description="How `value` is spoken.", examples=["digits"])
    value: Spoken | None = Field(
        None, description="A CEL expression, an int or a string of digits.", examples=["order"]
    )
    barge_in: bool = Field(True, description="A key ends the speech at once.")

    def findings(self, scope: Scope) -> Iterator[Finding]:
        if (self.text is None) == (self.say is None) or (self.say is None) != (self.value is None):
            yield Finding((), "a say node has either 'text', or 'say' with 'value'", at_key=True)

    def says(self) -> Iterator[Phrase]:
        yield Phrase.model_construct(prompt=None, text=self.text, say=self.say, value=self.value)

    async def run(self, run: Run) -> str:
        await run.play(tuple(self.says()), barge_in=self.barge_in)
        return "done"
