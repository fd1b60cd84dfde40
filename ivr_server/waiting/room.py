"""The waiting room: who waits, which agents stand where, and the offers between them.

Whenever something changes (a caller comes or goes, an agent's state changes, a rest ends) the room
asks `acd.matching` who should be offered to whom, and rings. It never polls. It decides nothing
itself; routing is in acd, what one caller hears is in `visit`.

Knows no Asterisk: callers, legs and the journal are ports. Times are the event loop's clock, so
that a virtual clock drives it in tests.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from ivr_server import facts
from ivr_server.acd import estimate, matching
from ivr_server.acd.agents import Agent, AgentEvent, AgentState
from ivr_server.acd.settings import AgentSettings, QueueSettings
from ivr_server.errors import IvrError
from ivr_server.flow.ports import Queued, QueueOutcome, QueueRequest
from ivr_server.waiting.ports import AgentLeg, Journal, Phones, RingEnd, WaitingCaller
from ivr_server.waiting.visit import Visit

log = structlog.get_logger(__name__)

LEAST_REST_S = 1.0

_OFFER_END = {
    RingEnd.ANSWERED: facts.OfferEnd.ANSWERED,
    RingEnd.NO_ANSWER: facts.OfferEnd.NO_ANSWER,
    RingEnd.BUSY: facts.OfferEnd.BUSY,
    RingEnd.REJECTED: facts.OfferEnd.REJECTED,
    RingEnd.UNREACHABLE: facts.OfferEnd.UNREACHABLE,
    RingEnd.CANCELLED: facts.OfferEnd.CALLER_GONE,
}
_REFUSED = {
    QueueOutcome.FULL: facts.VisitEnd.FULL,
    QueueOutcome.NO_AGENTS: facts.VisitEnd.NO_AGENTS,
}


class WaitingRoom:
    """All queues and agents of one service."""

    def __init__(
        self,
        queues: Mapping[str, QueueSettings],
        agents: Iterable[AgentSettings],
        phones: Phones,
        journal: Journal,
        *,
        utc: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.queues = dict(queues)
        self._experience: dict[str, estimate.Experience] = {}
        self.journal = journal
        self.utc = utc
        self._phones = phones
        self._agents = {one.name: Agent(settings=one) for one in agents}
        self._visits: dict[str, Visit] = {}
        self._legs: dict[str, AgentLeg] = {}  # by visit: the phone that rings for it
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._rest_timer: asyncio.TimerHandle | None = None

    # --- agents ---

    def agents(self) -> list[Agent]:
        """Every agent as it stands now."""
        return list(self._agents.values())

    def agent(self, name: str) -> Agent:
        """One agent. Raises KeyError."""
        return self._agents[name]

    def agent_event(
        self, name: str, event: AgentEvent, *, rest_s: float = 0.0, visit: str = ""
    ) -> None:
        """Something happened to an agent; routing is looked at again.

        Raises ImpossibleTransition and changes nothing where the state table forbids it.
        """
        now = asyncio.get_running_loop().time()
        self._agents[name] = self._agents[name].after(event, now, rest_s=rest_s, visit=visit)
        self.route()

    def login_all(self) -> None:
        """Every agent of the site is ready (until agents log in themselves)."""
        for agent in self.agents():
            if agent.state is AgentState.LOGGED_OUT:
                self.agent_event(agent.name, AgentEvent.LOGIN)

    def staffed(self, queue: str) -> bool:
        """Whether any agent of this queue is logged in."""
        return any(
            queue in agent.settings.queues and agent.state is not AgentState.LOGGED_OUT
            for agent in self.agents()
        )

    # --- callers ---

    def settings(self, queue: str) -> QueueSettings:
        """Of a queue; defaults for one that a restart has taken out of the site, while calls that
        began before are in it."""
        return self.queues.get(queue) or QueueSettings(name=queue)

    def experience_of(self, queue: str) -> estimate.Experience:
        """What a queue has learned since the service began."""
        known = self._experience.get(queue)
        if known is None:
            prior_s = self.settings(queue).handling_prior_s
            known = self._experience[queue] = estimate.Experience(prior_s=prior_s)
        return known

    def waiting(self) -> list[matching.Waiting]:
        """Everybody who waits, in no particular order."""
        return [visit.entry for visit in self._visits.values()]

    def place(self, visit: Visit) -> int:
        """1 = next to be served in the own queue."""
        return matching.place(visit.id, self.waiting(), self.queues)

    def estimate(self, visit: Visit) -> float | None:
        """The model's mean of the wait that remains, seconds; None without agents at work."""
        known = self.experience_of(visit.entry.queue)
        serve = [
            agent.settings.queues
            for agent in self.agents()
            if agent.state not in (AgentState.LOGGED_OUT, AgentState.PAUSED)
        ]
        return estimate.qlm(
            matching.ahead(visit.id, self.waiting(), self.queues, serve),
            sum(visit.entry.queue in queues for queues in serve),
            known.mean_handling_s,
            known.abandon_rate,
        )

    async def serve(
        self, caller: WaitingCaller, request: QueueRequest, resumed: facts.Visit | None = None
    ) -> Queued:
        """Hold the caller until served, gone or out; see Visit.run. `resumed`: after a restart."""
        if request.queue not in self.queues:
            log.warning("queue_is_gone", queue=request.queue, call_id=caller.call_id)
            if resumed is not None:
                failed = facts.VisitEnd.FAILED
                self.journal.append(replace(resumed, ended_at=self.utc(), end_reason=failed))
            return Queued(QueueOutcome.NO_AGENTS)
        if resumed is None and (refused := self._refusal(request.queue)) is not None:
            now = self.utc()
            self.journal.append(
                facts.Visit(
                    visit_id=str(uuid.uuid4()),
                    call_id=caller.call_id,
                    queue=request.queue,
                    priority=request.priority,
                    enqueued_at=now,
                    place_at_entry=0,
                    ended_at=now,
                    end_reason=_REFUSED[refused],
                )
            )
            return Queued(refused)
        return await self.enter(caller, request, resumed).run(request)

    def _refusal(self, queue: str) -> QueueOutcome | None:
        settings = self.queues[queue]
        if not settings.join_empty and not self.staffed(queue):
            return QueueOutcome.NO_AGENTS
        waiting = sum(1 for one in self.waiting() if one.queue == queue)
        if settings.capacity is not None and waiting >= settings.capacity:
            return QueueOutcome.FULL
        return None

    def enter(
        self,
        caller: WaitingCaller,
        request: QueueRequest,
        resumed: facts.Visit | None = None,
        *,
        connected: bool = False,
    ) -> Visit:
        """A caller joins a queue, or comes back to it after a restart with place and wait kept.

        `connected`: the caller talks already and only the end of the talk is waited for.
        """
        now = asyncio.get_running_loop().time()
        waited = (self.utc() - resumed.enqueued_at).total_seconds() if resumed else 0.0
        entry = matching.Waiting(
            visit_id=resumed.visit_id if resumed else str(uuid.uuid4()),
            queue=request.queue,
            priority=resumed.priority if resumed else request.priority,
            enqueued=now - waited,
            number=next(self._numbers),
        )
        visit = Visit(self, caller, entry, resumed)
        if connected:
            return visit
        self._visits[visit.id] = visit
        caller.waits(visit.id)
        if resumed is None:
            visit.record(
                facts.Visit(
                    visit_id=visit.id,
                    call_id=caller.call_id,
                    queue=request.queue,
                    priority=request.priority,
                    enqueued_at=self.utc(),
                    place_at_entry=self.place(visit),
                )
            )
        self.route()
        return visit

    def leave(self, visit: Visit) -> None:
        """The caller no longer waits: served, gone, or out by key. Stops a phone that rings."""
        if self._visits.pop(visit.id, None) is None:
            return
        leg = self._legs.get(visit.id)
        if leg is not None:
            self.spawn(leg.hangup(), "withdraw")
        self.route()

    def over(self, visit: Visit, agent: str, talked_s: float | None) -> None:
        """A talk has ended: the agent does after-call work, then is ready again.

        `talked_s` is None when the agent answered but the two were never connected.
        """
        queue = self.settings(visit.entry.queue)
        if talked_s is not None:
            self.experience_of(queue.name).handled_call(talked_s + queue.wrap_up_s)
        if agent not in self._agents:
            return  # taken out of the site while the talk outlived a restart
        self._wrap_up(agent, queue)

    def knows(self, agent: str) -> bool:
        """Whether this is an agent of the site."""
        return agent in self._agents

    def borrow(self, agent: str) -> bool:
        """A flow dials this agent directly. False if the agent has no time for it now."""
        now = asyncio.get_running_loop().time()
        if not self._agents[agent].available(now):
            return False
        self.agent_event(agent, AgentEvent.OFFER)
        return True

    def give_back(self, agent: str) -> None:
        """The direct call of a borrowed agent is over, or was never answered."""
        if self._agents[agent].state is AgentState.TALKING:
            self._wrap_up(agent, self.queues[self._agents[agent].settings.queues[0]])
        else:
            self.agent_event(agent, AgentEvent.WITHDRAW)

    def talking(self, agent: str) -> None:
        """After a restart: this agent is found in a talk that went on without us."""
        now = asyncio.get_running_loop().time()
        self._agents[agent] = replace(self._agents[agent], state=AgentState.TALKING, since=now)

    # --- offers ---

    def route(self) -> None:
        """Make the offers that are due now, and look again when a rest ends."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        # One who has hung up stands here until the own coroutine has noticed.
        here = [visit.entry for visit in self._visits.values() if not visit.caller.gone]
        for found in matching.match(here, self.agents(), self.queues, now):
            visit = self._visits[found.visit_id]
            agent = self._agents[found.agent]
            self._agents[agent.name] = agent.after(AgentEvent.OFFER, now)
            visit.entry = replace(visit.entry, ringing=True)
            self.spawn(self._offer(visit, agent.settings), "offer")
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None
        due = matching.next_change(self.agents(), now)
        if due is not None and self._visits:
            self._rest_timer = loop.call_at(due, self.route)

    async def _offer(self, visit: Visit, agent: AgentSettings) -> None:
        """Ring one agent for one caller, from the first ring to connected or not."""
        if visit.id not in self._visits:  # left between the decision and this first step
            self.agent_event(agent.name, AgentEvent.WITHDRAW)
            return
        queue = self.queues[visit.entry.queue]
        leg = self._phones.leg(agent, visit.caller)
        self._legs[visit.id] = leg
        offer = facts.Offer(
            offer_id=str(uuid.uuid4()),
            visit_id=visit.id,
            call_id=visit.caller.call_id,
            queue=queue.name,
            agent=agent.name,
            leg_id=leg.id,
            offered_at=self.utc(),
        )
        self.journal.append(offer)
        try:
            end = await leg.ring(queue.ring_timeout_s)
        except Exception as error:
            # Whatever it was, the agent must be free again and the caller be offered to another.
            known = isinstance(error, IvrError)
            log.log(
                logging.WARNING if known else logging.ERROR,
                "offer_failed",
                agent=agent.name,
                error=str(error),
                exc_info=None if known else error,
            )
            await leg.hangup()
            end = RingEnd.UNREACHABLE
        finally:
            del self._legs[visit.id]
        still_waits = visit.id in self._visits and not visit.caller.gone
        taken = end is RingEnd.ANSWERED and still_waits
        reason = _OFFER_END[end]
        if not still_waits:
            reason = facts.OfferEnd.CALLER_GONE
        offer = replace(offer, ended_at=self.utc(), end_reason=reason)
        self.journal.append(offer)
        if taken:
            self.agent_event(agent.name, AgentEvent.ANSWER)
            visit.connect(leg, agent.name, offer)
            return
        visit.entry = replace(visit.entry, ringing=False)
        if end is RingEnd.ANSWERED:
            await leg.hangup()  # the caller went away in the tick of the answer
        if still_waits:
            rest_s = queue.retry_delay_s
            if end is not RingEnd.NO_ANSWER:
                rest_s = max(rest_s, LEAST_REST_S)  # else a dead phone is rung as fast as we can
            self.agent_event(agent.name, AgentEvent.MISS, rest_s=rest_s, visit=visit.id)
        else:
            self.agent_event(agent.name, AgentEvent.WITHDRAW)

    def _wrap_up(self, agent: str, queue: QueueSettings) -> None:
        self.agent_event(agent, AgentEvent.RELEASE)
        earlier = self._timers.pop(agent, None)
        if earlier is not None:
            earlier.cancel()  # of a wrap-up that a pause or log-out cut short
        loop = asyncio.get_running_loop()
        self._timers[agent] = loop.call_later(queue.wrap_up_s, self._wrapped, agent)

    def _wrapped(self, agent: str) -> None:
        self._timers.pop(agent, None)
        if self._agents[agent].state is AgentState.WRAP_UP:
            self.agent_event(agent, AgentEvent.WRAPPED)

    def spawn(self, coroutine: object, name: str) -> None:
        """Run something small beside the callers; its failure is logged."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(
            coroutine,  # type: ignore[arg-type]
            name=name,
        )
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("waiting_room_task_failed", task=task.get_name(), exc_info=error)

    async def close(self) -> None:
        """The service stops: no more offers. What rings now is the next service's to find."""
        for timer in self._timers.values():
            timer.cancel()
        if self._rest_timer is not None:
            self._rest_timer.cancel()
        self._visits.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
