"""What is known about calls: one frozen dataclass per table.

A fact is the whole row as it is known at one moment. A later fact with the same key replaces
the earlier one, so writing a fact twice changes nothing. The journal keeps facts, Postgres
rows are made of them, and the canonical log line is one of them.

Datetimes are aware; durations are seconds (`_s`). Knows nothing of files, SQL or Asterisk.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar


class CallEnd(StrEnum):
    """Why a call ended."""

    CALLER_HUNG_UP = "caller_hung_up"  # in the menu or while a prompt played
    ABANDONED = "abandoned"  # the caller gave up waiting in a queue
    COMPLETED_BY_CALLER = "completed_by_caller"  # hung up while talking
    COMPLETED_BY_AGENT = "completed_by_agent"  # the other side hung up and the flow ended there
    FLOW_ENDED = "flow_ended"  # a hangup node, or a node with nowhere to go
    FAILED = "failed"  # our error; the caller was handed to the number's fallback
    LOST = "lost"  # the channel was gone when the service came back


class LegKind(StrEnum):
    """What a channel is in its call."""

    CALLER = "caller"
    AGENT = "agent"
    OUTSIDE = "outside"


class LegEnd(StrEnum):
    """Why a leg ended."""

    HUNG_UP = "hung_up"  # the person at this end hung up, or the call was over
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    REJECTED = "rejected"
    UNREACHABLE = "unreachable"  # no registration, no route, network fault
    CANCELLED = "cancelled"  # we stopped ringing: the caller went away or was served elsewhere
    LOST = "lost"  # gone when the service came back


class VisitEnd(StrEnum):
    """How one stay in a queue ended."""

    ANSWERED = "answered"
    ABANDONED = "abandoned"
    EXIT_KEY = "exit_key"
    TIMEOUT = "timeout"
    FULL = "full"
    NO_AGENTS = "no_agents"
    FAILED = "failed"
    LOST = "lost"


class OfferEnd(StrEnum):
    """How one ringing of one agent ended."""

    ANSWERED = "answered"
    NOT_CONNECTED = "not_connected"  # answered, but one of the two was gone before the bridge stood
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    REJECTED = "rejected"
    UNREACHABLE = "unreachable"
    CALLER_GONE = "caller_gone"  # the caller hung up or left the queue first
    CANCELLED = "cancelled"  # the service restarted or stopped while it rang


class RecordingState(StrEnum):
    """What became of one audio file."""

    RECORDING = "recording"
    OK = "ok"
    SHORT = "short"  # less audio than the leg lasted
    EMPTY = "empty"  # the leg was over before any audio came; nothing is wrong
    MISSING = "missing"  # no file, or one without audio, though there should be some
    UNREADABLE = "unreadable"  # a file that is not audio


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Common to all rows: datetimes must be aware."""

    table: ClassVar[str] = ""  # "" = kept in the journal only
    key: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, datetime) and value.tzinfo is None:
                raise ValueError(f"{type(self).__name__}.{entry.name} needs a timezone")

    def identity(self) -> tuple[str, ...]:
        """The kind and the key values: equal for facts about the same row."""
        return (type(self).__name__, *(str(getattr(self, name)) for name in self.key))


@dataclass(frozen=True, kw_only=True)
class Call(Fact):
    """From a caller's arrival to the end of the last leg."""

    table: ClassVar[str] = "calls"
    key: ClassVar[tuple[str, ...]] = ("call_id",)

    call_id: str
    started_at: datetime
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: CallEnd | None = None
    dialled: str
    caller_number: str
    caller_name: str = ""
    language: str
    flow: str
    flow_version: str
    takeovers: int = 0  # how often a restarted service picked this call up
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Leg(Fact):
    """One channel of a call."""

    table: ClassVar[str] = "legs"
    key: ClassVar[tuple[str, ...]] = ("leg_id",)

    leg_id: str  # the channel id: ours, or Asterisk's unique id for a caller
    call_id: str
    kind: LegKind
    endpoint: str  # channel name, e.g. PJSIP/anna-00000003
    agent: str | None = None
    number: str = ""
    started_at: datetime
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: LegEnd | None = None
    cause: int | None = None  # Q.850 cause from Asterisk


