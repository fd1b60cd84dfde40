"""Four kinds of call, told as facts: what the service would append, in order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ivr_server.facts import (
    Call,
    CallEnd,
    Fact,
    Leg,
    LegEnd,
    LegKind,
    Offer,
    OfferEnd,
    Position,
    Promise,
    Recording,
    RecordingState,
    Step,
    Visit,
    VisitEnd,
)

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def call(call_id: str = "call-1", **changes: object) -> Call:
    base = Call(
        call_id=call_id,
        started_at=at(0),
        answered_at=at(1),
        dialled="88001002030",
        caller_number="+79161234567",
        caller_name="Иван",
        language="ru",
        flow="main",
        flow_version="3f2a",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def step(number: int, node: str, node_type: str, outcome: str, begin: float, end: float) -> Step:
    return Step(
        call_id="",
        number=number,
        flow="main",
        flow_version="3f2a",
        node=node,
        node_type=node_type,
        entered_at=at(begin),
        left_at=at(end),
        outcome=outcome,
        detail={"keys": "1"} if node_type == "menu" else {},
    )


def leg(
    call_id: str, name: str, begin: float, answer: float | None, end: float, **more: object
) -> Leg:
    base = Leg(
        leg_id=f"{call_id}-{name}",
        call_id=call_id,
        kind=LegKind.CALLER,
        endpoint=f"PJSIP/{name}-0001",
        started_at=at(begin),
        answered_at=None if answer is None else at(answer),
        ended_at=at(end),
        end_reason=LegEnd.HUNG_UP,
        cause=16,
    )
    return replace(base, **more)  # type: ignore[arg-type]


def recording(
    call_id: str, name: str, begin: float, end: float, state: RecordingState
) -> Recording:
    good = state in (RecordingState.OK, RecordingState.SHORT)
    return Recording(
        recording_id=f"{call_id}-{name}-rec",
        call_id=call_id,
        leg_id=f"{call_id}-{name}",
        kind="leg",
        state=state,
        path=f"2026/03/02/{call_id}/{call_id}-{name}.wav",
        started_at=at(begin),
        duration_s=end - begin if good else None,
        bytes=1000 if good else None,
        sha256="ab" * 32 if good else None,
        detail="" if state is RecordingState.OK else state.value,
    )


def mix(call_id: str) -> Recording:
    return Recording(
        recording_id=f"{call_id}-mix",
        call_id=call_id,
        leg_id=None,
        kind="mix",
        state=RecordingState.OK,
        path=f"2026/03/02/{call_id}/mix.opus",
        started_at=at(1),
        duration_s=59.0,
        bytes=500,
        sha256="cd" * 32,
        detail="left: caller, right: agent",
    )


def _steps(call_id: str, *steps: Step) -> list[Fact]:
    return [replace(entry, call_id=call_id) for entry in steps]


def self_service() -> list[Fact]:
    """The caller hears the opening hours and hangs up."""
    first = call("self")
    return [
        first,
        *_steps("self", step(1, "greet", "play", "next", 1, 4), step(2, "main", "menu", "2", 4, 8),
                step(3, "hours", "play", "next", 8, 15)),
        leg("self", "caller", 0, 1, 15.5),
        recording("self", "caller", 1, 15.5, RecordingState.OK),
        replace(first, ended_at=at(15.5), end_reason=CallEnd.CALLER_HUNG_UP),
    ]  # fmt: skip


def answered() -> list[Fact]:
    """Greeting, menu, queue; Anna answers after 12 s and they talk for 40 s."""
    first = call("answered")
    visit = Visit(visit_id="v-answered", call_id="answered", queue="sales", enqueued_at=at(8),
                  place_at_entry=3)  # fmt: skip
    offer = Offer(offer_id="o-anna", visit_id="v-answered", call_id="answered", queue="sales",
                  agent="anna", leg_id="answered-anna", offered_at=at(15))  # fmt: skip
    return [
        first,
        *_steps("answered", step(1, "greet", "play", "next", 1, 4),
                step(2, "main", "menu", "1", 4, 8), step(3, "sales", "queue", "answered", 8, 60)),
        visit,
        Promise(promise_id="p-1", visit_id="v-answered", call_id="answered", queue="sales",
                spoken_at=at(9), place=3, waited_s=1.0, estimate_s=8.5, spoken_s=60,
                text="примерно одну минуту", model="mean"),
        offer,
        Position(call_id="answered", channel_id="answered-caller", channel_name="PJSIP/trunk-1",
                 flow="main", flow_version="3f2a", node="sales", step=3, variables={},
                 language="ru", visit_id="v-answered"),
        replace(offer, ended_at=at(20), end_reason=OfferEnd.ANSWERED),
        replace(visit, answered_at=at(20), released_at=at(60), ended_at=at(20),
                end_reason=VisitEnd.ANSWERED, agent="anna"),
        leg("answered", "caller", 0, 1, 60.5),
        leg("answered", "anna", 15, 20, 60, kind=LegKind.AGENT, agent="anna"),
        recording("answered", "caller", 1, 60.5, RecordingState.OK),
        recording("answered", "anna", 20, 60, RecordingState.SHORT),
        replace(first, ended_at=at(60.5), end_reason=CallEnd.COMPLETED_BY_AGENT),
        mix("answered"),
    ]  # fmt: skip


def abandoned() -> list[Fact]:
    """The caller gives up after 30 s in the queue, while Boris's phone rings."""
    first = call("abandoned")
    return [
        first,
        *_steps("abandoned", step(1, "greet", "play", "next", 1, 4),
                step(2, "sales", "queue", "abandoned", 4, 34)),
        Visit(visit_id="v-abandoned", call_id="abandoned", queue="sales", enqueued_at=at(4),
              place_at_entry=1, ended_at=at(34), end_reason=VisitEnd.ABANDONED),
        Promise(promise_id="p-2", visit_id="v-abandoned", call_id="abandoned", queue="sales",
                spoken_at=at(6), place=1, waited_s=2.0, estimate_s=20.0, spoken_s=60,
                text="примерно одну минуту", model="mean"),
        Offer(offer_id="o-boris", visit_id="v-abandoned", call_id="abandoned", queue="sales",
              agent="boris", leg_id="abandoned-boris", offered_at=at(30), ended_at=at(34),
              end_reason=OfferEnd.CALLER_GONE),
        leg("abandoned", "boris", 30, None, 34, kind=LegKind.AGENT, agent="boris",
            end_reason=LegEnd.CANCELLED),
        leg("abandoned", "caller", 0, 1, 34),
        recording("abandoned", "caller", 1, 34, RecordingState.OK),
        replace(first, ended_at=at(34), end_reason=CallEnd.ABANDONED),
    ]  # fmt: skip


