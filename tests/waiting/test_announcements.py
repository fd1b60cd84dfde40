"""What a waiting caller hears and when, and the promises that are written down about it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr_server import facts
from ivr_server.acd.agents import AgentEvent
from ivr_server.acd.estimate import DEFAULT_MARGIN
from ivr_server.acd.settings import Announcements
from ivr_server.flow.ports import CallerGone, QueueRequest, Utterance
from ivr_server.testing import clock
from ivr_server.testing.clock import now_s
from ivr_server.testing.waiting import NEVER, Manner, QueuedCaller
from ivr_server.waiting.ports import Speech

from .world import QUIET, World, queue, seconds

SPEECH_S = 4.0


def heard_at(caller: QueuedCaller) -> list[float]:
    return [round(one.at_s, 6) for one in caller.heard]


def told(**settings: Any) -> Announcements:
    return Announcements(**{"every_s": 30.0, **settings})


def busy(world: World, *names: str) -> None:
    """These agents are at work, so the wait is estimated with them, but talk to others."""
    for name in names:
        world.room.talking(name)


async def finish(world: World, *names: str) -> None:
    """Agents who talk to nobody of ours hang up, so that the room is as at the beginning."""
    for name in names:
        world.room.agent_event(name, AgentEvent.RELEASE)
        world.room.agent_event(name, AgentEvent.LOGOUT)
    await world.over()


def last_heard_out(world: World, visit: facts.Visit) -> facts.Promise | None:
    """The caller's last promise with a number that was spoken to its end before the answer."""
    assert visit.answered_at is not None
    heard = [
        one
        for one in world.promises
        if one.visit_id == visit.visit_id
        and one.spoken_s is not None
        and (visit.answered_at - one.spoken_at).total_seconds() > SPEECH_S
    ]
    return heard[-1] if heard else None


def test_first_at_entry_then_every_so_often_after_the_end_of_the_last() -> None:
    async def scenario() -> None:
        world = World(queue(announcements=told(welcome="welcome", periodic=("one", "two"))))
        busy(world, "anna")
        caller = world.call(at_s=5, hangs_up_s=160)
        await asyncio.sleep(200)
        period = SPEECH_S + 30
        assert heard_at(caller) == [5 + period * turn for turn in range(5)]
        first, *later = [one.what for one in caller.heard]
        assert first[0] == "welcome"
        assert [what[-1] for what in later] == ["one", "two", "one", "two"]
        assert all("welcome" not in what for what in later)
        # Music from the entry and again after every announcement.
        assert caller.music_since == [5, *[at + SPEECH_S for at in heard_at(caller)[:-1]], 145]
        await finish(world, "anna")

    clock.run(scenario())


def test_the_first_announcement_may_come_later() -> None:
    async def scenario() -> None:
        world = World(queue(announcements=told(first_after_s=20.0)))
        busy(world, "anna")
        caller = world.call(hangs_up_s=30)
        await asyncio.sleep(60)
        assert heard_at(caller) == [20]
        await finish(world, "anna")

    clock.run(scenario())


def test_an_answer_in_the_middle_of_an_announcement_connects_at_that_moment() -> None:
    async def scenario() -> None:
        world = World(
            queue(announcements=told(welcome="welcome")), agents={"anna": Manner(after_s=1.5)}
        )
        caller = world.call(speech_s=20.0)
        await world.over()
        (welcome,) = caller.heard
        assert (welcome.until_s, welcome.stopped) == (1.5, True)
        assert caller.joined[0][0] == 1.5
        assert seconds(world.visit().answered_at) == 1.5

    clock.run(scenario())


def test_nothing_is_said_while_the_bridge_is_made() -> None:
    async def scenario() -> None:
        world = World(
            queue(announcements=told(every_s=3.0, welcome="w", periodic=("p",))),
            agents={"anna": Manner(after_s=10)},
        )
        caller = world.call(join_s=9.0)
        await world.over()
        assert max(heard_at(caller)) < 10
        assert caller.joined[0][0] == 19

    clock.run(scenario())


