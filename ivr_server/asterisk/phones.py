"""Ringing: a leg from us to an agent's phone or to another destination.

The channel's id is ours and its mailbox stands before Asterisk is asked to create it, because its
first event can come before the answer to the request.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

import structlog

from ivr_server import facts
from ivr_server.acd.settings import AgentSettings
from ivr_server.asterisk.ami import Ami
from ivr_server.asterisk.channel import Channel, ChannelGone
from ivr_server.asterisk.legs import Leg, Records
from ivr_server.asterisk.link import Link
from ivr_server.errors import LinkError
from ivr_server.waiting.ports import RingEnd, WaitingCaller

log = structlog.get_logger(__name__)

AGENT = "agent"  # first Stasis argument of a leg we originated
RECORDING_WITHIN_S = 1.0  # then the two are connected all the same
_SPARE_S = 5  # Asterisk gives up this much after we do, in case we are not there to

_RING_END = {
    facts.LegEnd.BUSY: RingEnd.BUSY,
    facts.LegEnd.REJECTED: RingEnd.REJECTED,
    facts.LegEnd.NO_ANSWER: RingEnd.NO_ANSWER,
    facts.LegEnd.UNREACHABLE: RingEnd.UNREACHABLE,
    facts.LegEnd.CANCELLED: RingEnd.CANCELLED,
}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the rung phone shows."""

    number: str
    name: str = ""

    def caller_id(self) -> str:
        """In Asterisk's syntax. Anything that could end a header or a quote is dropped."""
        name = re.sub(r'["\\<>\x00-\x1f\x7f]', "", self.name)[:80]
        number = re.sub(r"[^0-9+*#A-Za-z]", "", self.number)[:40]
        return f'"{name}" <{number}>'


class OutgoingLeg:
    """One phone that we ring. See waiting.ports.AgentLeg."""

    def __init__(
        self,
        link: Link,
        ami: Ami,
        records: Records,
        fact: facts.Leg,
        *,
        shown: Shown,
        record: bool,
    ) -> None:
        self.id = fact.leg_id
        self.channel = Channel(link, self.id)
        self.leg = Leg(self.channel, fact, records)
        self._ami = ami
        self._records = records
        self._shown = shown
        self._record = record

    @classmethod
    def new(
        cls,
        link: Link,
        ami: Ami,
        records: Records,
        *,
        call_id: str,
        kind: facts.LegKind,
        endpoint: str,
        shown: Shown,
        record: bool,
        agent: str | None = None,
    ) -> OutgoingLeg:
        """A leg that does not ring yet."""
        fact = facts.Leg(
            leg_id=str(uuid.uuid4()),
            call_id=call_id,
            kind=kind,
            endpoint=endpoint,
            agent=agent,
            number=endpoint.partition("/")[2],
            started_at=records.utc(),
        )
        records.journal.append(fact)
        return cls(link, ami, records, fact, shown=shown, record=record)

    @classmethod
    def adopt(
        cls,
        link: Link,
        ami: Ami,
        records: Records,
        fact: facts.Leg,
        recording: facts.Recording | None,
    ) -> OutgoingLeg:
        """A leg that was talking before the service was restarted."""
        leg = cls(link, ami, records, fact, shown=Shown(number=""), record=False)
        leg.leg.recording = recording
        leg.channel.name = fact.endpoint
        leg.channel.up = leg.channel.in_stasis = leg.channel.created = True
        return leg

    async def ring(self, timeout_s: float) -> RingEnd:
        """See AgentLeg. The answered leg is being recorded when this returns."""
        channel = self.channel
        if channel.ended_by_us:
            channel.destroyed(channel.cause)
            return RingEnd.CANCELLED  # withdrawn before it was asked for
        try:
            await channel.link.operations.channels.originateWithId(
                channelId=self.id,
                endpoint=self.leg.fact.endpoint,
                app=channel.link.address.app,
                appArgs=f"{AGENT},{self.leg.fact.call_id}",
                callerId=self._shown.caller_id(),
                timeout=int(timeout_s) + _SPARE_S,
            )
            channel.created = True
            if channel.gone:
                # Withdrawn while it was being created: the hang-up overtook the request.
                await channel.link.surely(
                    lambda: channel.link.operations.channels.hangup(channelId=self.id)
                )
                return RingEnd.CANCELLED
            answered = await channel.until(lambda: channel.in_stasis, timeout_s)
        except ChannelGone:
            return _RING_END.get(
                self.leg.fact.end_reason or facts.LegEnd.UNREACHABLE, RingEnd.CANCELLED
            )
        except LinkError:
            # No such endpoint, or no contact registered: Asterisk made no channel at all.
            self.leg.gave_up = facts.LegEnd.UNREACHABLE
            await channel.hangup()
            channel.destroyed(channel.cause)
            return RingEnd.UNREACHABLE
        if not answered:
            self.leg.gave_up = facts.LegEnd.NO_ANSWER
            await channel.hangup("no_answer")
            return RingEnd.NO_ANSWER
        self.leg.answered()
        if self._record:
            await self._start_recording()
        return RingEnd.ANSWERED

    async def _start_recording(self) -> None:
        self._records.journal.append(self.leg.recorded(self._records.utc()))
        try:
            await self._ami.record(
                self.channel.name, str(self.leg.raw_file), within_s=RECORDING_WITHIN_S
            )
        except LinkError as error:
            # The talk matters more than its recording; the archive writes the row that says so
            # when it finds no file.
            log.error("leg_not_recorded", leg_id=self.id, error=str(error))

    async def hangup(self) -> None:
        """See AgentLeg."""
        if self.leg.fact.answered_at is None and self.leg.gave_up is None:
            self.leg.gave_up = facts.LegEnd.CANCELLED
        await self.channel.hangup()


class AgentPhones:
    """See waiting.ports.Phones."""

    def __init__(self, link: Link, ami: Ami, records: Records) -> None:
        self._link = link
        self._ami = ami
        self._records = records

    def leg(self, agent: AgentSettings, caller: WaitingCaller) -> OutgoingLeg:
        """A leg to this agent's phone, showing the caller's number."""
        return OutgoingLeg.new(
            self._link,
            self._ami,
            self._records,
            call_id=caller.call_id,
            kind=facts.LegKind.AGENT,
            endpoint=agent.endpoint,
            shown=Shown(number=caller.number),
            record=caller.recorded,
            agent=agent.name,
        )
