"""Who is offered to whom: tables for the order, properties for any room."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr_server.acd.agents import Agent, AgentState
from ivr_server.acd.matching import Match, Waiting, ahead, match, next_change, order, place
from ivr_server.acd.settings import AgentSettings, QueueSettings

NOW = 100.0
QUEUES = {
    "sales": QueueSettings(name="sales"),
    "support": QueueSettings(name="support"),
    "vip": QueueSettings(name="vip", weight=5),
}


def caller(
    visit_id: str, queue: str = "sales", *, priority: int = 0, since: float = 0, number: int = 0
) -> Waiting:
    return Waiting(visit_id=visit_id, queue=queue, priority=priority, enqueued=since, number=number)


def ready(
    name: str, *queues: str, idle: float = 0, not_before: float = 0, refused: str = ""
) -> Agent:
    settings = AgentSettings(name=name, display=name, endpoint=f"PJSIP/{name}", queues=queues)
    return Agent(
        settings=settings,
        state=AgentState.READY,
        idle_since=idle,
        not_before=not_before,
        last_refused=refused,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("waiting", "served"),
    [
        ([caller("b", since=2), caller("a", since=1)], "a b"),
        ([caller("a", since=1), caller("b", since=2, priority=1)], "b a"),
        ([caller("a", since=1, priority=99), caller("v", "vip", since=2)], "v a"),
        ([caller("b", since=1, number=2), caller("a", since=1, number=1)], "a b"),
        (
            [
                caller("old", since=1),
                caller("vip low", "vip", since=9),
                caller("vip high", "vip", since=10, priority=1),
                caller("urgent", since=8, priority=1),
            ],
            "vip high, vip low, urgent, old",
        ),
    ],
    ids=["age", "priority over age", "weight over priority", "number breaks ties", "all three"],
)
def test_the_order_of_service(waiting: list[Waiting], served: str) -> None:
    names = served.split(", ") if "," in served else served.split()
    assert [one.visit_id for one in order(waiting, QUEUES)] == names


@pytest.mark.parametrize(
    ("waiting", "serve", "expected"),
    [
        ([caller("a", since=1), caller("me", since=2)], [("sales",)], 1),
        ([caller("me", since=1), caller("a", since=2)], [("sales",)], 0),
        ([caller("a", since=1, priority=1), caller("me", since=0)], [("sales",)], 1),
        # A heavier queue goes first where its agents are mine...
        ([caller("v", "vip", since=9), caller("me", since=1)], [("vip", "sales")], 1),
        # ...not at all where they are others...
        ([caller("v", "vip", since=9), caller("me", since=1)], [("vip",), ("sales",)], 0),
        # ...and in part where some are.
        ([caller("v", "vip", since=9), caller("me", since=1)], [("vip", "sales"), ("vip",)], 0.5),
        # An older caller of another queue comes first with shared agents, a younger one does not.
        ([caller("s", "support", since=0), caller("me", since=1)], [("sales", "support")], 1),
        ([caller("s", "support", since=2), caller("me", since=1)], [("sales", "support")], 0),
        # Nobody serves that queue: it stands in nobody's way.
        ([caller("v", "vip", since=9), caller("me", since=1)], [("sales",)], 0),
        ([replace(caller("a", since=1), ringing=True), caller("me", since=2)], [("sales",)], 0),
    ],
)  # fmt: skip
def test_who_is_served_before_me(
    waiting: list[Waiting], serve: list[tuple[str, ...]], expected: float
) -> None:
    assert ahead("me", waiting, QUEUES, serve) == expected


def test_nobody_is_ahead_of_one_who_does_not_wait() -> None:
    with pytest.raises(KeyError):
        ahead("nobody", [caller("a")], QUEUES, [("sales",)])


def test_the_place_counts_the_own_queue_only() -> None:
    waiting = [
        caller("a", since=1),
        caller("v", "vip", since=0),
        caller("b", since=2),
        caller("first", since=3, priority=1),
    ]
    assert [place(one, waiting, QUEUES) for one in ("first", "a", "b", "v")] == [1, 2, 3, 1]
    with pytest.raises(KeyError):
        place("nobody", waiting, QUEUES)


def test_the_longest_idle_agent_gets_the_oldest_caller() -> None:
    waiting = [caller("b", since=2), caller("a", since=1)]
    agents = [ready("anna", "sales", idle=9), ready("boris", "sales", idle=3)]
    assert match(waiting, agents, QUEUES, NOW) == [Match("a", "boris"), Match("b", "anna")]


def test_two_queues_share_agents_and_the_weightier_takes_first() -> None:
    waiting = [caller("s", "sales", since=1), caller("v", "vip", since=50)]
    both = ready("anna", "sales", "vip")
    assert match(waiting, [both], QUEUES, NOW) == [Match("v", "anna")]
    two = [both, ready("boris", "sales", idle=50)]
    assert match(waiting, two, QUEUES, NOW) == [Match("v", "anna"), Match("s", "boris")]


def test_a_caller_nobody_can_take_does_not_hold_up_those_behind() -> None:
    waiting = [caller("stuck", "vip"), caller("s", "support", since=5)]
    assert match(waiting, [ready("anna", "support")], QUEUES, NOW) == [Match("s", "anna")]


def test_who_missed_a_caller_is_asked_again_only_when_nobody_else_can() -> None:
    refuser = ready("anna", "sales", idle=0, refused="a")
    other = ready("boris", "sales", idle=50)
    assert match([caller("a")], [refuser, other], QUEUES, NOW) == [Match("a", "boris")]
    assert match([caller("a")], [refuser], QUEUES, NOW) == [Match("a", "anna")]
    assert match([caller("b")], [refuser, other], QUEUES, NOW) == [Match("b", "anna")]


def test_nobody_is_asked_while_resting_and_no_caller_is_offered_twice() -> None:
    resting = ready("anna", "sales", not_before=NOW + 5)
    assert match([caller("a")], [resting], QUEUES, NOW) == []
    assert match([caller("a")], [resting], QUEUES, NOW + 5) == [Match("a", "anna")]
    ringing = replace(caller("a"), ringing=True)
    assert match([ringing], [ready("anna", "sales")], QUEUES, NOW) == []


def test_the_next_change_is_the_end_of_the_next_rest() -> None:
    agents = [ready("a", not_before=120), ready("b", not_before=110), ready("c", not_before=90)]
    assert next_change(agents, NOW) == 110
    assert next_change(agents[2:], NOW) is None


# --- any room ---

NAMES = sorted(QUEUES)
CALLERS = st.lists(
    st.builds(
        Waiting,
        visit_id=st.uuids().map(str),
        queue=st.sampled_from(NAMES),
        priority=st.integers(0, 2),
        enqueued=st.integers(0, 5).map(float),
        number=st.integers(0, 100),
        ringing=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda one: one.visit_id,
)


@st.composite
def rooms(draw: st.DrawFn) -> tuple[list[Waiting], list[Agent]]:
    callers = draw(CALLERS)
    agents = [
        Agent(
            settings=AgentSettings(
                name=f"agent{index}",
                display="",
                endpoint="",
                queues=tuple(draw(st.sets(st.sampled_from(NAMES)))),
            ),
            state=draw(st.sampled_from([*AgentState, *[AgentState.READY] * 5])),
            idle_since=float(draw(st.integers(0, 3))),
            not_before=draw(st.sampled_from([0.0, NOW, NOW + 1])),
            last_refused=draw(st.sampled_from(["", *[one.visit_id for one in callers]])),
        )
        for index in range(draw(st.integers(0, 6)))
    ]
    return callers, agents


@given(rooms())
def test_every_match_is_allowed_and_nobody_appears_twice(
    room: tuple[list[Waiting], list[Agent]],
) -> None:
    callers, agents = room
    found = match(callers, agents, QUEUES, NOW)
    by_id = {one.visit_id: one for one in callers}
    by_name = {one.name: one for one in agents}
    for one in found:
        assert by_name[one.agent].available(NOW)
        assert not by_id[one.visit_id].ringing
        assert by_id[one.visit_id].queue in by_name[one.agent].settings.queues
    assert len({one.agent for one in found}) == len(found)
    assert len({one.visit_id for one in found}) == len(found)


@given(rooms())
def test_nobody_is_left_while_an_able_agent_is_free(
    room: tuple[list[Waiting], list[Agent]],
) -> None:
    callers, agents = room
    found = match(callers, agents, QUEUES, NOW)
    taken, served = {one.agent for one in found}, {one.visit_id for one in found}
    free = [one for one in agents if one.available(NOW) and one.name not in taken]
    for left in callers:
        if not left.ringing and left.visit_id not in served:
            assert not [one for one in free if left.queue in one.settings.queues]


@given(rooms())
def test_nobody_behind_gets_an_agent_whom_one_in_front_could_have_had(
    room: tuple[list[Waiting], list[Agent]],
) -> None:
    callers, agents = room
    found = {one.visit_id: one.agent for one in match(callers, agents, QUEUES, NOW)}
    serves = {one.name: one.settings.queues for one in agents}
    line = [one for one in order(callers, QUEUES) if not one.ringing]
    for index, front in enumerate(line):
        if front.visit_id not in found:
            behind = [found[one.visit_id] for one in line[index:] if one.visit_id in found]
            assert not [name for name in behind if front.queue in serves[name]]


@given(rooms(), st.randoms())
def test_the_order_of_the_snapshot_does_not_matter(
    room: tuple[list[Waiting], list[Agent]], random: object
) -> None:
    callers = [replace(one, number=index) for index, one in enumerate(room[0])]
    mixed, agents = list(callers), list(room[1])
    random.shuffle(mixed)  # type: ignore[attr-defined]
    random.shuffle(agents)  # type: ignore[attr-defined]
    assert match(mixed, agents, QUEUES, NOW) == match(callers, room[1], QUEUES, NOW)