def test_nothing_about_the_wait_while_a_phone_rings_for_the_caller() -> None:
    async def scenario() -> None:
        world = World(
            queue(announcements=told(welcome="welcome")), agents=dict.fromkeys("ab", NEVER)
        )
        first = world.call("first", hangs_up_s=3)
        second = world.call("second", hangs_up_s=3)
        third = world.call("third", at_s=1, hangs_up_s=9)
        await world.over()
        assert [one.what for one in first.heard] == [["welcome"]]
        assert [one.what for one in second.heard] == [["welcome"]]
        # Those for whom a phone rings have an agent: the third waits for the first of two to end.
        assert [one.text for one in world.promises] == ["place: 3; wait: 3"]
        assert third.heard[0].what == ["welcome", "place: 3", "wait: 3"]

    clock.run(scenario())


def test_what_could_not_be_said_or_was_cut_off_is_no_promise_to_learn_from() -> None:
    async def scenario() -> None:
        world = World(
            queue(announcements=told(), handling_prior_s=100.0),
            agents={"anna": Manner(after_s=2, talks_s=30)},
        )
        busy(world, "anna")
        world.call("first", at_s=1)
        await asyncio.sleep(2)  # the announcement takes 4 s
        world.room.agent_event("anna", AgentEvent.RELEASE)
        world.room.agent_event("anna", AgentEvent.WRAPPED)
        await world.over()
        (promise,) = world.promises
        assert promise.spoken_s is not None
        assert not world.room.experience_of("sales").ratios

    clock.run(scenario())


class Speechless(QueuedCaller):
    """A caller to whom nothing can be said, such as while the link is away."""

    async def speak(self, what: Sequence[Utterance]) -> Speech:  # type: ignore[override]
        return Over()


class Over:
    done = failed = True

    async def stop(self) -> None: ...


def test_a_promise_that_could_not_be_spoken_is_no_row() -> None:
    async def scenario() -> None:
        world = World(queue(announcements=told()), agents={"anna": NEVER})
        busy(world, "anna")
        caller = Speechless(hangs_up_s=100.0)
        with pytest.raises(CallerGone):
            await world.room.serve(caller, QueueRequest(queue="sales"))
        assert world.promises == []
        # It may have begun and ended the music: that is asked for again.
        assert caller.music_since == [0.0, 0.0, 30.0, 60.0, 90.0]

    clock.run(scenario())


class Deaf(QueuedCaller):
    """Music cannot start before a time."""

    async def music(self, name: str) -> bool:
        return now_s() >= 10 and await super().music(name)


def test_music_that_could_not_start_is_asked_for_again() -> None:
    async def scenario() -> None:
        world = World(queue(announcements=QUIET), agents={"anna": NEVER})
        caller = Deaf(hangs_up_s=30.0)
        asyncio.get_running_loop().call_at(12, caller.press, "5")  # any wake will do
        with pytest.raises(CallerGone):
            await world.room.serve(caller, QueueRequest(queue="sales"))
        assert caller.music_since == [12]

    clock.run(scenario())


def test_a_promise_is_a_row_beside_what_was_said() -> None:
    async def scenario() -> None:
        world = World(
            queue(announcements=told(), handling_prior_s=100.0), agents=dict.fromkeys("ab", NEVER)
        )
        busy(world, "a", "b")
        world.call("first", at_s=1, hangs_up_s=2)
        world.call("second", at_s=1, hangs_up_s=50)
        await asyncio.sleep(60)
        first, second, later = world.promises
        # Two agents, 100 s a call: 50 s and 100 s, times the default margin of 1.6.
        assert (first.place, first.estimate_s, first.spoken_s) == (1, 50.0, 120)
        assert (second.place, second.estimate_s, second.spoken_s) == (2, 100.0, 180)
        assert second.text == "place: 2; wait: 3"
        assert (seconds(second.spoken_at), second.waited_s) == (1, 0)
        assert (seconds(later.spoken_at), later.waited_s, later.place) == (35, 34, 1)
        assert later.visit_id == second.visit_id == world.visit("second").visit_id
        assert later.model == "qlm"
        await finish(world, "a", "b")

    clock.run(scenario())


@pytest.mark.parametrize(
    ("place", "wait", "said"),
    [(True, False, "place: 1"), (False, True, "wait: 5"), (False, False, None)],
)
def test_place_and_wait_can_be_left_out(place: bool, wait: bool, said: str | None) -> None:
    async def scenario() -> None:
        world = World(queue(announcements=told(place=place, wait=wait)))
        busy(world, "anna")
        caller = world.call(hangs_up_s=5)
        await asyncio.sleep(10)
        assert [one.text for one in world.promises] == ([said] if said else [])
        assert len(caller.heard) == len(world.promises)
        if said == "place: 1":
            assert world.promises[0].spoken_s is None
        await finish(world, "anna")

    clock.run(scenario())


