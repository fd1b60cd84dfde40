"""Any callers, any agents: when all have left, every row has its end and every agent is free."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr_server.acd.settings import Announcements
from ivr_server.errors import LinkError
from ivr_server.facts import OfferEnd, VisitEnd
from ivr_server.flow.ports import QueueOutcome, QueueRequest
from ivr_server.testing import clock
from ivr_server.testing.waiting import BUSY, NEVER, REJECTS, UNREACHABLE, Manner

from .world import GONE, World, queue


@dataclass(frozen=True)
class Script:
    """One caller."""

    at_s: float
    queue: str
    priority: int = 0
    hangs_up_s: float | None = None
    keys: tuple[tuple[float, str], ...] = ()
    join_s: float = 0.0
    verb_s: float = 0.0


def play(callers: list[Script], agents: dict[str, list[Manner]], seed: int = 0) -> World:
    """Run them all and look at what is left."""
    serve = {name: (("sales",), ("vip",), ("sales", "vip"))[i % 3] for i, name in enumerate(agents)}
    dice = random.Random(seed)
    hangup_s = dice.choice([0.0, 0.2])

    async def scenario() -> World:
        told = Announcements(every_s=10.0, welcome="welcome", periodic=("thanks",))
        world = World(
            queue("sales", announcements=told, max_wait_s=900.0, wrap_up_s=dice.choice([0, 5])),
            queue("vip", announcements=told, max_wait_s=600.0, weight=1, capacity=3,
                  retry_delay_s=dice.choice([0.5, 5.0])),
            agents=agents,
            serve=serve,
            hangup_s=hangup_s,
        )  # fmt: skip
        for number, one in enumerate(callers):
            world.call(
                f"call{number}",
                at_s=one.at_s,
                request=QueueRequest(
                    queue=one.queue, priority=one.priority, exit_keys=frozenset("*")
                ),
                hangs_up_s=one.hangs_up_s,
                keys=one.keys,
                join_s=one.join_s,
                verb_s=one.verb_s,
            )
        await world.over()
        return world

    return clock.run(scenario())


def check(world: World) -> None:
    """The books balance (world.over has looked at states, tasks and open rows)."""
    visits = {one.visit_id: one for one in world.visits}
    assert len(visits) == len(world.callers)
    answered = [one for one in world.visits if one.end_reason is VisitEnd.ANSWERED]
    joined = [
        (caller.call_id, leg) for caller in world.callers.values() for _, leg in caller.joined
    ]
    assert sorted(one.call_id for one in answered) == sorted(call for call, _ in joined)

    # An offer is answered exactly when its leg and the caller met.
    legs = {leg.id: leg for leg in world.phones.legs}
    taken = [one for one in world.offers if one.end_reason is OfferEnd.ANSWERED]
    assert sorted(one.leg_id for one in taken) == sorted(leg.id for _, leg in joined)
    for offer in taken:
        assert visits[offer.visit_id].agent == offer.agent
        assert visits[offer.visit_id].answered_at is not None
        assert visits[offer.visit_id].answered_at >= offer.ended_at  # type: ignore[operator]
    for offer in world.offers:
        visit = visits[offer.visit_id]
        assert legs[offer.leg_id].call_id == visit.call_id
        assert visit.enqueued_at <= offer.offered_at <= visit.ended_at  # type: ignore[operator]

    # What the flow was told agrees with the record.
    for name, caller in world.callers.items():
        end, row = world.ends[name], world.visit(name)
        if end == GONE:
            assert caller.gone
            assert row.end_reason in (VisitEnd.ABANDONED, VisitEnd.ANSWERED)
        else:
            assert not isinstance(end, str)
            assert row.end_reason == end.outcome.value
            assert (end.outcome is QueueOutcome.EXIT_KEY) == (row.exit_key == "*")

    # No agent's phone rings twice at once, or in a talk.
    for name in {leg.agent for leg in world.phones.legs}:
        times = sorted(
            (leg.rang_s, leg.over_s) for leg in world.phones.legs
            if leg.agent == name and leg.rang_s is not None and leg.over_s is not None
        )  # fmt: skip
        for (_, over_s), (rang_s, _) in pairwise(times):
            assert over_s <= rang_s


def some_manners(dice: random.Random) -> list[Manner]:
    def one() -> Manner:
        answers = Manner(
            after_s=dice.choice([0.0, 2.0, dice.uniform(0, 20)]),
            talks_s=dice.choice([None, 0.0, dice.uniform(1, 300)]),
            drops=dice.random() < 0.2,
        )
        failing = Manner(error=LinkError("refused"))
        return dice.choice([answers] * 6 + [NEVER, BUSY, REJECTS, UNREACHABLE, failing])

    # At the end everybody answers and talks: else a patient caller and a deaf agent go on for ever.
    return [one() for _ in range(dice.randint(0, 12))] + [Manner(talks_s=20.0)]


@pytest.mark.parametrize("seed", range(120))
def test_a_random_day(seed: int) -> None:
    dice = random.Random(seed)
    callers = []
    for _ in range(dice.randint(1, 25)):
        at_s = dice.choice([0.0, dice.uniform(0, 300), float(dice.randint(0, 60))])
        keys = [(at_s + dice.uniform(0, 60), dice.choice("12*")) for _ in range(dice.randint(0, 3))]
        callers.append(
            Script(
                at_s,
                dice.choice(["sales", "vip"]),
                priority=dice.choice([0, 0, 5]),
                # Everybody hangs up in the end: some agents talk until the caller does.
                hangs_up_s=at_s + dice.choice([dice.uniform(0, 30), dice.uniform(0, 2000)]),
                keys=tuple(keys) if dice.random() < 0.4 else (),
                join_s=dice.choice([0.0, 0.0, 0.3]),
                verb_s=dice.choice([0.0, 0.05, 1.0]),
            )
        )
    agents = {f"agent{number}": some_manners(dice) for number in range(dice.randint(1, 6))}
    check(play(callers, agents, seed))


GRID_S = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0])  # so that much falls together


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda at_s, stays_s, keys, name, join_s: Script(
                at_s, name, 0, at_s + stays_s, tuple((at_s + key, "*") for key in keys), join_s
            ),
            GRID_S,
            GRID_S | st.just(500.0),
            st.lists(GRID_S, max_size=1),
            st.sampled_from(["sales", "vip"]),
            st.sampled_from([0.0, 1.0]),
        ),
        max_size=6,
    ),
    st.lists(
        st.lists(
            st.builds(Manner, after_s=GRID_S, talks_s=GRID_S, drops=st.booleans())
            | st.sampled_from([NEVER, BUSY, UNREACHABLE]),
            min_size=1,
            max_size=3,
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_things_that_fall_together(callers: list[Script], agents: list[list[Manner]]) -> None:
    check(play(callers, {f"agent{number}": manners for number, manners in enumerate(agents)}))
