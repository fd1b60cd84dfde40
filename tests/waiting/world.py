"""A waiting room with scripted surroundings, and what must be true when everybody has left."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from ivr_server import facts
from ivr_server.acd.agents import AgentState
from ivr_server.acd.settings import AgentSettings, Announcements, QueueSettings
from ivr_server.flow.ports import CallerGone, Queued, QueueRequest
from ivr_server.testing.clock import now_s
from ivr_server.testing.waiting import (
    ANSWERS,
    FactList,
    Manner,
    QueuedCaller,
    ScriptedLeg,
    ScriptedPhones,
)
from ivr_server.waiting.room import WaitingRoom

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
QUIET = Announcements(place=False, wait=False)
GONE = "gone"


def utc() -> datetime:
    return START + timedelta(seconds=now_s())


def seconds(moment: datetime | None) -> float | None:
    """A moment in a row as seconds of the scenario."""
    return None if moment is None else round((moment - START).total_seconds(), 6)


def queue(name: str = "sales", **settings: object) -> QueueSettings:
    known = {"announcements": QUIET, "wrap_up_s": 5.0, "retry_delay_s": 5.0, **settings}
    return QueueSettings(name=name, **known)  # type: ignore[arg-type]


class World:
    """Make it inside a scenario. `agents`: by name, how each treats the phone."""

    def __init__(
        self,
        *queues: QueueSettings,
        agents: Mapping[str, Manner | Sequence[Manner]] | None = None,
        serve: Mapping[str, tuple[str, ...]] | None = None,
        login: bool = True,
        hangup_s: float = 0.0,
    ) -> None:
        queues = queues or (queue(),)
        agents = {"anna": ANSWERS} if agents is None else agents
        everything = tuple(one.name for one in queues)
        self.journal = FactList()
        self.phones = ScriptedPhones(agents, hangup_s=hangup_s)
        self.room = WaitingRoom(
            {one.name: one for one in queues},
            [
                AgentSettings(
                    name=name,
                    display=name,
                    endpoint=f"PJSIP/{name}",
                    queues=(serve or {}).get(name, everything),
                )
                for name in agents
            ],
            self.phones,
            self.journal,
            utc=utc,
        )
        self.ends: dict[str, Queued | str] = {}
        self.callers: dict[str, QueuedCaller] = {}
        self._calls: list[asyncio.Task[None]] = []
        if login:
            self.room.login_all()

    def call(
        self,
        name: str = "ivan",
        *,
        at_s: float = 0.0,
        request: QueueRequest | None = None,
        resumed: facts.Visit | None = None,
        **script: object,
    ) -> QueuedCaller:
        """A caller who joins a queue at a time. How that ends stands in `ends`."""
        caller = QueuedCaller(name, **script)  # type: ignore[arg-type]
        self.callers[name] = caller
        request = request or QueueRequest(queue=next(iter(self.room.queues)))
        self._calls.append(asyncio.create_task(self._serve(caller, request, resumed, at_s)))
        return caller

    async def _serve(
        self,
        caller: QueuedCaller,
        request: QueueRequest,
        resumed: facts.Visit | None,
        at_s: float,
    ) -> None:
        await asyncio.sleep(at_s - now_s())
        try:
            self.ends[caller.call_id] = await self.room.serve(caller, request, resumed)
        except CallerGone:
            self.ends[caller.call_id] = GONE

    async def over(self) -> None:
        """Wait until every caller is through, then see that nothing is left behind."""
        await asyncio.gather(*self._calls)
        await asyncio.sleep(300)  # wrap-ups and rests end
        assert self.room.waiting() == []
        assert not self.room._tasks, "a task of the room is left"
        assert not self.room._legs, "a phone is still known to ring"
        assert not self.room._timers
        for agent in self.room.agents():
            assert agent.state in (AgentState.READY, AgentState.LOGGED_OUT), agent
        for leg in self.phones.legs:
            assert leg.over, f"the phone of {leg.agent} was left ringing or talking"
        for visit in self.visits:
            assert visit.ended_at is not None, visit
            assert visit.end_reason is not None, visit
            answered = visit.end_reason is facts.VisitEnd.ANSWERED
            assert answered == (visit.answered_at is not None) == (visit.released_at is not None)
            assert answered == (visit.agent is not None)
        for offer in self.offers:
            assert offer.ended_at is not None, offer
            assert offer.end_reason is not None, offer
        await self.room.close()

    @property
    def visits(self) -> list[facts.Visit]:
        return self.journal.rows(facts.Visit)

    @property
    def offers(self) -> list[facts.Offer]:
        return self.journal.rows(facts.Offer)

    @property
    def promises(self) -> list[facts.Promise]:
        return self.journal.rows(facts.Promise)

    def visit(self, call_id: str = "ivan") -> facts.Visit:
        (found,) = [one for one in self.visits if one.call_id == call_id]
        return found

    def rings(self) -> list[tuple[float | None, str, str]]:
        """When which agent's phone rang for which call."""
        return [(leg.rang_s, leg.agent, leg.call_id) for leg in self.phones.legs]

    def leg(self, agent: str) -> ScriptedLeg:
        """The newest leg to this agent."""
        return [leg for leg in self.phones.legs if leg.agent == agent][-1]

    def offer_ends(self) -> list[tuple[str, str | None]]:
        return [(one.agent, one.end_reason) for one in self.offers]
