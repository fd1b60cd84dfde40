"""Queues on the real thing: order, places, agents who do not answer, callers who go."""

from __future__ import annotations

import asyncio
import random

import asyncpg
import pytest

from ivr_server.facts import CallEnd
from ivr_server.storage import reader
from ivr_server.testing.phones import Conversation, Phone

from .conftest import AGENT_HZ, Serving, until

SALES = ("anna", "boris", "vera")


async def rows(serving: Serving, sql: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(serving.machine.settings.database_url)
    try:
        return await connection.fetch(sql, serving.began)
    finally:
        await connection.close()


async def talk_then_hang_up(phone: Phone, calls: int) -> None:
    """An agent who takes so many calls, talks for about a second, and hangs up."""
    for _ in range(calls):
        conversation = await phone.conversation(30)
        if await conversation.hears(5):
            said = conversation.heard.seconds()
            await conversation.until(lambda c, said=said: c.heard.seconds() > said + 0.5, 5)
        await conversation.hangup()


async def test_ten_callers_for_three_agents(serving: Serving, phones: dict[str, Phone]) -> None:
    """Nobody is lost, callers are served in order, and rows add up."""
    for name in SALES:
        phones[name].answer_after_s = 0.2
    taking = [asyncio.create_task(talk_then_hang_up(phones[name], 10)) for name in SALES]
    calls = [await phones[f"caller{number}"].dial("100") for number in range(1, 11)]
    ended = await asyncio.gather(*(call.ended(40) for call in calls))
    assert all(ended)
    for task in taking:
        task.cancel()
    await asyncio.gather(*taking, return_exceptions=True)
    served = await serving.settled()
    assert len(served) == 10
    assert {row.end_reason for row in served} == {CallEnd.COMPLETED_BY_AGENT}
    assert all(row.talk_s is not None and row.recordings == 2 for row in served)
    assert all(row.bad_recordings == 0 for row in served)
    order = await rows(
        serving,
        """select v.visit_id from visits v join offers o using (visit_id)
           where v.enqueued_at >= $1 group by v.visit_id, v.enqueued_at
           order by min(o.offered_at)""",
    )
    arrived = await rows(
        serving, "select visit_id from visits where enqueued_at >= $1 order by enqueued_at"
    )
    assert [one["visit_id"] for one in order] == [one["visit_id"] for one in arrived]
    counted = await rows(
        serving,
        """select count(*) filter (where o.end_reason = 'answered') as answered,
                  count(distinct o.agent) as agents
           from offers o where o.offered_at >= $1""",
    )
    assert counted[0]["answered"] == 10
    assert counted[0]["agents"] == 3


async def test_every_promise_is_written_down(serving: Serving, phones: dict[str, Phone]) -> None:
    """A caller who is second hears place and wait; the row holds words, number and outcome."""
    first = await phones["caller1"].dial("100")
    second = await phones["caller2"].dial("100")
    third = await phones["caller3"].dial("100")
    fourth = await phones["caller4"].dial("100")
    assert await fourth.hears(5)
    await until(lambda: len(serving.service.room.waiting()) == 4, 5, "four callers wait")
    said = fourth.heard.seconds()
    assert await fourth.until(lambda c: c.heard.seconds() > said + 2.0, 5)
    for call in (first, second, third, fourth):
        await call.hangup()
    served = await serving.settled()
    assert {row.end_reason for row in served} == {CallEnd.ABANDONED}
    promises = await rows(
        serving, "select * from promises where spoken_at >= $1 and place = 4 order by spoken_at"
    )
    assert promises
    assert promises[0]["estimate_s"] > 0
    assert promises[0]["spoken_s"] % 60 == 0
    assert "number four" in promises[0]["text"]


async def test_the_next_agent_when_one_does_not_answer(
    serving: Serving, phones: dict[str, Phone]
) -> None:
    call = await phones["caller1"].dial("100")
    first = await first_to_ring(phones)
    for name in SALES:
        phones[name].answer_after_s = None if name == first else 0.1
    second = next(name for name in SALES if name > first) if first != SALES[-1] else SALES[0]
    assert await call.hears(8, hz=AGENT_HZ[second])
    await call.hangup()
    (row,) = await serving.settled()
    assert (row.ring_attempts, row.agent) == (2, second)
    ends = await rows(
        serving, "select agent, end_reason from offers where offered_at >= $1 order by offered_at"
    )
    assert [tuple(one) for one in ends] == [(first, "no_answer"), (second, "answered")]


async def first_to_ring(phones: dict[str, Phone]) -> str:
    await until(lambda: any(phones[name].rings for name in SALES), 5, "a phone rings")
    return next(name for name in SALES if phones[name].rings)


async def test_an_agent_who_refuses_is_not_asked_again_at_once(
    serving: Serving, phones: dict[str, Phone]
) -> None:
    for name in SALES:
        phones[name].answer_after_s = 0.1
    phones["anna"].reject = True
    call = await phones["caller1"].dial("100")
    assert await call.hears(8, hz=AGENT_HZ["boris"])
    await call.hangup()
    (row,) = await serving.settled()
    assert (row.ring_attempts, row.agent) == (2, "boris")
    assert phones["anna"].rings == 1
    ends = await rows(serving, "select end_reason from offers where offered_at >= $1 order by 1")
    assert [one["end_reason"] for one in ends] == ["answered", "busy"]


async def test_the_exit_key_works_in_the_middle_of_an_announcement(
    serving: Serving, phones: dict[str, Phone]
) -> None:
    call = await phones["caller1"].dial("100")
    assert await call.hears(5)
    await call.press("*")
    assert await call.ended(3)
    (row,) = await serving.settled()
    assert row.queue_outcome == "exit_key"
    assert row.end_reason == CallEnd.FLOW_ENDED


async def test_a_full_queue_turns_callers_away(serving: Serving, phones: dict[str, Phone]) -> None:
    waiting = await phones["caller1"].dial("101")
    await waiting.hears(5)
    await waiting.press("1")
    await until(lambda: len(serving.service.room.waiting()) == 1, 5, "one caller waits")
    turned_away = await phones["caller2"].dial("101")
    await turned_away.hears(5)
    await turned_away.press("1")
    assert await turned_away.ended(5)
    await waiting.hangup()
    first, second = await serving.settled()
    assert (first.queue_outcome, second.queue_outcome) == ("abandoned", "full")


@pytest.mark.parametrize("group", range(5))
async def test_a_caller_who_hangs_up_at_any_instant(
    serving: Serving, phones: dict[str, Phone], group: int
) -> None:
    """Eight callers a group, forty in all: while dialling, in prompts, ringing, in the answer."""
    chance = random.Random(group)
    for name in SALES:
        phones[name].answer_after_s = chance.uniform(0.0, 0.5)
    calls: list[tuple[Conversation, float]] = []
    for number in range(1, 9):
        call = await phones[f"caller{number}"].dial("100", wait=number % 2 == 0)
        calls.append((call, chance.uniform(0.0, 2.5)))

    async def hang_up(call: Conversation, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await call.hangup()

    await asyncio.gather(*(hang_up(*one) for one in calls))
    served = await serving.settled()
    assert len(served) == 8
    reasons = {CallEnd.CALLER_HUNG_UP, CallEnd.ABANDONED, CallEnd.COMPLETED_BY_CALLER}
    assert {CallEnd(row.end_reason or "") for row in served} <= reasons
    assert all(row.ended_at is not None for row in served)


async def test_a_caller_who_hangs_up_in_the_tick_of_the_answer(
    serving: Serving, phones: dict[str, Phone]
) -> None:
    """The agent answers and the caller hangs up at the same moment, ten times."""
    for name in SALES:
        phones[name].answer_after_s = 0.0
    for _ in range(10):
        rung = sum(phones[name].rings for name in SALES)
        call = await phones["caller1"].dial("100")
        await until(
            lambda rung=rung: sum(phones[name].rings for name in SALES) > rung, 5, "a phone rings"
        )
        await call.hangup()
    served = await serving.settled()
    assert len(served) == 10
    assert all(row.end_reason for row in served)


async def test_rows_add_up(serving: Serving) -> None:
    """After all that, nothing in the whole database contradicts anything else."""
    assert await reader.problems(serving.machine.settings.database_url) == []