def second_agent() -> list[Fact]:
    """Anna does not pick up within 10 s; Boris does."""
    first = call("second")
    return [
        first,
        *_steps("second", step(1, "sales", "queue", "answered", 1, 50)),
        Visit(visit_id="v-second", call_id="second", queue="sales", enqueued_at=at(1),
              place_at_entry=1, answered_at=at(16), released_at=at(50), ended_at=at(16),
              end_reason=VisitEnd.ANSWERED, agent="boris"),
        Offer(offer_id="o-second-1", visit_id="v-second", call_id="second", queue="sales",
              agent="anna", leg_id="second-anna", offered_at=at(2), ended_at=at(12),
              end_reason=OfferEnd.NO_ANSWER),
        Offer(offer_id="o-second-2", visit_id="v-second", call_id="second", queue="sales",
              agent="boris", leg_id="second-boris", offered_at=at(12), ended_at=at(16),
              end_reason=OfferEnd.ANSWERED),
        leg("second", "anna", 2, None, 12, kind=LegKind.AGENT, agent="anna",
            end_reason=LegEnd.NO_ANSWER, cause=19),
        leg("second", "boris", 12, 16, 50, kind=LegKind.AGENT, agent="boris"),
        leg("second", "caller", 0, 1, 50),
        recording("second", "caller", 1, 50, RecordingState.OK),
        recording("second", "boris", 16, 50, RecordingState.OK),
        replace(first, ended_at=at(50), end_reason=CallEnd.COMPLETED_BY_CALLER),
    ]  # fmt: skip
