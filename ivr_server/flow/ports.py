"""What a flow may ask of the world: a caller, and a story that is being written down.

Protocols and plain values only. The live channel, the FastAGI channel and the scripted caller of
the simulator all satisfy `Caller`; nodes cannot tell which of them they talk to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class CallerGone(Exception):
    """The caller has hung up. Raised by any verb on the caller, caught once per call."""


class PlayEnd(StrEnum):
    """How the audio ended. What the digits mean is another question."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"  # a key was pressed (barge-in); the key waits to be read
    FAILED = "failed"  # the sound could not be played; counted, the flow goes on


@dataclass(frozen=True)
class Prompt:
    """A phrase of the catalogue, by name."""

    name: str


@dataclass(frozen=True)
class Text:
    """A literal text of the flow, rendered to speech when the flow is loaded."""

    text: str


@dataclass(frozen=True)
class Say:
    """A value spoken by the rules of the caller's language.

    `kind` is one of 'number', 'digits', 'place', 'wait'; `value` is a decimal string
    (for 'wait' whole minutes).
    """

    kind: str
    value: str


Utterance = Prompt | Text | Say


class QueueOutcome(StrEnum):
    """How a queue node ended."""

    ANSWERED = "answered"  # an agent talked to the caller and then hung up
    EXIT_KEY = "exit_key"
    TIMEOUT = "timeout"
    FULL = "full"
    NO_AGENTS = "no_agents"


class DialOutcome(StrEnum):
    """How a dial node ended (VoiceXML 2.1 transfer results)."""

    ANSWERED = "answered"  # the far end talked and then hung up
    BUSY = "busy"
    NO_ANSWER = "noanswer"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, kw_only=True)
class QueueRequest:
    """Join a queue of the site; the queue's own settings apply where these are None."""

    queue: str
    priority: int = 0
    max_wait_s: float | None = None
    exit_keys: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, kw_only=True)
class DialRequest:
    """Ring one destination: a name of the site's `destinations`, or an agent's name."""

    destination: str
    timeout_s: float = 30.0


@dataclass(frozen=True)
class Queued:
    """The outcome of a queue, and the key that ended it if a key did."""

    outcome: QueueOutcome
    key: str = ""


class Caller(Protocol):
    """The verbs. Each raises CallerGone once the caller has hung up."""

    language: str

    @property
    def number(self) -> str:
        """The caller's number as given by the network, control characters stripped."""

    @property
    def dialled(self) -> str:
        """The number that was called."""

    async def answer(self) -> None:
        """Answer the call; does nothing when it is answered already."""

    async def play(self, what: Sequence[Utterance], *, barge_in: bool) -> PlayEnd:
        """Play to the end. With barge_in a key, also one typed before, ends it at once.

        The key that interrupted is left for `key` to read.
        """

    async def key(self, timeout_s: float) -> str | None:
        """The next key (one of 0-9 * # A-D), oldest first; None after timeout_s without one."""

    def forget_keys(self) -> None:
        """Drop keys that were typed ahead."""

    def forget_next(self, key: str, within_s: float) -> None:
        """Drop this key if it is the very next one and comes, or came, within so long."""

    async def queue(self, request: QueueRequest) -> Queued:
        """Wait for an agent, talk, and come back."""

    async def dial(self, request: DialRequest) -> DialOutcome:
        """Ring a destination, talk, and come back."""

    async def hangup(self) -> None:
        """End the call from our side."""


class Story(Protocol):
    """Where the engine writes down what happened. Must not wait."""

    def entered(
        self,
        *,
        flow: str,
        version: str,
        node: str,
        node_type: str,
        variables: Mapping[str, Any],
    ) -> None:
        """The engine is about to run this node with these variables."""

    def left(self, *, outcome: str, detail: Mapping[str, Any]) -> None:
        """The node that was entered last has ended."""
