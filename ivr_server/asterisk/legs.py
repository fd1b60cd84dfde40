"""The row of one leg and of its recording, kept in step with what happens to the channel.

Every channel of a call, the caller's or an agent's, gets a `Leg` here; whoever makes it writes its
first row. When the channel is over the
row is closed and the recording is given to the archive to be verified.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from ivr_server import facts
from ivr_server.asterisk.channel import Channel
from ivr_server.waiting.ports import Journal


class Archive(Protocol):
    """Takes finished recordings. Does not wait."""

    def leg_over(
        self, recording: facts.Recording, kind: facts.LegKind, expected_s: float | None
    ) -> None:
        """The leg of this recording is over; it should hold about `expected_s` of audio, None if
        nobody saw its end."""


@dataclass(frozen=True, kw_only=True)
class Records:
    """Where rows and recordings of legs go."""

    journal: Journal
    archive: Archive
    spool: Path  # where Asterisk writes audio, one file per leg named after it
    utc: Callable[[], datetime] = lambda: datetime.now(UTC)


class Leg:
    """One channel's row and recording."""

    def __init__(self, channel: Channel, fact: facts.Leg, records: Records) -> None:
        self.channel = channel
        self.fact = fact
        self.recording: facts.Recording | None = None
        self.gave_up: facts.LegEnd | None = None  # why we ended it before an answer
        self._records = records
        channel.over = self._over

    def answered(self) -> None:
        """It was picked up."""
        if self.fact.answered_at is None:
            self._write(answered_at=self._records.utc(), endpoint=self.channel.name)

    def recorded(self, started_at: datetime) -> facts.Recording:
        """Asterisk writes its audio since then: the row, for the caller to write down."""
        self.recording = facts.Recording(
            recording_id=f"{self.fact.leg_id}",
            call_id=self.fact.call_id,
            leg_id=self.fact.leg_id,
            kind="leg",
            state=facts.RecordingState.RECORDING,
            path=str(self.raw_file),
            started_at=started_at,
        )
        return self.recording

    @property
    def raw_file(self) -> Path:
        """Where Asterisk writes this leg's audio. The name is made by us or by Asterisk."""
        return self._records.spool / f"{self.fact.leg_id}.wav"

    def _over(self, channel: Channel) -> None:
        now = self._records.utc()
        self._write(ended_at=now, end_reason=self._end_reason(), cause=channel.cause)
        if self.recording is not None:
            seconds = None
            if channel.end_seen:
                seconds = (now - self.recording.started_at).total_seconds()
            self._records.archive.leg_over(self.recording, self.fact.kind, seconds)

    def _end_reason(self) -> facts.LegEnd:
        if self.fact.answered_at is not None or self.fact.kind is facts.LegKind.CALLER:
            return facts.LegEnd.HUNG_UP
        if self.gave_up is not None:
            return self.gave_up
        return unanswered(self.channel.cause)

    def _write(self, **changes: object) -> None:
        self.fact = replace(self.fact, **changes)  # type: ignore[arg-type]
        self._records.journal.append(self.fact)


def unanswered(cause: int) -> facts.LegEnd:
    """Why a phone that was rung was not answered, from the cause (ITU-T Q.850, table 1)."""
    match cause:
        case 17:  # user busy
            return facts.LegEnd.BUSY
        case 21:  # call rejected
            return facts.LegEnd.REJECTED
        case 18 | 19:  # no user responding, no answer from user
            return facts.LegEnd.NO_ANSWER
        case _:
            return facts.LegEnd.UNREACHABLE