def test_without_agents_only_the_place_is_told() -> None:
    async def scenario() -> None:
        world = World(queue(announcements=told()), login=False)
        world.call(hangs_up_s=50)
        await world.over()
        assert [(one.text, one.spoken_s) for one in world.promises] == [("place: 1", None)] * 2

    clock.run(scenario())


def test_when_it_gets_much_worse_that_is_said_once_and_no_number() -> None:
    async def scenario() -> None:
        names = ("a", "b", "c", "d")
        world = World(queue(announcements=told()), agents=dict.fromkeys(names, NEVER))
        busy(world, *names)
        world.call(hangs_up_s=200)
        await asyncio.sleep(10)
        for name in names[1:]:
            world.room.agent_event(name, AgentEvent.RELEASE)
            world.room.agent_event(name, AgentEvent.LOGOUT)
        await asyncio.sleep(200)
        assert [one.text for one in world.promises] == [
            "place: 1; wait: 2", "place: 1; wait: longer",
            *["place: 1"] * (len(world.promises) - 2),
        ]  # fmt: skip
        assert len(world.promises) == 6
        assert {one.spoken_s for one in world.promises[1:]} == {None}
        await finish(world, "a")

    clock.run(scenario())


def test_the_record_of_promises_moves_the_margin() -> None:
    async def scenario() -> None:
        world = World(
            queue(announcements=told(), handling_prior_s=60.0, wrap_up_s=0.0),
            agents={"anna": Manner(after_s=1, talks_s=59)},
        )
        for number in range(30):
            world.call(f"call{number}", at_s=50 * number)
        await world.over()
        known = world.room.experience_of("sales")
        # The record holds, for everybody who was told a number and then served, what really passed
        # after the last number over what the model had meant.
        kept = [
            (visit.answered_at - promise.spoken_at).total_seconds() / promise.estimate_s
            for promise in world.promises
            for visit in world.visits
            if promise.visit_id == visit.visit_id
            and visit.answered_at is not None
            and promise.estimate_s
            and promise.spoken_s is not None
            and promise == last_heard_out(world, visit)
        ]
        assert len(kept) >= 20
        assert sorted(known.ratios) == pytest.approx(sorted(kept))
        assert known.margin != DEFAULT_MARGIN

    clock.run(scenario())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 900), st.integers(0, 2)), max_size=8),
    st.lists(st.integers(5, 400), min_size=1, max_size=3),
    st.integers(5, 60),
)
def test_whatever_happens_the_spoken_number_never_rises(
    callers: list[tuple[int, int, int]], talks_s: list[int], every_s: int
) -> None:
    async def scenario() -> None:
        names = [f"agent{index}" for index in range(len(talks_s))]
        world = World(
            queue(announcements=told(every_s=float(every_s)), handling_prior_s=120.0),
            agents={
                name: Manner(after_s=3, talks_s=float(talk))
                for name, talk in zip(names, talks_s, strict=True)
            },
        )
        for number, (at_s, stays_s, priority) in enumerate(callers):
            world.call(
                f"call{number}",
                at_s=at_s,
                hangs_up_s=at_s + stays_s,
                request=QueueRequest(queue="sales", priority=priority),
            )
        await world.over()
        for visit in world.visits:
            spoken = [
                one.spoken_s
                for one in world.promises
                if one.visit_id == visit.visit_id and one.spoken_s is not None
            ]
            assert spoken == sorted(spoken, reverse=True)
            assert all(one > 0 and one % 60 == 0 for one in spoken)

    clock.run(scenario())


def test_a_caller_is_gone_in_the_middle_of_an_announcement() -> None:
    async def scenario() -> None:
        world = World(queue(announcements=told(welcome="welcome")), login=False)
        caller = QueuedCaller(hangs_up_s=2.5)
        with pytest.raises(CallerGone):
            await world.room.serve(caller, QueueRequest(queue="sales"))
        assert clock.now_s() == 2.5
        await world.over()

    clock.run(scenario())
