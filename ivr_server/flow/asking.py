"""Asking for keys with second and third chances: what menu and collect have in common.

Two counters that do not touch each other, one for wrong keys and one for silence, each with its
own prompts and its own way out. Knows the prompts; what keys mean is known to digits.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, NonNegativeInt

from ivr_server.flow import digits
from ivr_server.flow.digits import Entry, EntryEnd, Grammar
from ivr_server.flow.fields import Duration, Key, NodeName, Phrases, Section, Timeout
from ivr_server.flow.node import Edge, Finding, Node, Outcome, Run, Scope


class Retry(Section):
    """What happens after a wrong key, or after silence."""

    retries: NonNegativeInt = Field(
        default=2, le=20, description="How many further tries the caller has.", examples=[2]
    )
    prompts: list[Phrases] = Field(
        default_factory=list,
        description="Played before each further try, one per try; the last one repeats.",
        examples=[["invalid_key"], ["invalid_key", ["invalid_key", "main_menu_slowly"]]],
    )
    replay: bool = Field(
        default=True, description="Play the question again before the further try."
    )
    final_prompt: Phrases | None = Field(
        default=None,
        description="Played when there are no tries left.",
        examples=["too_many_errors"],
    )
    next: NodeName | None = Field(
        default=None,
        description="The next node when there are no tries left.",
        examples=["operator"],
    )


class Asking(Node):
    """A question answered with keys."""

    prompt: Phrases = Field(
        description="The question: a prompt, or a list of phrases.", examples=["main_menu"]
    )
    barge_in: bool = Field(
        True, description="A key ends the prompt at once. Otherwise keys typed during it are lost."
    )
    first_digit_timeout: Timeout = Field(
        5.0, description="How long to wait for the first key after the prompt.", examples=["5s"]
    )
    interdigit_timeout: Duration = Field(
        2.0,
        description="How long to wait for each further key; at least 500ms where there are any.",
        examples=["2s"],
    )
    terminator: Key | None = Field(
        "#", description="A key that says 'that was all'; null for none.", examples=["#"]
    )
    invalid: Retry = Field(default_factory=Retry, description="After a wrong key.")
    no_input: Retry = Field(default_factory=Retry, description="After silence.")

    def _ways_out(self) -> tuple[Outcome, ...]:
        return (Outcome("invalid", required=True, waits=True),
                Outcome("no_input", required=True, waits=True))  # fmt: skip

    def edges(self) -> Iterator[Edge]:
        yield from super().edges()
        if self.invalid.next is not None:
            yield Edge("invalid", self.invalid.next, ("invalid", "next"))
        if self.no_input.next is not None:
            yield Edge("no_input", self.no_input.next, ("no_input", "next"))

    def _too_fast(self, longest: int, what: str) -> Iterator[Finding]:
        """A time-out between keys in which nobody can type `what`, of so many keys."""
        if longest > 1 and self.interdigit_timeout < digits.LEAST_INTERDIGIT_S:
            shortest = f"{digits.LEAST_INTERDIGIT_S * 1000:.0f}ms"
            message = f"nobody types {what} so fast: at least {shortest}"
            yield Finding(("interdigit_timeout",), message)

    def findings(self, scope: Scope) -> Iterator[Finding]:
        for name, retry in (("invalid", self.invalid), ("no_input", self.no_input)):
            for index in range(retry.retries, len(retry.prompts)):
                message = f"this prompt is never played: there are only {retry.retries} retries"
                yield Finding((name, "prompts", index), message)

    async def ask(self, run: Run, grammar: Grammar, terminator: str | None) -> Entry:
        """Ask until there is an answer or there are no tries left."""
        tries = {EntryEnd.INVALID: 0, EntryEnd.NO_INPUT: 0}
        question = True
        while True:
            if question:
                await run.play(self.prompt, barge_in=self.barge_in)
            if not self.barge_in:
                run.caller.forget_keys()  # also those typed during the prompt of a further try
            entry = await digits.read(
                run.caller,
                grammar,
                first_timeout_s=self.first_digit_timeout,
                interdigit_timeout_s=self.interdigit_timeout,
                terminator=terminator,
            )
            run.detail.setdefault("typed", []).append(entry.digits)
            if entry.end is EntryEnd.MATCHED:
                return entry
            if entry.end is EntryEnd.INVALID:
                run.caller.forget_keys()  # what was typed ahead was meant for somewhere else
            retry = self.invalid if entry.end is EntryEnd.INVALID else self.no_input
            used = tries[entry.end]
            if used == retry.retries:
                if retry.final_prompt is not None:
                    await run.play(retry.final_prompt, barge_in=False)
                return entry
            tries[entry.end] = used + 1
            if retry.prompts:
                which = retry.prompts[min(used, len(retry.prompts) - 1)]
                await run.play(which, barge_in=self.barge_in)
            question = retry.replay
