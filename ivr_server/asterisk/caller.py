"""The caller on a live channel: the flow's verbs and the waiting room's, over ARI.

Every verb raises CallerGone once the channel is gone. A prompt that cannot be played, or a
connection to Asterisk that is away for a moment, is not a reason to lose a call: the verb reports
it and the flow goes on.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from ivr_server import facts
from ivr_server.acd.agents import AgentEvent
from ivr_server.asterisk.ami import Ami
from ivr_server.asterisk.channel import LONGEST_PROMPT_S, Channel, ChannelGone, Playback
from ivr_server.asterisk.legs import Leg, Records
from ivr_server.asterisk.link import Link
from ivr_server.asterisk.phones import OutgoingLeg, Shown
from ivr_server.call import CallStory
from ivr_server.errors import LinkError, LinkLost
from ivr_server.flow.ports import (
    CallerGone,
    DialOutcome,
    DialRequest,
    PlayEnd,
    Queued,
    QueueOutcome,
    QueueRequest,
    Utterance,
)
from ivr_server.waiting.ports import AgentLeg, RingEnd
from ivr_server.waiting.room import WaitingRoom

log = structlog.get_logger(__name__)

STOPPED_WITHIN_S = 2.0
PARTED_WITHIN_S = 2.0
LEFT_WITHIN_S = 5.0
LINK_BACK_WITHIN_S = 5.0  # an agent who has answered is not given up for a lost connection at once


class Speech(Protocol):
    """Turns words into media that Asterisk can play."""

    def media(self, language: str, utterances: Sequence[Utterance]) -> list[str]: ...

    def words(self, language: str, utterances: Sequence[Utterance]) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What every caller of one service shares."""

    link: Link
    ami: Ami
    records: Records
    room: WaitingRoom
    speech: Speech
    destinations: Mapping[str, str]  # name -> what Asterisk dials


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """What a call was doing when the service before us ended."""

    visit: facts.Visit | None = None
    agent_leg: OutgoingLeg | None = None  # still bridged to the caller
    bridge_id: str = ""
    talk_over: bool = False  # it ended while no service listened


class _Silence:
    """Speech that could not be started: over before it began."""

    done = failed = True

    async def stop(self) -> None:
        """Nothing to stop."""


