"""What ops read: the views, filled with the four kinds of call."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from ivr_server.errors import SetupError
from ivr_server.facts import (
    Call,
    CallEnd,
    Fact,
    Leg,
    LegKind,
    Offer,
    OfferEnd,
    RecordingState,
    Visit,
)
from ivr_server.storage import reader

from . import stories
from .place import free_port, store
from .stories import START, at, call, leg


async def one(dsn: str, *told: Fact) -> reader.CallRow:
    await store(dsn, *told)
    [row] = await reader.calls(dsn, START)
    return row


def expect(row: reader.CallRow, **expected: Any) -> None:
    assert {name: getattr(row, name) for name in expected} == expected


async def test_self_service(dsn: str) -> None:
    row = await one(dsn, *stories.self_service())
    expect(
        row,
        call_id="self",
        started_at=at(0),
        answered_at=at(1),
        ended_at=at(15.5),
        caller_number="+79161234567",
        caller_name="Иван",
        dialled="88001002030",
        flow="main",
        flow_version="3f2a",
        language="ru",
        path="greet > main(2) > hours",
        queue=None,
        place_at_entry=None,
        wait_s=None,
        queue_outcome=None,
        ring_attempts=0,
        agent=None,
        talk_s=None,
        end_reason="caller_hung_up",
        total_s=15.5,
        billable_s=14.5,
        recordings=1,
        bad_recordings=0,
        mix_path=None,
        takeovers=0,
        error="",
    )
    assert await reader.problems(dsn) == []


async def test_answered(dsn: str) -> None:
    row = await one(dsn, *stories.answered())
    expect(
        row,
        path="greet > main(1) > sales",
        queue="sales",
        place_at_entry=3,
        wait_s=12.0,
        queue_outcome="answered",
        ring_attempts=1,
        agent="anna",
        talk_s=40.0,
        end_reason="completed_by_agent",
        total_s=60.5,
        billable_s=59.5,
        recordings=2,
        bad_recordings=1,
        mix_path="2026/03/02/answered/mix.opus",
    )
    assert [file.recording_id for file in row.files] == [
        "answered-anna-rec",
        "answered-caller-rec",
        "answered-mix",
    ]
    assert row.files[0].state is RecordingState.SHORT
    [problem] = await reader.problems(dsn)
    assert (problem.problem, problem.item_id) == ("recording is short", "answered-anna-rec")


async def test_abandoned(dsn: str) -> None:
    row = await one(dsn, *stories.abandoned())
    expect(
        row,
        path="greet > sales",
        queue="sales",
        wait_s=30.0,
        queue_outcome="abandoned",
        ring_attempts=1,
        agent=None,
        talk_s=None,
        end_reason="abandoned",
        billable_s=33.0,
    )
    assert await reader.problems(dsn) == []


async def test_first_agent_does_not_answer_then_second(dsn: str) -> None:
    row = await one(dsn, *stories.second_agent())
    expect(row, wait_s=15.0, ring_attempts=2, agent="boris", talk_s=34.0, recordings=2)
    assert await reader.problems(dsn) == []


async def test_dialled_destination_counts_as_talk(dsn: str) -> None:
    outside = leg("c", "out", 5, 10, 30, kind=LegKind.OUTSIDE, number="+74951112233")
    ended = call("c", ended_at=at(31), end_reason=CallEnd.COMPLETED_BY_AGENT)
    row = await one(dsn, leg("c", "caller", 0, 1, 31), outside, ended)
    expect(row, agent="+74951112233", talk_s=20.0, queue=None, ring_attempts=0)


async def test_all_talks_of_a_call_are_added_and_the_last_partner_counts(dsn: str) -> None:
    outside = leg("second", "out", 55, 60, 80, kind=LegKind.OUTSIDE, number="+74951112233")
    story = [fact for fact in stories.second_agent() if fact != stories.second_agent()[-1]]
    ended = call("second", ended_at=at(81), end_reason=CallEnd.COMPLETED_BY_AGENT)
    row = await one(dsn, *story, outside, ended)
    expect(row, talk_s=34.0 + 20.0, agent="+74951112233", ring_attempts=2)


async def test_an_agent_who_picked_up_and_was_never_connected_is_no_partner(dsn: str) -> None:
    story = [
        replace(fact, end_reason=OfferEnd.NOT_CONNECTED)
        if isinstance(fact, Offer)
        else replace(fact, answered_at=at(33))
        if isinstance(fact, Leg) and fact.kind is LegKind.AGENT
        else fact
        for fact in stories.abandoned()
    ]
    expect(await one(dsn, *story), agent=None, talk_s=None)


async def test_the_wait_is_empty_while_the_caller_waits_again(dsn: str) -> None:
    again = Visit(visit_id="v-again", call_id="abandoned", queue="support", enqueued_at=at(40),
                  place_at_entry=1)  # fmt: skip
    story = [fact for fact in stories.abandoned() if not isinstance(fact, Call)]
    expect(await one(dsn, call("abandoned"), *story, again), wait_s=None)


async def test_call_in_progress_and_call_never_answered(dsn: str) -> None:
    await store(
        dsn,
        call("going"),
        call("unanswered", answered_at=None, ended_at=at(3), end_reason=CallEnd.CALLER_HUNG_UP),
    )
    going, unanswered = await reader.calls(dsn, START)
    expect(going, ended_at=None, total_s=None, billable_s=None, end_reason=None)
    expect(unanswered, total_s=3.0, billable_s=0.0)


async def test_only_calls_since(dsn: str) -> None:
    await store(dsn, *stories.self_service())
    assert await reader.calls(dsn, START + timedelta(seconds=1)) == []


async def test_promises_beside_what_happened(dsn: str, postgres: asyncpg.Connection) -> None:
    await store(dsn, *stories.answered(), *stories.abandoned())
    found = await postgres.fetch(
        "SELECT promise_id, outcome, estimate_s, actual_s, error_s, kept, left_after_s "
        "FROM promise_outcomes ORDER BY promise_id"
    )
    assert [tuple(row) for row in found] == [
        ("p-1", "answered", 8.5, 11.0, 2.5, True, None),
        ("p-2", "abandoned", 20.0, None, None, None, 28.0),
    ]


def without(story: list[Fact], *kinds: str) -> list[Fact]:
    return [fact for fact in story if type(fact).__name__ not in kinds]


def spoiled(story: list[Fact], kind: str, **changes: Any) -> list[Fact]:
    return [
        replace(fact, **changes) if type(fact).__name__ == kind else fact  # type: ignore[arg-type]
        for fact in story
    ]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            without(stories.second_agent(), "Call"),
            {"leg without call", "visit without call", "step without call",
             "recording without call"},
        ),
        (without(stories.second_agent(), "Visit"), {"offer without visit"}),
        (without(stories.abandoned(), "Visit"), {"offer without visit", "promise without visit"}),
        (
            without(stories.second_agent(), "Leg"),
            {"offer without leg", "recording without leg", "ended call without caller leg"},
        ),
        (without(stories.second_agent(), "Offer"), {"visit answered without answered offer"}),
        (
            spoiled(stories.self_service(), "Leg", ended_at=None, end_reason=None),
            {"leg of an ended call not ended"},
        ),
        (
            spoiled(stories.abandoned(), "Visit", ended_at=None, end_reason=None),
            {"visit of an ended call not ended"},
        ),
        (
            spoiled(stories.abandoned(), "Offer", ended_at=None, end_reason=None),
            {"offer of an ended call not ended"},
        ),
        (
            spoiled(stories.second_agent(), "Visit", released_at=None),
            {"talk of an ended call not released"},
        ),
        (
            spoiled(stories.second_agent(), "Visit", answered_at=None),
            {"offer answered but visit not"},
        ),
        (
            spoiled(stories.self_service(), "Recording", state=RecordingState.RECORDING),
            {"recording of an ended call not verified"},
        ),
        (
            spoiled(stories.self_service(), "Recording", sha256=None),
            {"recording without length or hash"},
        ),
        (
            spoiled(stories.self_service(), "Recording", state=RecordingState.MISSING),
            {"recording is missing"},
        ),
        (spoiled(stories.self_service(), "Leg", ended_at=at(-1)), {"negative duration"}),
        (
            spoiled(stories.self_service(), "Leg", end_reason=None),
            {"time and reason of the end disagree"},
        ),
        ([call("old"), leg("old", "caller", 0, 1, 2)], {"call never ended"}),
    ],
)  # fmt: skip
async def test_what_does_not_add_up_is_listed(
    dsn: str, told: list[Fact], expected: set[str]
) -> None:
    await store(dsn, *told)
    assert {entry.problem for entry in await reader.problems(dsn)} == expected


async def test_absent_database_is_one_sentence(dsn: str) -> None:
    absent = f"postgresql://ivr:secret@127.0.0.1:{free_port()}/ivr"
    with pytest.raises(SetupError, match=r"cannot be reached .*: start it or correct") as caught:
        await reader.problems(absent)
    assert "secret" not in str(caught.value)
    for nonsense in ("postgresql://[nonsense", "mysql://secret@host/x", "postgresql://h:port/d"):
        with pytest.raises(SetupError, match=r"IVR_DATABASE_URL is no address") as caught:
            await reader.calls(nonsense, START)
        assert "secret" not in str(caught.value)
