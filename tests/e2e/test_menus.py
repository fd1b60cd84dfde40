"""Menus and digits over real SIP: barge-in, type-ahead, time-outs, wrong keys, dialling out."""

from __future__ import annotations

import pytest

from ivr_server.facts import CallEnd
from ivr_server.testing.phones import Phone

from .conftest import AGENT_HZ, Serving


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
