"""What the waiting room needs from the outside: a caller who waits, phones that ring, a journal.

Protocols only; the Asterisk package and the tests' fakes satisfy them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol

from ivr_server.acd.settings import AgentSettings
from ivr_server.facts import Fact
from ivr_server.flow.ports import Utterance


class RingEnd(StrEnum):
    """How the ringing of one phone ended."""

    ANSWERED = "answered"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    REJECTED = "rejected"
    UNREACHABLE = "unreachable"
    CANCELLED = "cancelled"  # we hung up before an answer


class Speech(Protocol):
    """Something being said to a waiting caller."""

    @property
    def done(self) -> bool:
        """Whether it is over."""

    @property
    def failed(self) -> bool:
        """Whether it is over without having been heard."""

    async def stop(self) -> None:
        """Stop it at once."""


class AgentLeg(Protocol):
    """The channel to one agent's phone, from before it rings until after it is over."""

    @property
    def id(self) -> str: ...

    async def ring(self, timeout_s: float) -> RingEnd:
        """Ring the phone; returns when it was answered or will not be."""

    async def hangup(self) -> None:
        """End it, ringing or talking. Harmless when it is over."""


class WaitingCaller(Protocol):
    """A caller seen from the waiting room. Verbs raise CallerGone after the hang-up."""

    language: str

    @property
    def call_id(self) -> str: ...

    @property
    def number(self) -> str: ...

    @property
    def gone(self) -> bool:
        """Whether the caller has hung up."""

    @property
    def recorded(self) -> bool:
        """Whether this call is recorded, so that its agents' legs are too."""

    def waits(self, visit_id: str) -> None:
        """The caller waits under this visit from now on: the position of the call."""

    def attach(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever a key came, speech ended, or the caller hung up."""

    def take_key(self) -> str | None:
        """The oldest key not yet taken."""

    async def music(self, name: str) -> bool:
        """Music on hold from now on, until speech or talk begins. False: it could not start."""

    async def speak(self, what: Sequence[Utterance]) -> Speech:
        """Start saying something; music stops."""

    def text(self, what: Sequence[Utterance]) -> str:
        """The words of it, for the record."""

    async def join(self, leg: AgentLeg, visit_id: str) -> bool:
        """Bridge with the agent's leg. False when the agent was gone before they were connected."""

    async def talk(self, leg: AgentLeg) -> None:
        """Returns when the agent has left the bridge; CallerGone when the caller leaves first."""

    async def part(self) -> None:
        """The talk is over: take the bridge down."""


class Phones(Protocol):
    """Makes legs to agents' phones."""

    def leg(self, agent: AgentSettings, caller: WaitingCaller) -> AgentLeg:
        """A leg that does not ring yet. Its facts are written by whoever makes it."""


class Journal(Protocol):
    """Where facts go. Does not wait."""

    def append(self, *facts: Fact) -> None:
        """Write these down, all of them or none."""
