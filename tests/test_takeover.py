"""After a restart: what is decided about every state in which a kill can leave a call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr_server import facts
from ivr_server.asterisk.events import BridgeInfo, ChannelInfo
from ivr_server.facts import CallEnd, LegKind, OfferEnd, VisitEnd
from ivr_server.storage.opencalls import OpenCalls
from ivr_server.takeover import Plan, plan

BEFORE = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
NOW = BEFORE + timedelta(minutes=2)

CALL = facts.Call(call_id="call", started_at=BEFORE, dialled="88005553535", caller_number="+7916",
                  language="ru", flow="demo", flow_version="3f2a")  # fmt: skip
MENU = facts.Position(call_id="call", channel_id="caller", channel_name="PJSIP/trunk-1",
                      flow="demo", flow_version="3f2a", node="menu", step=3, variables={},
                      language="ru")  # fmt: skip
CALLER = facts.Leg(leg_id="caller", call_id="call", kind=LegKind.CALLER, endpoint="PJSIP/trunk-1",
                   started_at=BEFORE, answered_at=BEFORE)  # fmt: skip
AGENT = facts.Leg(leg_id="agent", call_id="call", kind=LegKind.AGENT, endpoint="PJSIP/anna",
                  agent="anna", started_at=BEFORE)  # fmt: skip
OUTSIDE = replace(AGENT, leg_id="outside", kind=LegKind.OUTSIDE, agent=None, answered_at=BEFORE)
VISIT = facts.Visit(visit_id="visit", call_id="call", queue="sales", enqueued_at=BEFORE,
                    place_at_entry=2)  # fmt: skip
OFFER = facts.Offer(offer_id="offer", visit_id="visit", call_id="call", queue="sales",
                    agent="anna", leg_id="agent", offered_at=BEFORE)  # fmt: skip

# The same rows a moment later.
QUEUED = replace(MENU, node="sales", visit_id="visit")
JOINED = replace(QUEUED, agent_leg_id="agent", bridge_id="bridge")
CONNECTED = replace(JOINED, connected=True, talked=True)
DIALLED = replace(MENU, node="dial", agent_leg_id="outside", bridge_id="bridge", connected=True)
PICKED_UP = replace(AGENT, answered_at=BEFORE)
GONE = replace(PICKED_UP, ended_at=BEFORE, end_reason=facts.LegEnd.HUNG_UP)
TAKEN = replace(OFFER, ended_at=BEFORE, end_reason=OfferEnd.ANSWERED)
SERVED = replace(VISIT, answered_at=BEFORE, ended_at=BEFORE, end_reason=VisitEnd.ANSWERED,
                 agent="anna")  # fmt: skip
LEFT = replace(VISIT, ended_at=BEFORE, end_reason=VisitEnd.EXIT_KEY, exit_key="*")
ENDED = replace(CALL, ended_at=BEFORE, end_reason=CallEnd.FLOW_ENDED)


def channels(*names: str) -> dict[str, ChannelInfo]:
    return {name: ChannelInfo(id=name, name=f"PJSIP/{name}", state="Up") for name in names}


def planned(
    written: Iterable[facts.Fact],
    held: str = "",
    *,
    bridges: dict[str, str] | None = None,
    in_dialplan: str = "",
) -> Plan:
    """Journal and Asterisk's lists in short: names of channels, bridges with who is in them."""
    story = OpenCalls()
    for fact in written:
        story.add(fact)
    ours, elsewhere = held.split(), in_dialplan.split()
    return plan(
        story.calls(),
        channels(*ours, *elsewhere),
        {
            name: BridgeInfo(id=name, channels=inside.split())
            for name, inside in (bridges or {}).items()
        },
        set(ours),
        NOW,
    )


def closed(made: Plan) -> set[str]:
    """What the closed rows say, in short. All of them end now."""
    said = set()
    for fact in made.closed:
        kind = type(fact).__name__.lower()
        name = getattr(fact, "leg_id", "") if isinstance(fact, facts.Leg) else ""
        said.add(f"{name or kind} {fact.end_reason}")  # type: ignore[attr-defined]
        if isinstance(fact, facts.Visit) and fact.released_at == NOW:
            said.add("visit released")
    return said


