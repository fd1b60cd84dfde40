"""Menus and digits over real SIP: barge-in, type-ahead, time-outs, wrong keys, dialling out."""

from __future__ import annotations

import pytest

from ivr_server.facts import CallEnd
from ivr_server.testing.phones import Phone

from .conftest import AGENT_HZ, Serving
from .test_queue import rows


async def test_a_key_during_the_prompt_ends_it_and_counts(
    serving: Serving, phones: dict[str, Phone]
) -> None:
    call = await phones["caller1"].dial("101")
    assert await call.hears(5)
    await call.press("2")
    assert await call.hears(5)
    await call.press("77#")
    assert await call.ended(15)
    (row,) = await serving.settled()
    assert row.path == "main(2) > order > mark > judge(case 1) > thanks > bye"


async def test_a_hash_behind_a_full_number_interrupts_nothing(
    serving: Serving, phones: dict[str, Phone]
) -> None:
    """The prompt said 'then press hash', and six digits are all there can be."""
    call = await phones["caller1"].dial("101")
    assert await call.hears(5)
    await call.press("2")
    await call.press("471122#")
    assert await call.ended(20)
    (row,) = await serving.settled()
    assert row.path == "main(2) > order > mark > judge(else) > read_back > bye"
    steps = await rows(serving, "select node, detail from flow_steps where entered_at >= $1")
    (read_back,) = [one["detail"] for one in steps if one["node"] == "read_back"]
    assert "interrupted" not in read_back


async def test_keys_typed_ahead_are_not_lost(serving: Serving, phones: dict[str, Phone]) -> None:
    """Everything typed at once, before the first prompt could have been heard."""
    call = await phones["caller1"].dial("101")
    await call.press("24711#")
    assert await call.ended(15)
    (row,) = await serving.settled()
    assert row.path == "main(2) > order > mark > judge(else) > read_back > bye"


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ("12", "main(12) > order"),  # longer match wins
        ("9", "main"),  # nothing matches
    ],
)
async def test_ambiguous_and_wrong_keys(
    serving: Serving, phones: dict[str, Phone], keys: str, path: str
) -> None:
    call = await phones["caller1"].dial("101")
    assert await call.hears(5)
    await call.press(keys)
    heard = call.heard.seconds()
    await call.until(lambda c: c.heard.seconds() > heard + 1.5, 5)
    await call.hangup()
    (row,) = await serving.settled()
    assert row.path.startswith(path)
    assert row.end_reason == CallEnd.CALLER_HUNG_UP


async def test_silence_takes_its_own_way_out(serving: Serving, phones: dict[str, Phone]) -> None:
    call = await phones["caller1"].dial("101")
    assert await call.ended(60)
    (row,) = await serving.settled(20)
    assert row.path == "main(no_input) > bye"
    assert row.end_reason == CallEnd.FLOW_ENDED


async def test_dial_reaches_a_destination(serving: Serving, phones: dict[str, Phone]) -> None:
    phones["vera"].answer_after_s = 0.1
    call = await phones["caller1"].dial("101")
    await call.hears(5)
    await call.press("3")
    assert await call.hears(5, hz=AGENT_HZ["vera"])
    vera = await phones["vera"].conversation(1)
    await vera.hangup()
    assert await call.ended(5)
    (row,) = await serving.settled()
    assert row.path == "main(3) > backoffice(answered) > bye"
    assert row.recordings == 2


async def test_dial_that_nobody_answers_goes_on(serving: Serving, phones: dict[str, Phone]) -> None:
    call = await phones["caller1"].dial("101")
    await call.hears(5)
    await call.press("3")
    assert await call.ended(10)
    (row,) = await serving.settled()
    assert row.path == "main(3) > backoffice(noanswer) > bye"


async def test_a_caller_who_goes_while_it_rings(serving: Serving, phones: dict[str, Phone]) -> None:
    call = await phones["caller1"].dial("101")
    await call.hears(5)
    await call.press("3")
    assert await phones["vera"].rang(1, 5)
    await call.hangup()
    (row,) = await serving.settled()
    assert row.end_reason == CallEnd.CALLER_HUNG_UP


async def test_an_agent_who_is_dialled_is_not_offered_callers_meanwhile(
    serving: Serving, phones: dict[str, Phone]
) -> None:
    phones["dmitri"].answer_after_s = 0.1
    direct = await phones["caller1"].dial("101")
    await direct.hears(5)
    await direct.press("5")
    assert await direct.hears(5, hz=AGENT_HZ["dmitri"])
    second = await phones["caller2"].dial("101")
    await second.hears(5)
    await second.press("5")
    assert await second.ended(10), "busy: the agent is in a talk"
    queued = await phones["caller3"].dial("101")
    await queued.hears(5)
    await queued.press("1")
    heard = queued.heard.seconds()
    await queued.until(lambda c: c.heard.seconds() > heard + 1.5, 5)
    assert phones["dmitri"].rings == 1
    await direct.hangup()
    assert await queued.hears(5, hz=AGENT_HZ["dmitri"]), "free again, served at once"
    await queued.hangup()
    first, busy, third = await serving.settled()
    assert first.path == "main(5) > colleague"
    assert busy.path == "main(5) > colleague(busy) > loud > bye"
    assert third.agent == "dmitri"
