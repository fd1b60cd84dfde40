"""One stay of one caller in a queue: music, announcements, exit key, time limit, connection.

A single coroutine, `Visit.run`, level-triggered: whatever happens wakes it, and it looks at what is
true now. So an agent who answers in the middle of an announcement, a key at any instant and a
hang-up during the answer need no special cases.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ivr_server import facts
from ivr_server.acd import estimate, matching
from ivr_server.flow.ports import (
    CallerGone,
    Prompt,
    Queued,
    QueueOutcome,
    QueueRequest,
    Say,
    Utterance,
)
from ivr_server.waiting.ports import AgentLeg, Speech, WaitingCaller

if TYPE_CHECKING:
    from ivr_server.waiting.room import WaitingRoom


LONGEST_ANNOUNCEMENT_S = 300.0


class _Over:
    """Speech whose end nobody reported in time."""

    done = failed = True

    async def stop(self) -> None:
        """It is over."""


_OVER = _Over()


class Visit:
    """Made by the room; run by the caller's own coroutine."""

    def __init__(
        self,
        room: WaitingRoom,
        caller: WaitingCaller,
        entry: matching.Waiting,
        resumed: facts.Visit | None,
    ) -> None:
        self.room = room
        self.caller = caller
        self.entry = entry
        self.leg: AgentLeg | None = None  # set once an agent has answered
        self._agent = ""
        self._offer: facts.Offer | None = None  # the one that was answered
        self._fact = resumed
        self._wake = asyncio.Event()
        self._settings = room.settings(entry.queue)
        self._spoken: facts.Promise | None = None  # the last number that was heard to its end
        self._said_worse = False
        self._periodic = 0
        caller.attach(self._wake.set)

    @property
    def id(self) -> str:
        return self.entry.visit_id

    def record(self, fact: facts.Visit) -> None:
        """Remember and journal the row of this visit."""
        self._fact = fact
        self.room.journal.append(fact)

    def connect(self, leg: AgentLeg, agent: str, offer: facts.Offer) -> None:
        """An agent has answered; the caller's coroutine takes it from here."""
        self.leg, self._agent, self._offer = leg, agent, offer
        self._wake.set()

    async def run(self, request: QueueRequest) -> Queued:
        """Wait, talk, and say how it ended. Raises CallerGone.

        Leaves nothing behind, with one exception: when it is cancelled because the service stops,
        the caller goes on waiting or talking in Asterisk, for the next service to take over.
        """
        try:
            queued = await self._wait(request)
            while queued is None:
                assert self.leg is not None
                if await self.caller.join(self.leg, self.id):
                    self._served()
                    await self._talk()
                    return Queued(QueueOutcome.ANSWERED)
                await self._missed_each_other()
                queued = await self._wait(request)
        except CallerGone:
            self._ended(facts.VisitEnd.ABANDONED)
            await self._leave()
            raise
        except Exception:
            self._ended(facts.VisitEnd.FAILED)
            await self._leave()
            raise
        self._ended(_VISIT_END[queued.outcome], key=queued.key)
        await self._leave()
        return queued

    async def resume_talk(self, leg: AgentLeg, agent: str) -> Queued:
        """After a restart: the talk went on without us; wait for its end."""
        self.leg, self._agent = leg, agent
        before_s = 0.0
        if self._fact is not None and self._fact.answered_at is not None:
            before_s = (self.room.utc() - self._fact.answered_at).total_seconds()
        await self._talk(before_s)
        return Queued(QueueOutcome.ANSWERED)

    async def _leave(self) -> None:
        self.room.leave(self)
        if self.leg is not None:
            await self._release(None)

    def _release(self, talked_s: float | None) -> Coroutine[Any, Any, None]:
        """The agent is this visit's no more from now on; what remains to be done is returned."""
        assert self.leg is not None
        leg, self.leg = self.leg, None
        if talked_s is None and self._offer is not None:
            never = facts.OfferEnd.NOT_CONNECTED
            self.room.journal.append(replace(self._offer, end_reason=never))
        return self._free(leg, self._agent, talked_s)

    async def _free(self, leg: AgentLeg, agent: str, talked_s: float | None) -> None:
        """Hang up the agent's leg and only then free the agent: no phone rings while it talks."""
        try:
            await leg.hangup()
        finally:
            self.room.over(self, agent, talked_s)

    async def _missed_each_other(self) -> None:
        """The agent answered and was gone before the bridge stood: the caller keeps the place."""
        self.caller.waits(self.id)  # the call's position again: it may say already that they talk
        self.room.spawn(self._release(None), "release")  # the music does not wait for it
        self.entry = replace(self.entry, ringing=False)
        self.room.route()
        await self.caller.part()

    # --- waiting ---

    async def _wait(self, request: QueueRequest) -> Queued | None:
        """None when an agent has answered."""
        loop = asyncio.get_running_loop()
        limit = request.max_wait_s if request.max_wait_s is not None else self._settings.max_wait_s
        give_up_at = None if limit is None else self.entry.enqueued + limit
        told = self._settings.announcements
        speak_at = max(self.entry.enqueued + told.first_after_s, loop.time())
        music = await self.caller.music(self._settings.music)
        speech: Speech | None = None
        promise: facts.Promise | None = None  # in that speech
        cut_off_at: float | None = None  # it must have ended by then; its end can be lost
        while True:
            if self.caller.gone:
                raise CallerGone
            if self.leg is not None:
                await self._hush(speech)
                return None
            key = self.caller.take_key()
            if key is not None and key in request.exit_keys:
                return await self._out(speech, Queued(QueueOutcome.EXIT_KEY, key))
            now = loop.time()
            if give_up_at is not None and now >= give_up_at:
                return await self._out(speech, Queued(QueueOutcome.TIMEOUT))
            if speech is not None and cut_off_at is not None and now >= cut_off_at:
                await self._hush(speech)
                speech = _OVER
            if speech is not None and speech.done:
                if promise is not None and promise.spoken_s is not None and not speech.failed:
                    self._spoken = promise
                speech, promise, cut_off_at = None, None, None
                speak_at = now + told.every_s
                music = False
            if speech is None and now >= speak_at:
                words, promise = self._announcement(now)
                speech = await self.caller.speak(words) if words else None
                if speech is None or speech.done:  # nothing to say, or it could not even begin
                    speech, promise = None, None
                    speak_at = now + told.every_s
                    music = music and not words  # it may have begun, which ends the music
                else:
                    music = True  # what is said takes its place
                    cut_off_at = now + LONGEST_ANNOUNCEMENT_S
                    if promise is not None:
                        self.room.journal.append(promise)
            if speech is None and not music:
                # Again with every wake until it plays: a connection may have been away.
                music = await self.caller.music(self._settings.music)
            if key is None:
                await self._sleep(cut_off_at if speech else speak_at, give_up_at)

    async def _out(self, speech: Speech | None, queued: Queued) -> Queued:
        """Out of the line first: nobody may pick up for a caller who is already leaving."""
        self.room.leave(self)
        await self._hush(speech)
        return queued

    async def _sleep(self, *moments: float | None) -> None:
        """Until something happens or the first of these moments (loop time)."""
        due = min((moment for moment in moments if moment is not None), default=None)
        try:
            async with asyncio.timeout_at(due):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    @staticmethod
    async def _hush(speech: Speech | None) -> None:
        if speech is not None and not speech.done:
            await speech.stop()

    # --- what is said ---

    def _announcement(self, now: float) -> tuple[list[Utterance], facts.Promise | None]:
        """The words due now, and the promise among them."""
        told = self._settings.announcements
        words: list[Utterance] = []
        first = self._spoken is None and not self._periodic
        if first and told.welcome:
            words.append(Prompt(told.welcome))
        place = self.room.place(self)
        promise: list[Utterance] = []
        # A phone rings for this caller: there is nothing honest to say about place and wait.
        silent = self.entry.ringing
        if told.place and not silent:
            promise.append(Say("place", str(place)))
        announced = estimate.Announced(None, None)
        if told.wait and not silent and self.room.staffed(self.entry.queue):
            announced = self._honest_wait(now)
            if announced.minutes is not None:
                top = announced.minutes > estimate.TOP_MINUTES
                promise.append(Say("wait", "30+" if top else str(announced.minutes)))
            elif announced.worse and not self._said_worse:
                self._said_worse = True
                promise.append(Say("wait", "longer"))
        words += promise
        if not first and told.periodic:
            words.append(Prompt(told.periodic[(self._periodic - 1) % len(told.periodic)]))
        self._periodic += 1
        return words, self._promise(promise, place, announced, now) if promise else None

    def _honest_wait(self, now: float) -> estimate.Announced:
        known = self.room.experience_of(self.entry.queue)
        previous: float | None = None
        since = 0.0
        if self._spoken is not None and self._spoken.spoken_s is not None:
            previous = float(self._spoken.spoken_s)
            since = now - self.entry.enqueued - self._spoken.waited_s
        return estimate.announce(self.room.estimate(self), known.margin, previous, since)

    def _promise(
        self, words: Sequence[Utterance], place: int, announced: estimate.Announced, now: float
    ) -> facts.Promise:
        return facts.Promise(
            promise_id=str(uuid.uuid4()),
            visit_id=self.id,
            call_id=self.caller.call_id,
            queue=self.entry.queue,
            spoken_at=self.room.utc(),
            place=place,
            waited_s=now - self.entry.enqueued,
            estimate_s=announced.estimate_s,
            spoken_s=None if announced.minutes is None else announced.minutes * 60,
            text=self.caller.text(words),
            model=estimate.MODEL,
        )

    # --- served ---

    def _served(self) -> None:
        """An agent has the caller: the wait is over, the row says so."""
        waited = asyncio.get_running_loop().time() - self.entry.enqueued
        known = self.room.experience_of(self.entry.queue)
        known.left_queue(waited, abandoned=False)
        if self._spoken is not None and self._spoken.estimate_s is not None:
            known.promise_kept(self._spoken.estimate_s, waited - self._spoken.waited_s)
        self.room.leave(self)
        if self._fact is not None:
            now = self.room.utc()
            self.record(
                replace(
                    self._fact,
                    answered_at=now,
                    ended_at=now,
                    end_reason=facts.VisitEnd.ANSWERED,
                    agent=self._agent,
                )
            )

    async def _talk(self, before_s: float = 0.0) -> None:
        """`before_s`: how long they have been talking already."""
        began = asyncio.get_running_loop().time() - before_s
        assert self.leg is not None
        try:
            await self.caller.talk(self.leg)
        except Exception:  # CallerGone among them; whatever it was, the agent must be free again
            await self._talked(began)
            raise
        await self._talked(began)

    async def _talked(self, began: float) -> None:
        talked_s = asyncio.get_running_loop().time() - began
        if self._fact is not None:
            self.record(replace(self._fact, released_at=self.room.utc()))
        await self._release(talked_s)
        await self.caller.part()

    def _ended(self, reason: facts.VisitEnd, *, key: str = "") -> None:
        """The wait ended without an agent; does nothing when it ended with one."""
        if self._fact is None or self._fact.ended_at is not None:
            return
        waited = asyncio.get_running_loop().time() - self.entry.enqueued
        known = self.room.experience_of(self.entry.queue)
        known.left_queue(waited, abandoned=reason is facts.VisitEnd.ABANDONED)
        self.record(
            replace(self._fact, ended_at=self.room.utc(), end_reason=reason, exit_key=key or None)
        )


_VISIT_END = {
    QueueOutcome.EXIT_KEY: facts.VisitEnd.EXIT_KEY,
    QueueOutcome.TIMEOUT: facts.VisitEnd.TIMEOUT,
}
