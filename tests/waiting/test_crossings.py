"""What goes wrong between a caller and an agent: hang-ups, answers and keys in the same moment."""

from __future__ import annotations

import asyncio

import pytest

from ivr_server.acd.agents import AgentState
from ivr_server.acd.settings import Announcements
from ivr_server.facts import OfferEnd, VisitEnd
from ivr_server.flow.ports import Queued, QueueOutcome, QueueRequest
from ivr_server.testing import clock
from ivr_server.testing.waiting import (
    ANSWERS,
    DROPS,
    NEVER,
    Manner,
)
from ivr_server.waiting.ports import RingEnd

from .world import GONE, World, queue, seconds

ANSWERED = Queued(QueueOutcome.ANSWERED)


def seconds_waited(world: World, call_id: str) -> float:
    visit = world.visit(call_id)
    assert visit.answered_at is not None
    return (visit.answered_at - visit.enqueued_at).total_seconds()


def test_a_defect_while_ringing_costs_neither_the_agent_nor_the_caller(
    logged: list[dict[str, object]],
) -> None:
    async def scenario() -> None:
        broken = Manner(error=ZeroDivisionError("a defect of ours"))
        world = World(agents={"anna": [broken, ANSWERS]})
        world.call()
        await world.over()
        assert world.ends == {"ivan": ANSWERED}

    clock.run(scenario())
    (line,) = [line for line in logged if line["log_level"] == "error"]
    assert "ZeroDivisionError" in repr(line)
    logged.clear()


def test_an_answer_while_the_speech_of_a_leaving_caller_is_being_stopped_is_no_answer() -> None:
    async def scenario() -> None:
        told = Announcements(place=False, wait=False, welcome="welcome")
        world = World(queue(announcements=told), agents={"anna": Manner(after_s=3.2)})
        request = QueueRequest(queue="sales", exit_keys=frozenset("*"))
        world.call(request=request, keys=[(3.0, "*")], speech_s=20.0, verb_s=0.5)
        await world.over()
        assert world.ends == {"ivan": Queued(QueueOutcome.EXIT_KEY, "*")}
        assert world.offer_ends() == [("anna", OfferEnd.CALLER_GONE)]
        assert world.leg("anna").over_s == 3  # stopped ringing at the key, not after it
        assert world.room.agent("anna").since == 3

    clock.run(scenario())


def test_the_caller_hangs_up_while_a_phone_rings() -> None:
    async def scenario() -> None:
        world = World(agents={"anna": NEVER})
        world.call(hangs_up_s=6)
        await world.over()
        assert world.ends == {"ivan": GONE}
        assert world.offer_ends() == [("anna", OfferEnd.CALLER_GONE)]
        leg = world.leg("anna")
        assert (leg.over_s, leg.hung_up_by_us) == (6, True)
        assert seconds(world.offers[0].ended_at) == 6
        assert world.visit().end_reason is VisitEnd.ABANDONED
        anna = world.room.agent("anna")
        assert (anna.since, anna.not_before) == (6, 0)  # ready at once, no rest: nothing missed
        assert world.room.experience_of("sales").abandoned == 1

    clock.run(scenario())


@pytest.mark.parametrize("first", ["answer", "hang_up"])
def test_caller_and_agent_act_in_the_same_instant(first: str) -> None:
    async def scenario() -> None:
        world = World(agents={"anna": NEVER, "boris": ANSWERS})
        caller = world.call()
        await asyncio.sleep(5)
        acts = [lambda: world.leg("anna").settle(RingEnd.ANSWERED), caller.hang_up]
        for act in acts if first == "answer" else reversed(acts):
            act()
        await world.over()
        assert world.ends == {"ivan": GONE}
        assert world.visit().end_reason is VisitEnd.ABANDONED
        assert world.offer_ends() == [("anna", OfferEnd.CALLER_GONE)]
        assert world.leg("anna").over_s == 5
        assert len(world.phones.legs) == 1, "another phone rang for a caller who is gone"

    clock.run(scenario())


