"""menu: the caller chooses with keys."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Literal

from pydantic import Field

from ivr_server.flow.asking import Asking
from ivr_server.flow.digits import Choices, EntryEnd
from ivr_server.flow.fields import Keys, NodeName
from ivr_server.flow.node import Edge, Finding, Outcome, Run, Scope


class Menu(Asking):
    """Ask, and go where the key leads. The outcome is the key, 'invalid' or 'no_input'."""

    type: Literal["menu"]
    keys: dict[Keys, NodeName] = Field(
        min_length=1,
        description="The next node for each key; a key may have several digits.",
        examples=[{"1": "sales", "2": "order_status", "0": "operator"}],
    )

    @cached_property
    def _choices(self) -> Choices:
        return Choices(self.keys)

    @cached_property
    def _terminator(self) -> str | None:
        """None where the terminator is itself a key of the menu."""
        taken = any(self.terminator in key for key in self.keys if self.terminator)
        return None if taken else self.terminator

    def outcomes(self) -> tuple[Outcome, ...]:
        return (*(Outcome(key, waits=True) for key in self.keys), *self._ways_out())

    def edges(self) -> Iterator[Edge]:
        for key, target in self.keys.items():
            yield Edge(key, target, ("keys", key))
        yield from super().edges()

    def findings(self, scope: Scope) -> Iterator[Finding]:
        yield from super().findings(scope)
        if "terminator" in self.model_fields_set and self._terminator != self.terminator:
            message = f"'{self.terminator}' cannot end the input: it is a key of this menu"
            yield Finding(("terminator",), message)
        longest = max(self.keys, key=len)
        yield from self._too_fast(len(longest), f"the key '{longest}'")

    async def run(self, run: Run) -> str:
        entry = await self.ask(run, self._choices, self._terminator)
        return entry.digits if entry.end is EntryEnd.MATCHED else entry.end.value
