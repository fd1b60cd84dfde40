"""The waiting room by a virtual clock: who is rung for whom, and when the agent is free again."""

from __future__ import annotations

import asyncio

import pytest

from ivr_server.acd.agents import AgentEvent, AgentState, ImpossibleTransition
from ivr_server.acd.settings import Announcements
from ivr_server.errors import LinkError
from ivr_server.facts import OfferEnd, VisitEnd
from ivr_server.flow.ports import Queued, QueueOutcome, QueueRequest
from ivr_server.testing import clock
from ivr_server.testing.waiting import (
    ANSWERS,
    BUSY,
    NEVER,
    REJECTS,
    UNREACHABLE,
    Manner,
)
from ivr_server.waiting.ports import RingEnd

from .world import START, World, queue, seconds

ANSWERED = Queued(QueueOutcome.ANSWERED)


def test_a_call_from_entry_to_wrap_up_as_rows() -> None:
    async def scenario() -> None:
        world = World(agents={"anna": Manner(after_s=3, talks_s=40)})
        world.call("ivan", at_s=10)
        await world.over()
        assert world.ends == {"ivan": ANSWERED}
        visit = world.visit()
        moments = (visit.enqueued_at, visit.answered_at, visit.ended_at, visit.released_at)
        assert [seconds(one) for one in moments] == [10, 13, 13, 53]
        assert (visit.agent, visit.place_at_entry, visit.queue) == ("anna", 1, "sales")
        (offer,) = world.offers
        assert (seconds(offer.offered_at), seconds(offer.ended_at)) == (10, 13)
        assert (offer.visit_id, offer.leg_id) == (visit.visit_id, world.phones.legs[0].id)
        assert world.callers["ivan"].visits == [visit.visit_id]
        assert world.callers["ivan"].parted == [53]
        assert world.room.experience_of("sales").handled_total_s == 40 + 5
        assert world.room.agent("anna").idle_since == 53

    clock.run(scenario())


def test_longest_idle_is_served_first() -> None:
    async def scenario() -> None:
        world = World(agents={"anna": ANSWERS, "boris": ANSWERS, "vera": ANSWERS}, login=False)
        for name in ("vera", "anna", "boris"):
            world.room.agent_event(name, AgentEvent.LOGIN)
            await asyncio.sleep(1)
        for number in range(4):
            world.call(f"call{number}", at_s=10 + 10 * number)
        await world.over()
        # 60 s of talk each: vera is free again at 77, the fourth caller came at 40.
        assert [ring[:2] for ring in world.rings()] == [
            (10, "vera"), (20, "anna"), (30, "boris"), (77, "vera"),
        ]  # fmt: skip

    clock.run(scenario())


def test_ring_time_out_then_the_next_agent_and_the_place_is_kept() -> None:
    async def scenario() -> None:
        world = World(queue(ring_timeout_s=15.0), agents={"anna": NEVER, "boris": NEVER})
        world.phones.change("boris", end=RingEnd.ANSWERED, after_s=20.0)  # still too late
        world.call("first")
        await asyncio.sleep(5)
        world.call("second", at_s=5)
        await asyncio.sleep(5)
        world.phones.change("anna", end=RingEnd.ANSWERED, after_s=2.0)
        world.phones.change("boris", end=RingEnd.ANSWERED, after_s=2.0)
        await world.over()
        assert world.rings() == [
            (0, "anna", "first"), (5, "boris", "second"),
            (20, "anna", "first"), (25, "boris", "second"),
        ]  # fmt: skip
        assert seconds(world.visit("first").answered_at) == 22

    clock.run(scenario())


def test_who_missed_the_caller_is_passed_over_for_another() -> None:
    async def scenario() -> None:
        world = World(queue(retry_delay_s=0.0), agents={"anna": NEVER, "boris": ANSWERS})
        world.call()
        await world.over()
        assert world.rings() == [(0, "anna", "ivan"), (15, "boris", "ivan")]
        assert world.visit().enqueued_at == START

    clock.run(scenario())


@pytest.mark.parametrize(
    ("manner", "end", "after_s"),
    [
        (NEVER, OfferEnd.NO_ANSWER, 15.0),
        (BUSY, OfferEnd.BUSY, 0.1),
        (REJECTS, OfferEnd.REJECTED, 1.0),
        (UNREACHABLE, OfferEnd.UNREACHABLE, 0.0),
        (Manner(error=LinkError("no such endpoint")), OfferEnd.UNREACHABLE, 0.0),
    ],
)
def test_whatever_a_phone_does_the_caller_gets_another_try_after_the_rest(
    manner: Manner, end: OfferEnd, after_s: float
) -> None:
    async def scenario() -> None:
        world = World(queue(retry_delay_s=7.0), agents={"anna": [manner, ANSWERS]})
        world.call()
        await world.over()
        assert world.offer_ends() == [("anna", end), ("anna", OfferEnd.ANSWERED)]
        again = pytest.approx(after_s + 7.0)
        assert [ring[0] for ring in world.rings()] == [0, again]
        assert world.ends == {"ivan": ANSWERED}

    clock.run(scenario())


def test_the_exit_key_works_during_music_and_during_an_announcement() -> None:
    async def scenario() -> None:
        told = Announcements(place=False, wait=False, welcome="welcome", every_s=30)
        world = World(queue(announcements=told), agents={"anna": NEVER})
        request = QueueRequest(queue="sales", exit_keys=frozenset("*"))
        world.call("speech", request=request, keys=[(1.5, "1"), (2.5, "*")])
        world.call("music", request=request, keys=[(10, "#"), (10, "5"), (10, "*")])
        await world.over()
        assert world.ends == dict.fromkeys(("speech", "music"), Queued(QueueOutcome.EXIT_KEY, "*"))
        (welcome,) = world.callers["speech"].heard
        assert (welcome.until_s, welcome.stopped) == (2.5, True)
        for name, left_s in (("speech", 2.5), ("music", 10)):
            visit = world.visit(name)
            assert seconds(visit.ended_at) == left_s
            assert (visit.end_reason, visit.exit_key) == (VisitEnd.EXIT_KEY, "*")
        assert {end for _, end in world.offer_ends()} == {OfferEnd.CALLER_GONE}

    clock.run(scenario())