def test_nobody_is_rung_for_a_caller_who_hung_up_as_the_ring_timed_out() -> None:
    async def scenario() -> None:
        world = World(agents={"anna": NEVER, "boris": ANSWERS})
        caller = world.call()
        await asyncio.sleep(14)
        world.leg("anna").settle(RingEnd.NO_ANSWER)
        caller.hang_up()
        await world.over()
        assert world.rings() == [(0, "anna", "ivan")]

    clock.run(scenario())


@pytest.mark.parametrize("leaves", ["hang_up", "exit_key"])
def test_nobody_is_rung_for_a_caller_who_left_as_an_agent_came_free(leaves: str) -> None:
    async def scenario() -> None:
        world = World(login=False)
        caller = world.call(request=QueueRequest(queue="sales", exit_keys=frozenset("*")))
        await asyncio.sleep(5)
        if leaves == "hang_up":
            caller.hang_up()
        else:
            caller.press("*")
        world.room.login_all()
        await world.over()
        assert world.rings() == []
        assert world.room.agent("anna").state is AgentState.READY

    clock.run(scenario())


def test_an_agent_gone_before_the_bridge_stands_costs_no_place() -> None:
    async def scenario() -> None:
        world = World(agents={"anna": [DROPS, Manner(after_s=2, talks_s=10)]})
        first = world.call("first", join_s=0.5)
        world.call("second", at_s=1)
        await world.over()
        # Picked up at 2, found gone at 2.5, wrap-up until 7.5.
        assert [call for _, _, call in world.rings()] == ["first", "first", "second"]
        visit = world.visit("first")
        assert (seconds(visit.enqueued_at), seconds(visit.answered_at)) == (0, 10)
        assert world.room.experience_of("sales").waited_total_s == 10 + seconds_waited(
            world, "second"
        )
        assert world.ends == {"first": ANSWERED, "second": ANSWERED}
        never = (OfferEnd.NOT_CONNECTED, OfferEnd.ANSWERED, OfferEnd.ANSWERED)
        assert world.offer_ends() == [("anna", end) for end in never]
        assert first.parted[0] == 2.5, "the bridge that never stood was left"
        assert first.visits == [visit.visit_id] * 2, "the position still says that they talk"

    clock.run(scenario())


def test_it_is_the_next_agent_who_is_rung_then() -> None:
    async def scenario() -> None:
        world = World(agents={"anna": DROPS, "boris": DROPS, "vera": ANSWERS})
        world.call()
        await world.over()
        assert world.rings() == [(0, "anna", "ivan"), (2, "boris", "ivan"), (4, "vera", "ivan")]
        assert world.visit().agent == "vera"
        assert (
            world.room.experience_of("sales").handled == 1
        )  # an answer without talk teaches nothing

    clock.run(scenario())


def test_a_caller_who_goes_while_the_bridge_is_made_has_abandoned() -> None:
    async def scenario() -> None:
        world = World()
        world.call(join_s=1.0, hangs_up_s=2.5)
        await world.over()
        assert world.visit().end_reason is VisitEnd.ABANDONED
        assert (world.leg("anna").over_s, world.leg("anna").hung_up_by_us) == (3, True)
        assert world.offer_ends() == [("anna", OfferEnd.NOT_CONNECTED)]
        assert world.room.agent("anna").since == 8  # wrap-up after having said hello to nobody

    clock.run(scenario())


def test_a_caller_who_hangs_up_in_the_talk_frees_the_agent() -> None:
    async def scenario() -> None:
        world = World(agents={"anna": Manner(talks_s=None)})
        world.call(hangs_up_s=30)
        await world.over()
        assert world.ends == {"ivan": GONE}
        visit = world.visit()
        assert (visit.end_reason, seconds(visit.released_at)) == (VisitEnd.ANSWERED, 30)
        assert world.leg("anna").over_s == 30

    clock.run(scenario())


def test_no_phone_rings_before_its_last_leg_is_hung_up() -> None:
    async def scenario() -> None:
        world = World(queue(wrap_up_s=0.0), agents={"anna": Manner(talks_s=None)}, hangup_s=0.5)
        world.call("first", hangs_up_s=10)
        world.call("second", hangs_up_s=20)
        await world.over()
        assert world.phones.legs[0].over_s == 10.5
        assert world.rings()[1] == (10.5, "anna", "second")
        assert seconds(world.visit("first").released_at) == 10  # the talk itself was over

    clock.run(scenario())