@dataclass(frozen=True, kw_only=True)
class Case:
    """Journal and Asterisk on the left, the decision on the right."""

    written: tuple[facts.Fact, ...]
    held: str = ""
    bridges: dict[str, str] = field(default_factory=dict)
    goes_on: str = ""  # waits, talks, again, talk is over
    closed: set[str] = field(default_factory=set)
    hang_up: str = ""
    destroy: str = ""


WAITING = (CALL, QUEUED, CALLER, VISIT)
RINGING = (*WAITING, AGENT, OFFER)
ANSWERED = (CALL, JOINED, CALLER, VISIT, PICKED_UP, TAKEN)
TALKING = (CALL, CONNECTED, CALLER, SERVED, PICKED_UP, TAKEN)
DIALLING = (CALL, DIALLED, CALLER, OUTSIDE)

CASES = {
    "a caller in a menu hears the node again": Case(
        written=(CALL, MENU, CALLER), held="caller", goes_on="again"
    ),
    "a waiting caller goes on waiting": Case(written=WAITING, held="caller", goes_on="waits"),
    "a phone that still rings is hung up and the offer closed": Case(
        written=RINGING, held="caller agent", goes_on="waits",
        closed={"offer cancelled", "agent lost"}, hang_up="agent",
    ),
    "a phone that rang and is gone": Case(
        written=RINGING, held="caller", goes_on="waits", closed={"offer cancelled", "agent lost"}
    ),
    "picked up, but not bridged yet: the caller keeps waiting": Case(
        written=(*WAITING, PICKED_UP, TAKEN), held="caller agent", goes_on="waits",
        closed={"agent lost", "offer not_connected"}, hang_up="agent",
    ),
    "a bridge made, and only the caller in it": Case(
        written=ANSWERED, held="caller agent", bridges={"bridge": "caller"}, goes_on="waits",
        closed={"agent lost", "offer not_connected"}, hang_up="agent",
    ),
    "talking": Case(
        written=TALKING, held="caller agent", bridges={"bridge": "caller agent"}, goes_on="talks"
    ),
    "both in the bridge, but the visit's row not yet answered": Case(
        written=ANSWERED, held="caller agent", bridges={"bridge": "caller agent"},
        goes_on="talks", closed={"visit answered"},
    ),
    "both in the bridge, the offer's row not closed either": Case(
        written=(CALL, JOINED, CALLER, VISIT, PICKED_UP, OFFER), held="caller agent",
        bridges={"bridge": "agent caller"}, goes_on="talks",
        closed={"visit answered", "offer answered"},
    ),
    "the agent hung up meanwhile": Case(
        written=TALKING, held="caller", bridges={"bridge": "caller"}, goes_on="talk is over",
        closed={"agent lost", "visit answered", "visit released"},
    ),
    "the agent hung up meanwhile and the bridge is gone": Case(
        written=TALKING, held="caller", goes_on="talk is over",
        closed={"agent lost", "visit answered", "visit released"},
    ),
    "the agent's leg was in the bridge, but is no more when channels are listed": Case(
        written=TALKING, held="caller", bridges={"bridge": "caller agent"},
        goes_on="talk is over", closed={"agent lost", "visit answered", "visit released"},
    ),
    "the agent's leg has left the bridge but not hung up": Case(
        written=TALKING, held="caller agent", bridges={"bridge": "caller"},
        goes_on="talk is over", closed={"agent lost", "visit answered", "visit released"},
        hang_up="agent",
    ),
    "out of the queue by key, the flow not yet in the next node": Case(
        written=(CALL, QUEUED, CALLER, LEFT), held="caller", goes_on="again"
    ),
    "talking to an outside number": Case(
        written=DIALLING, held="caller outside", bridges={"bridge": "caller outside"},
        goes_on="talks",
    ),
    "the outside number hung up meanwhile": Case(
        written=DIALLING, held="caller", goes_on="talk is over", closed={"outside lost"}
    ),
    "an outside number picked up, but was never bridged": Case(
        written=(CALL, replace(DIALLED, connected=False), CALLER, OUTSIDE), held="caller",
        goes_on="again", closed={"outside lost"},
    ),
    "the talk was over and the flow had not come to its next node": Case(
        written=(CALL, CONNECTED, CALLER, replace(SERVED, released_at=BEFORE), GONE, TAKEN),
        held="caller", goes_on="talk is over", closed={"visit answered"},
    ),
    "an outside number still being dialled": Case(
        written=(CALL, MENU, CALLER, replace(OUTSIDE, answered_at=None)), held="caller outside",
        goes_on="again", closed={"outside lost"}, hang_up="outside",
    ),
    "the caller hung up in a menu": Case(
        written=(CALL, MENU, CALLER), closed={"caller lost", "call lost"}
    ),
    "the caller hung up waiting": Case(
        written=WAITING, closed={"caller lost", "call lost", "visit lost"}
    ),
    "the caller hung up while a phone rings": Case(
        written=RINGING, held="agent", hang_up="agent",
        closed={"caller lost", "call lost", "visit lost", "offer cancelled", "agent lost"},
    ),
    "the caller hung up talking and the agent sits alone in the bridge": Case(
        written=TALKING, held="agent", bridges={"bridge": "agent"}, hang_up="agent",
        destroy="bridge",
        closed={"caller lost", "call lost", "agent lost", "visit answered", "visit released"},
    ),
    "nobody is left but an empty bridge": Case(
        written=TALKING, bridges={"bridge": ""}, destroy="bridge",
        closed={"caller lost", "call lost", "agent lost", "visit answered", "visit released"},
    ),
    "the call has ended but its leg is still open": Case(
        written=(ENDED, MENU, CALLER), held="caller", hang_up="caller", closed={"caller lost"}
    ),
    "the call has ended and the leg is gone": Case(
        written=(ENDED, MENU, CALLER), closed={"caller lost"}
    ),
    "no position was written": Case(
        written=(CALL, CALLER), held="caller", hang_up="caller",
        closed={"caller lost", "call lost"},
    ),
    "bridges and channels that are not ours are left alone": Case(
        written=WAITING, held="caller", bridges={"conference": "somebody"}, goes_on="waits"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_state_a_kill_can_leave(case: Case) -> None:
    made = planned(case.written, case.held, bridges=case.bridges)
    assert closed(made) == case.closed
    assert made.hang_up == case.hang_up.split()
    assert made.destroy == case.destroy.split()
    assert made.unknown == []
    if not case.goes_on:
        assert made.continued == []
        assert [one.call.call_id for one in made.over] == ["call"]
        return
    assert made.over == []
    (found,) = made.continued
    assert found.channel.id == "caller"
    how = {
        (True, False, False): "waits",
        (True, True, False): "talks",
        (False, True, False): "talks",
        (False, False, False): "again",
        (False, False, True): "talk is over",
    }[found.visit is not None, found.agent_leg is not None, found.talk_over]
    assert how == case.goes_on
    assert found.bridge_id == next(
        (name for name, inside in case.bridges.items() if "caller" in inside.split()), ""
    )


STEP = facts.Step(call_id="call", number=3, flow="demo", flow_version="3f2a", node="menu",
                  node_type="menu", entered_at=BEFORE)  # fmt: skip


@pytest.mark.parametrize(
    ("step", "outcome", "variables"),
    [
        (STEP, None, {"a": 1}),
        (replace(STEP, left_at=BEFORE, outcome="1"), "1", {"a": 1}),
        (
            replace(STEP, left_at=BEFORE, outcome="done", detail={"values": {"a": 2, "b": 3}}),
            "done",
            {"a": 2, "b": 3},
        ),
        (replace(STEP, number=2, left_at=BEFORE, outcome="1"), None, {"a": 1}),
        (replace(STEP, left_at=BEFORE, outcome="taken_over"), None, {"a": 1}),
        (replace(STEP, left_at=BEFORE, outcome="failed"), None, {"a": 1}),
    ],
    ids=["in it", "left it", "left it with values", "one before", "taken over", "failed"],
)
def test_a_node_that_had_ended_is_not_run_again(
    step: facts.Step, outcome: str | None, variables: dict[str, int]
) -> None:
    written = (CALL, replace(MENU, variables={"a": 1}), CALLER, step)
    (found,) = planned(written, "caller").continued
    assert (found.outcome, found.variables) == (outcome, variables)


def test_a_talk_that_was_had_is_not_taken_for_the_next_queue() -> None:
    """The queue node had ended: what comes behind it may be another queue."""
    over = replace(STEP, left_at=BEFORE, outcome="answered", node="sales", node_type="queue")
    written = (CALL, CONNECTED, CALLER, replace(SERVED, released_at=BEFORE), GONE, TAKEN, over)
    (found,) = planned(written, "caller").continued
    assert (found.outcome, found.talk_over, found.visit) == ("answered", False, None)


def test_a_talk_goes_on_with_its_leg_and_a_row_that_says_who_answered() -> None:
    (found,) = planned(ANSWERED, "caller agent", bridges={"bridge": "caller agent"}).continued
    assert found.agent_leg == PICKED_UP
    assert found.visit is not None
    assert (found.visit.agent, found.visit.answered_at) == ("anna", NOW)
    assert found.visit.enqueued_at == BEFORE


def test_a_channel_that_arrived_before_anything_was_written_is_a_new_call() -> None:
    made = planned([], "stranger", in_dialplan="elsewhere")
    assert [one.id for one in made.unknown] == ["stranger"]
    assert (made.hang_up, made.continued, made.over) == ([], [], [])


def test_a_call_whose_leg_was_not_written_yet_is_served_once_and_anew() -> None:
    made = planned((CALL, MENU), "caller")
    assert [one.id for one in made.unknown] == ["caller"]
    assert made.continued == [], "served a second time beside the new call"
    assert closed(made) == {"call lost"}
    assert made.hang_up == []


@pytest.mark.parametrize("call", [CALL, ENDED], ids=["row open", "row closed"])
def test_a_caller_who_is_with_the_dialplan_is_left_there(call: facts.Call) -> None:
    """Handed to the number's fallback just before the kill: that call goes on without us."""
    made = planned((call, MENU, CALLER), in_dialplan="caller")
    assert made.hang_up == []
    assert made.continued == []
    assert "caller lost" in closed(made)


def test_calls_do_not_mix() -> None:
    def named(fact: Any, call_id: str) -> facts.Fact:
        names = {
            name: f"{call_id}-{value}"
            for name in ("channel_id", "leg_id", "visit_id", "offer_id", "agent_leg_id",
                         "bridge_id")
            if (value := getattr(fact, name, None)) is not None
        }  # fmt: skip
        return replace(fact, call_id=call_id, **names)

    written = [named(fact, "one") for fact in TALKING] + [named(fact, "two") for fact in RINGING]
    made = planned(
        written,
        "one-caller one-agent two-agent",
        bridges={"one-bridge": "one-caller one-agent", "two-bridge": ""},
    )
    assert [one.call.call.call_id for one in made.continued] == ["one"]
    assert [one.call.call_id for one in made.over] == ["two"]
    assert made.hang_up == ["two-agent"]


PIECES = [CALL, ENDED, MENU, QUEUED, JOINED, CONNECTED, DIALLED, CALLER, AGENT, PICKED_UP, GONE,
          OUTSIDE, VISIT, SERVED, LEFT, OFFER, TAKEN]  # fmt: skip
NAMES = ["caller", "agent", "outside", "stranger"]
SOME = st.lists(st.sampled_from(NAMES), unique=True).map(" ".join)


@given(
    st.lists(st.sampled_from(PIECES)),
    SOME,
    st.dictionaries(st.sampled_from(["bridge", "other"]), SOME),
)
def test_whatever_was_written_and_held_every_channel_has_one_fate_and_no_row_stays_open(
    written: list[facts.Fact], held: str, bridges: dict[str, str]
) -> None:
    made = planned([CALL, *written], held, bridges=bridges)
    kept = [one.channel.id for one in made.continued]
    kept += [one.agent_leg.leg_id for one in made.continued if one.agent_leg is not None]
    fates = kept + made.hang_up + [one.id for one in made.unknown]
    assert sorted(fates) == sorted(set(fates))
    assert set(fates) == set(held.split())

    story = OpenCalls()
    for fact in [CALL, *written, *made.closed]:
        story.add(fact)
    goes_on = {one.call.call.call_id: one for one in made.continued}
    for call_id, call in story.calls().items():
        found = goes_on.get(call_id)
        open_legs = {one.leg_id for one in call.legs.values() if one.ended_at is None}
        assert open_legs <= set(kept)
        assert all(one.ended_at is not None for one in call.offers.values())
        waits = found is not None and found.visit is not None and found.agent_leg is None
        assert waits or all(one.ended_at is not None for one in call.visits.values())
        for offer in call.offers.values():
            if offer.end_reason is OfferEnd.ANSWERED and offer.visit_id in call.visits:
                assert call.visits[offer.visit_id].answered_at is not None
        assert found is not None or call.call.ended_at is not None