def test_a_key_that_is_no_exit_changes_nothing() -> None:
    async def scenario() -> None:
        world = World(agents={"anna": Manner(after_s=10)})
        world.call(keys=[(second / 10, "*") for second in range(90)])
        await world.over()
        assert world.ends == {"ivan": ANSWERED}

    clock.run(scenario())


@pytest.mark.parametrize(
    ("of_queue", "of_node", "ends_s"), [(40.0, None, 40), (40.0, 25.0, 25), (None, 50.0, 50)]
)
def test_max_wait(of_queue: float | None, of_node: float | None, ends_s: float) -> None:
    async def scenario() -> None:
        world = World(queue(max_wait_s=of_queue), agents={"anna": NEVER})
        world.call(at_s=3, request=QueueRequest(queue="sales", max_wait_s=of_node))
        await world.over()
        assert world.ends == {"ivan": Queued(QueueOutcome.TIMEOUT)}
        assert seconds(world.visit().ended_at) == 3 + ends_s
        assert world.visit().end_reason is VisitEnd.TIMEOUT

    clock.run(scenario())


def test_a_full_queue_refuses_and_says_so_in_the_record() -> None:
    async def scenario() -> None:
        world = World(queue(capacity=2), agents={"anna": Manner(after_s=10, talks_s=10)})
        for number in range(3):
            world.call(f"call{number}", at_s=number)
        world.call("later", at_s=11)  # by then the first has left the queue
        await world.over()
        assert world.ends.pop("call2") == Queued(QueueOutcome.FULL)
        assert set(world.ends.values()) == {ANSWERED}
        refused = world.visit("call2")
        assert (refused.end_reason, seconds(refused.ended_at)) == (VisitEnd.FULL, 2)
        assert world.callers["call2"].visits == []

    clock.run(scenario())


@pytest.mark.parametrize("join_empty", [True, False])
def test_join_empty(join_empty: bool) -> None:
    async def scenario() -> None:
        world = World(queue(join_empty=join_empty), login=False)
        world.call("early")
        await asyncio.sleep(30)
        world.room.login_all()
        world.call("late", at_s=30)
        await world.over()
        if join_empty:
            assert seconds(world.visit("early").answered_at) == 32
        else:
            assert world.ends["early"] == Queued(QueueOutcome.NO_AGENTS)
            assert world.visit("early").end_reason is VisitEnd.NO_AGENTS
        assert world.ends["late"] == ANSWERED

    clock.run(scenario())


def test_no_offer_before_wrap_up_ends() -> None:
    async def scenario() -> None:
        world = World(queue(wrap_up_s=20.0), agents={"anna": Manner(after_s=2, talks_s=10)})
        world.call("first")
        world.call("second")
        await asyncio.sleep(13)
        assert world.room.agent("anna").state is AgentState.WRAP_UP
        await world.over()
        assert world.rings() == [(0, "anna", "first"), (32, "anna", "second")]

    clock.run(scenario())


def test_wrap_up_is_whole_though_an_earlier_one_was_cut_short_by_a_pause() -> None:
    async def scenario() -> None:
        world = World(queue(wrap_up_s=60.0), agents={"anna": Manner(after_s=1, talks_s=10)})
        world.call("first")
        await asyncio.sleep(12)  # in wrap-up since 11, until 71
        world.room.agent_event("anna", AgentEvent.PAUSE)
        await asyncio.sleep(8)
        world.room.agent_event("anna", AgentEvent.UNPAUSE)
        world.call("second", at_s=20)  # talks 21 to 31, wrap-up until 91
        world.call("third", at_s=25)
        await world.over()
        assert world.rings()[-1] == (91, "anna", "third")

    clock.run(scenario())


def test_a_pause_in_wrap_up_outlasts_it_and_no_offer_comes() -> None:
    async def scenario() -> None:
        world = World(agents={"anna": Manner(talks_s=10)})
        world.call("first")
        world.call("second")
        await asyncio.sleep(14)
        world.room.agent_event("anna", AgentEvent.PAUSE)
        await asyncio.sleep(86)
        assert world.room.agent("anna").state is AgentState.PAUSED
        assert len(world.phones.legs) == 1
        with pytest.raises(ImpossibleTransition):
            world.room.agent_event("anna", AgentEvent.WRAPPED)
        world.room.agent_event("anna", AgentEvent.UNPAUSE)
        await world.over()
        assert world.rings()[-1] == (100, "anna", "second")

    clock.run(scenario())


def test_ten_callers_three_agents_all_served_in_order() -> None:
    async def scenario() -> None:
        manner = Manner(after_s=2, talks_s=30)
        world = World(agents=dict.fromkeys(("anna", "boris", "vera"), manner))
        names = [f"call{number}" for number in range(10)]
        for number, name in enumerate(names):
            world.call(name, at_s=number)
        await world.over()
        assert [call for _, _, call in world.rings()] == names
        answered = [seconds(world.visit(name).answered_at) for name in names]
        assert answered == sorted(answered)
        assert set(world.ends.values()) == {ANSWERED}
        assert world.visits[-1].place_at_entry == 7  # the first three have left the queue by then

    clock.run(scenario())
