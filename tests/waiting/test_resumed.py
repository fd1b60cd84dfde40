"""The waiting room after a restart: waits, places and talks that began under the service before."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from ivr_server import facts
from ivr_server.acd.agents import AgentEvent, AgentState
from ivr_server.flow.ports import CallerGone, Queued, QueueOutcome, QueueRequest
from ivr_server.testing import clock
from ivr_server.testing.waiting import Manner, QueuedCaller, ScriptedLeg

from .world import START, World, queue, seconds

SALES = QueueRequest(queue="sales")


def before_us(visit_id: str, waited_s: float, **known: object) -> facts.Visit:
    """The row of somebody who waits since so long before the scenario begins."""
    return facts.Visit(
        visit_id=visit_id,
        call_id=visit_id,
        queue="sales",
        enqueued_at=START - timedelta(seconds=waited_s),
        place_at_entry=4,
        **known,  # type: ignore[arg-type]
    )


def test_place_and_elapsed_wait_are_kept() -> None:
    async def scenario() -> None:
        world = World(agents={"anna": Manner(after_s=1, talks_s=20)}, login=False)
        world.call("new")
        world.call("old", resumed=before_us("old", 60))
        world.call("older", resumed=before_us("older", 70))
        world.call("urgent", resumed=before_us("urgent", 10, priority=1))
        await asyncio.sleep(5)
        world.room.login_all()
        await world.over()
        assert [call for _, _, call in world.rings()] == ["urgent", "older", "old", "new"]
        resumed = world.visit("old")
        assert (resumed.visit_id, seconds(resumed.enqueued_at)) == ("old", -60)
        assert resumed.place_at_entry == 4  # as it was, not as it is
        assert world.callers["old"].visits == ["old"]
        # Anna takes them at 6, 32, 58 and 84; the seconds before the restart count as waited.
        waited_s = (10 + 6) + (70 + 32) + (60 + 58) + 84
        assert world.room.experience_of("sales").waited_total_s == pytest.approx(waited_s)

    clock.run(scenario())


def test_the_time_limit_counts_from_the_first_entry() -> None:
    async def scenario() -> None:
        world = World(queue(max_wait_s=100.0), login=False)
        world.call("soon", resumed=before_us("soon", 90))
        world.call("overdue", resumed=before_us("overdue", 500))
        await world.over()
        assert set(world.ends.values()) == {Queued(QueueOutcome.TIMEOUT)}
        assert seconds(world.visit("soon").ended_at) == 10
        assert seconds(world.visit("overdue").ended_at) == 0

    clock.run(scenario())


def test_a_full_or_unstaffed_queue_does_not_refuse_who_was_in_it() -> None:
    async def scenario() -> None:
        world = World(queue(capacity=1, join_empty=False), login=False)
        world.call("one", resumed=before_us("one", 20))
        world.call("two", resumed=before_us("two", 10))
        await asyncio.sleep(1)
        world.room.login_all()
        await world.over()
        assert set(world.ends.values()) == {Queued(QueueOutcome.ANSWERED)}

    clock.run(scenario())


@pytest.mark.parametrize("ends", ["agent", "caller"])
def test_a_talk_goes_on_and_its_agent_is_free_afterwards(ends: str) -> None:
    async def scenario() -> None:
        world = World(queue(wrap_up_s=10.0))
        row = before_us("talk", 60, answered_at=START, ended_at=START, agent="anna",
                        end_reason=facts.VisitEnd.ANSWERED)  # fmt: skip
        manner = Manner(talks_s=30 if ends == "agent" else None)
        caller = QueuedCaller("talk", hangs_up_s=None if ends == "agent" else 30)
        leg = ScriptedLeg("leg-0", "anna", "talk", manner)
        world.room.talking("anna")
        world.call("waits", at_s=5)
        visit = world.room.enter(caller, SALES, row, connected=True)
        assert world.room.waiting() == []
        if ends == "agent":
            assert await visit.resume_talk(leg, "anna") == Queued(QueueOutcome.ANSWERED)
        else:
            with pytest.raises(CallerGone):
                await visit.resume_talk(leg, "anna")
        assert (leg.over_s, caller.parted) == (30, [30])
        assert world.room.agent("anna").state is AgentState.WRAP_UP
        await world.over()
        assert seconds(world.visit("talk").released_at) == 30
        assert world.rings() == [(40, "anna", "waits")]

    clock.run(scenario())


def test_a_talk_with_an_agent_whom_the_site_no_longer_knows_ends_like_any_other() -> None:
    async def scenario() -> None:
        world = World()
        row = before_us("talk", 60, answered_at=START, ended_at=START, agent="zoe",
                        end_reason=facts.VisitEnd.ANSWERED)  # fmt: skip
        caller = QueuedCaller("talk")
        leg = ScriptedLeg("leg-0", "zoe", "talk", Manner(talks_s=30))
        visit = world.room.enter(caller, SALES, row, connected=True)
        assert await visit.resume_talk(leg, "zoe") == Queued(QueueOutcome.ANSWERED)
        assert caller.parted == [30]
        await world.over()
        assert seconds(world.visit("talk").released_at) == 30

    clock.run(scenario())


def test_a_service_that_stops_leaves_the_rows_of_waiting_callers_open() -> None:
    async def scenario() -> None:
        world = World(login=False)
        world.call()
        await asyncio.sleep(10)
        (call,) = world._calls
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert world.visit().ended_at is None  # the next service takes it up
        world.room.agent_event("anna", AgentEvent.LOGIN)
        await asyncio.sleep(0)
        await world.room.close()

    clock.run(scenario())


def test_a_talk_that_outlived_a_restart_teaches_its_whole_length() -> None:
    async def scenario() -> None:
        world = World(queue(wrap_up_s=5.0))
        row = before_us("talk", 700, answered_at=START - timedelta(seconds=600), ended_at=START,
                        agent="anna", end_reason=facts.VisitEnd.ANSWERED)  # fmt: skip
        world.room.talking("anna")
        visit = world.room.enter(QueuedCaller("talk"), SALES, row, connected=True)
        await visit.resume_talk(ScriptedLeg("leg-0", "anna", "talk", Manner(talks_s=30)), "anna")
        assert world.room.experience_of("sales").handled_total_s == 600 + 30 + 5
        await world.over()

    clock.run(scenario())


def test_a_talk_of_a_queue_that_the_site_no_longer_has_goes_on() -> None:
    async def scenario() -> None:
        world = World(queue("support"))
        row = before_us("talk", 60, answered_at=START, ended_at=START, agent="anna",
                        end_reason=facts.VisitEnd.ANSWERED)  # fmt: skip
        caller = QueuedCaller("talk")
        leg = ScriptedLeg("leg-0", "anna", "talk", Manner(talks_s=30))
        world.room.talking("anna")
        visit = world.room.enter(caller, SALES, row, connected=True)
        assert await visit.resume_talk(leg, "anna") == Queued(QueueOutcome.ANSWERED)
        assert (leg.over_s, caller.parted) == (30, [30])
        await world.over()
        assert seconds(world.visit("talk").released_at) == 30

    clock.run(scenario())


def test_who_waited_in_a_queue_that_the_site_no_longer_has_goes_on_in_the_flow() -> None:
    async def scenario() -> None:
        world = World(queue("support"))
        world.call("old", request=SALES, resumed=before_us("old", 60))
        world.call("new", request=SALES)
        await world.over()
        assert set(world.ends.values()) == {Queued(QueueOutcome.NO_AGENTS)}
        assert world.visit("old").end_reason is facts.VisitEnd.FAILED
        assert [one.visit_id for one in world.visits] == ["old"]

    clock.run(scenario())