class LiveCaller:
    """See flow.ports.Caller and waiting.ports.WaitingCaller."""

    def __init__(
        self,
        exchange: Exchange,
        leg: Leg,
        story: CallStory,
        *,
        resumption: Resumption | None = None,
    ) -> None:
        self._exchange = exchange
        self._leg = leg
        self._channel: Channel = leg.channel
        self._story = story
        self._resumption = resumption
        self._bridge = ""
        self.recorded = leg.recording is not None

    @property
    def call_id(self) -> str:
        return self._story.call.call_id

    @property
    def number(self) -> str:
        return self._story.call.caller_number

    @property
    def dialled(self) -> str:
        return self._story.call.dialled

    @property
    def language(self) -> str:
        return self._story.position.language

    @language.setter
    def language(self, language: str) -> None:
        self._story.spoke(language)

    @property
    def gone(self) -> bool:
        return self._channel.gone

    # --- the flow's verbs ---

    async def answer(self) -> None:
        """See Caller. The first verb of every flow."""
        resumption = self._resumption
        if resumption is not None and resumption.bridge_id and resumption.agent_leg is None:
            # The other side left while no service listened: the caller sits in a bridge alone.
            self._bridge = resumption.bridge_id
            await self.part()
        if not self._channel.up:
            async with _caller():
                await self._channel.answer()
        self._leg.answered()
        self._story.answered()

    async def play(self, what: Sequence[Utterance], *, barge_in: bool) -> PlayEnd:
        """See Caller."""
        channel = self._channel
        async with _caller():
            if channel.gone:
                raise ChannelGone(channel.id)
            if barge_in and channel.keys:
                return PlayEnd.INTERRUPTED
            playback = await self._start(what)
            if playback is None:
                return PlayEnd.FAILED
            await channel.until(
                lambda: playback.done or (barge_in and bool(channel.keys)), LONGEST_PROMPT_S
            )
            if playback.done:
                return PlayEnd.FAILED if playback.failed else PlayEnd.FINISHED
            await playback.stop()
            await channel.until(lambda: playback.done, STOPPED_WITHIN_S)
            return PlayEnd.INTERRUPTED

    async def key(self, timeout_s: float) -> str | None:
        """See Caller."""
        async with _caller():
            if not self._channel.keys:
                self._channel.keep_sending()
            if await self._channel.until(lambda: bool(self._channel.keys), timeout_s):
                return self._channel.keys.popleft()
            return None

    def forget_keys(self) -> None:
        """See Caller."""
        self._channel.keys.clear()

    def forget_next(self, key: str, within_s: float) -> None:
        """See Caller."""
        self._channel.forget_next(key, within_s)

    async def queue(self, request: QueueRequest) -> Queued:
        """See Caller."""
        resumption, self._resumption = self._resumption, None
        room = self._exchange.room
        if resumption is None or (resumption.visit is None and not resumption.talk_over):
            self.forget_keys()
            queued = await room.serve(self, request)
        elif resumption.visit is None:
            queued = Queued(QueueOutcome.ANSWERED)
        elif resumption.agent_leg is not None:
            queued = await self._resume_talk(resumption.agent_leg, resumption)
        else:
            queued = await room.serve(self, request, resumption.visit)
        if queued.outcome is not QueueOutcome.ANSWERED:
            self._story.alone()
        return queued

    async def finish_talk(self) -> None:
        """See call.TalkingCaller."""
        resumption, self._resumption = self._resumption, None
        assert resumption is not None
        assert resumption.agent_leg is not None
        if resumption.visit is not None:
            await self._resume_talk(resumption.agent_leg, resumption)
        else:
            await self._resume_dialled(resumption.agent_leg, resumption)

    async def _resume_talk(self, leg: OutgoingLeg, resumption: Resumption) -> Queued:
        found = resumption.visit
        assert found is not None
        self._bridge = resumption.bridge_id
        request = QueueRequest(queue=found.queue, priority=found.priority)
        visit = self._exchange.room.enter(self, request, found, connected=True)
        return await visit.resume_talk(leg, found.agent or "")

    async def dial(self, request: DialRequest) -> DialOutcome:
        """See Caller."""
        resumption, self._resumption = self._resumption, None
        if resumption is not None and resumption.talk_over:
            return DialOutcome.ANSWERED
        if resumption is not None and resumption.agent_leg is not None:
            await self._resume_dialled(resumption.agent_leg, resumption)
            return DialOutcome.ANSWERED
        room, name = self._exchange.room, request.destination
        if not room.knows(name):
            return await self._dial(request, agent=None)
        if not room.borrow(name):
            return DialOutcome.BUSY
        try:
            return await self._dial(request, agent=name)
        finally:
            room.give_back(name)

    async def _resume_dialled(self, leg: OutgoingLeg, resumption: Resumption) -> None:
        room, agent = self._exchange.room, leg.leg.fact.agent or ""
        self._bridge = resumption.bridge_id
        try:
            await self._until_dialled_is_over(leg)
        finally:
            if room.knows(agent):
                room.give_back(agent)

    async def _dial(self, request: DialRequest, agent: str | None) -> DialOutcome:
        exchange = self._exchange
        leg = OutgoingLeg.new(
            exchange.link,
            exchange.ami,
            exchange.records,
            call_id=self.call_id,
            kind=facts.LegKind.AGENT if agent else facts.LegKind.OUTSIDE,
            agent=agent,
            endpoint=exchange.destinations[request.destination],
            shown=Shown(number=self.number),
            record=self.recorded,
        )
        ringing = asyncio.create_task(leg.ring(request.timeout_s))
        ringing.add_done_callback(lambda task: self._channel.changed())
        try:
            await self._tone("ring")
            async with _caller():
                await self._channel.until(ringing.done, None)
            end = ringing.result()
            await self._tone("ringStop")
            joined = end is RingEnd.ANSWERED and await self.join(leg, "")
        except CallerGone:
            await leg.hangup()
            await ringing
            raise
        finally:
            ringing.cancel()  # does nothing to one that is done; else the service stops
        if not joined:
            await leg.hangup()
            self._story.alone()
            return _DIALLED.get(end, DialOutcome.UNREACHABLE)
        if agent is not None:
            exchange.room.agent_event(agent, AgentEvent.ANSWER)
        await self._until_dialled_is_over(leg)
        return DialOutcome.ANSWERED

    async def _until_dialled_is_over(self, leg: OutgoingLeg) -> None:
        try:
            await self.talk(leg)
        except CallerGone:
            await leg.hangup()
            await self.part()
            raise
        await leg.hangup()
        await self.part()

    async def hangup(self) -> None:
        """See Caller."""
        await self._channel.hangup()

    async def fallback(self) -> None:
        """Hand the caller back to the dialplan: apology, then the number's fallback."""
        async with _caller():
            await self._channel.dialplan("ivr-fallback", self.dialled)
        if not await self._channel.until_gone(LEFT_WITHIN_S):
            # The word that it has left us was lost; it is the dialplan's now all the same.
            self._channel.end_seen = False
            self._channel.destroyed(self._channel.cause)

    # --- the waiting room's verbs ---

    def attach(self, wake: Callable[[], None]) -> None:
        """See WaitingCaller."""
        self._channel.wake = wake

    def waits(self, visit_id: str) -> None:
        """See WaitingCaller."""
        self._story.waiting(visit_id)

    def take_key(self) -> str | None:
        """See WaitingCaller."""
        return self._channel.keys.popleft() if self._channel.keys else None

    async def music(self, name: str) -> bool:
        """See WaitingCaller. Music that cannot start is logged; the caller goes on waiting."""
        async with _caller():
            try:
                await self._channel.music(name)
            except LinkError as error:
                log.warning("no_music", call_id=self.call_id, error=str(error))
                return False
            return True

    async def speak(self, what: Sequence[Utterance]) -> Playback | _Silence:
        """See WaitingCaller."""
        async with _caller():
            return await self._start(what) or _Silence()

    def text(self, what: Sequence[Utterance]) -> str:
        """See WaitingCaller."""
        return self._exchange.speech.words(self.language, what)

    async def join(self, leg: AgentLeg, visit_id: str) -> bool:
        """See WaitingCaller. `visit_id` is unused here: the story knows the visit."""
        assert isinstance(leg, OutgoingLeg)
        async with _caller():
            try:
                await self._bridged(leg)
            except ChannelGone:
                await self.part()
                raise
            except LinkLost as error:
                log.info("join_again", call_id=self.call_id, error=str(error))
                again = await self._once_more(leg)
            except LinkError as error:
                log.info("not_joined", call_id=self.call_id, error=str(error))
                again = False
            else:
                again = True
            if not again:
                await self.part()
                if self._channel.gone:
                    raise ChannelGone(self._channel.id)
                return False
        if leg.channel.gone:
            await self.part()
            return False
        self._story.connected()
        return True

    async def _once_more(self, leg: OutgoingLeg) -> bool:
        """After a lost connection: the agent has answered, and is worth a second try."""
        try:
            async with asyncio.timeout(LINK_BACK_WITHIN_S):
                await self._exchange.link.connected.wait()
            await self.part()
            await self._bridged(leg)
        except ChannelGone:
            await self.part()
            raise
        except (LinkError, TimeoutError) as error:
            log.info("not_joined", call_id=self.call_id, error=str(error) or "the link stayed away")
            return False
        return True

    async def _bridged(self, leg: OutgoingLeg) -> None:
        """Music off, a bridge, both in it. Written down before it is true: a restarted service
        looks at the bridge anyway."""
        bridges = self._exchange.link.operations.bridges
        bridge_id = self._bridge = str(uuid.uuid4())
        self._story.joining(leg.id, bridge_id)
        await asyncio.gather(
            self._channel.music_off(), bridges.createWithId(bridgeId=bridge_id, type="mixing")
        )
        await bridges.addChannel(bridgeId=bridge_id, channel=f"{self._channel.id},{leg.id}")
        self._channel.bridge = bridge_id  # its event may still be on its way

    async def talk(self, leg: AgentLeg) -> None:
        """See WaitingCaller."""
        assert isinstance(leg, OutgoingLeg)
        leg.channel.wake = self._channel.changed
        async with _caller():
            await self._channel.until(lambda: leg.channel.gone, None)

    async def part(self) -> None:
        """See WaitingCaller."""
        bridge, self._bridge = self._bridge, ""
        if not bridge:
            return
        link = self._exchange.link
        await link.surely(lambda: link.operations.bridges.destroy(bridgeId=bridge))
        # Measured: a prompt asked for before the channel has left the bridge is lost, and its end
        # is never reported.
        async with _caller():
            if not await self._channel.until(lambda: not self._channel.bridge, PARTED_WITHIN_S):
                log.warning("still_bridged", call_id=self.call_id, bridge=bridge)
                self._channel.bridge = ""

    # --- shared ---

    async def _start(self, what: Sequence[Utterance]) -> Playback | None:
        """Start playing; None when there is nothing to play or Asterisk would not."""
        media = self._exchange.speech.media(self.language, what)
        if not media:
            log.warning("nothing_to_play", call_id=self.call_id, what=str(what))
            return None
        try:
            return await self._channel.play(media)
        except LinkError as error:
            log.warning("not_played", call_id=self.call_id, error=str(error))
            return None

    async def _tone(self, operation: str) -> None:
        async with _caller():
            try:
                await getattr(self._exchange.link.operations.channels, operation)(
                    channelId=self._channel.id
                )
            except LinkError as error:
                log.info("no_tone", operation=operation, error=str(error))


_DIALLED = {
    RingEnd.BUSY: DialOutcome.BUSY,
    RingEnd.REJECTED: DialOutcome.BUSY,
    RingEnd.NO_ANSWER: DialOutcome.NO_ANSWER,
    RingEnd.ANSWERED: DialOutcome.NO_ANSWER,  # gone before the two were connected
}


@asynccontextmanager
async def _caller() -> AsyncIterator[None]:
    """The end of the caller's channel is, for flow and waiting room, a caller who has gone."""
    try:
        yield
    except ChannelGone:
        raise CallerGone from None