@dataclass(frozen=True, kw_only=True)
class Visit(Fact):
    """One stay of a call in a queue."""

    table: ClassVar[str] = "visits"
    key: ClassVar[tuple[str, ...]] = ("visit_id",)

    visit_id: str
    call_id: str
    queue: str
    priority: int = 0
    enqueued_at: datetime
    place_at_entry: int
    answered_at: datetime | None = None
    released_at: datetime | None = None  # the talk was over
    ended_at: datetime | None = None  # left the queue: answered, abandoned, ...
    end_reason: VisitEnd | None = None
    agent: str | None = None
    exit_key: str | None = None


@dataclass(frozen=True, kw_only=True)
class Offer(Fact):
    """One ringing of one agent for one visit."""

    table: ClassVar[str] = "offers"
    key: ClassVar[tuple[str, ...]] = ("offer_id",)

    offer_id: str
    visit_id: str
    call_id: str
    queue: str
    agent: str
    leg_id: str
    offered_at: datetime
    ended_at: datetime | None = None
    end_reason: OfferEnd | None = None


@dataclass(frozen=True, kw_only=True)
class Promise(Fact):
    """One spoken estimate, kept beside what then happened (view `promise_outcomes`)."""

    table: ClassVar[str] = "promises"
    key: ClassVar[tuple[str, ...]] = ("promise_id",)

    promise_id: str
    visit_id: str
    call_id: str
    queue: str
    spoken_at: datetime
    place: int
    waited_s: float
    estimate_s: float | None  # what the model said, None when only the place was spoken
    spoken_s: int | None  # the upper bound the caller heard
    text: str
    model: str


@dataclass(frozen=True, kw_only=True)
class Step(Fact):
    """One node of the flow that the call went through."""

    table: ClassVar[str] = "flow_steps"
    key: ClassVar[tuple[str, ...]] = ("call_id", "number")

    call_id: str
    number: int  # 1, 2, 3, ... within the call
    flow: str
    flow_version: str
    node: str
    node_type: str
    entered_at: datetime
    left_at: datetime | None = None
    outcome: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Recording(Fact):
    """One audio file of one leg, or the stereo mix derived from the legs of a call."""

    table: ClassVar[str] = "recordings"
    key: ClassVar[tuple[str, ...]] = ("recording_id",)

    recording_id: str
    call_id: str
    leg_id: str | None  # None for the mix
    kind: str  # 'leg' or 'mix'
    state: RecordingState
    path: str  # relative to the recordings folder once verified
    started_at: datetime
    offset_s: float = 0.0  # start of the audio after the start of the call's first recording
    duration_s: float | None = None
    bytes: int | None = None
    sha256: str | None = None
    detail: str = ""  # why it is not 'ok'; channel map of a mix


@dataclass(frozen=True, kw_only=True)
class Position(Fact):
    """Where a call stands: what a restarted service needs to go on. Journal only."""

    key: ClassVar[tuple[str, ...]] = ("call_id",)

    call_id: str
    channel_id: str
    channel_name: str
    flow: str
    flow_version: str
    node: str
    step: int
    variables: dict[str, Any]
    language: str
    visit_id: str | None = None
    agent_leg_id: str | None = None  # set while the caller talks to this leg
    bridge_id: str | None = None
    connected: bool = False  # caller and leg were in that bridge together
    talked: bool = False  # somebody talked to the caller in this call


KINDS: dict[str, type[Fact]] = {
    kind.__name__: kind for kind in (Call, Leg, Visit, Offer, Promise, Step, Recording, Position)
}
