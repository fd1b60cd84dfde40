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
    DROPS,
    NEVER,
    REJECTS,
    UNREACHABLE,
    Manner,
)
from ivr_server.waiting.ports import RingEnd

from .world import GONE, START, World, queue, seconds

ANSWERED = Queued(QueueOutcome.ANSWERED)


def seconds_waited(world: World, call_id: str) -> float:
    visit = world.visit(call_id)
    assert visit.answered_at is not None
    return (visit.answered_at - visit.enqueued_at).total_seconds()


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
        assert world.room.experience["sales"].handled_total_s == 40 + 5
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
        assert world.room.experience["sales"].abandoned == 1

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
        assert world.room.experience["sales"].waited_total_s == 10 + seconds_waited(world, "second")
        assert world.ends == {"first": ANSWERED, "second": ANSWERED}
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
        assert world.room.experience["sales"].handled == 1  # an answer without talk teaches nothing

    clock.run(scenario())


def test_a_caller_who_goes_while_the_bridge_is_made_has_abandoned() -> None:
    async def scenario() -> None:
        world = World()
        world.call(join_s=1.0, hangs_up_s=2.5)
        await world.over()
        assert world.visit().end_reason is VisitEnd.ABANDONED
        assert (world.leg("anna").over_s, world.leg("anna").hung_up_by_us) == (3, True)
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
