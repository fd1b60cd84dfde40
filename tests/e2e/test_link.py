"""The network between service and Asterisk is cut at bad moments; calls must not care."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from ivr_server.facts import CallEnd
from ivr_server.local import Local
from ivr_server.testing.faultproxy import FaultProxy
from ivr_server.testing.phones import RATE, Conversation, Phone, share

from .conftest import AGENT_HZ, CALLER_HZ, Serving, attached, until

LOST_WITHIN_S = 10.0
SALES = ("anna", "boris", "vera")


@dataclass
class Faulty(Serving):
    """A service behind a proxy that breaks."""

    proxy: FaultProxy

    async def lose_and_find(self, away_s: float) -> None:
        """Cut the connection, leave it cut for so long, and wait until it is back."""
        lost = self.service.link.counts["socket_lost"]
        self.proxy.cut()
        await until(
            lambda: self.service.link.counts["socket_lost"] > lost, LOST_WITHIN_S, "noticed"
        )
        await asyncio.sleep(away_s)
        await self.back()

    async def back(self) -> None:
        self.proxy.mend()
        async with asyncio.timeout(LOST_WITHIN_S):
            await self.service.link.connected.wait()


@pytest.fixture
async def faulty(machine: Local) -> AsyncIterator[Faulty]:
    async with FaultProxy(machine.instance.ports.ari) as proxy:
        settings = replace(machine.settings, ari_url=f"http://127.0.0.1:{proxy.port}")
        async with attached(settings, machine) as service:
            yield Faulty(service, machine, datetime.now(UTC), proxy)


async def test_a_talk_goes_on_and_its_end_is_noticed(
    faulty: Faulty, phones: dict[str, Phone]
) -> None:
    """Cut while two talk; the agent hangs up while the socket is away."""
    for name in SALES:
        phones[name].answer_after_s = 0.1
    call = await phones["caller1"].dial("100")
    anna = await phones["anna"].conversation(5)
    assert await anna.hears(5, hz=CALLER_HZ)
    faulty.proxy.cut()
    assert await call.hears(3, hz=AGENT_HZ["anna"])
    await anna.hangup()
    await faulty.back()
    assert await call.ended(10), "the flow goes on when the link is back"
    (row,) = await faulty.settled(20)
    assert row.end_reason == CallEnd.COMPLETED_BY_AGENT


async def test_a_silent_network_is_noticed_within_ten_seconds(
    faulty: Faulty, phones: dict[str, Phone]
) -> None:
    call = await phones["caller1"].dial("100")
    assert await call.hears(5)
    lost = faulty.service.link.counts["socket_lost"]
    faulty.proxy.stall()
    await until(lambda: faulty.service.link.counts["socket_lost"] > lost, LOST_WITHIN_S, "noticed")
    faulty.proxy.cut()
    await faulty.back()
    for name in SALES:
        phones[name].answer_after_s = 0.1

    def talks(conversation: Conversation) -> bool:
        recent = bytes(conversation.heard.pcm[-RATE:])
        return any(share(recent, AGENT_HZ[name]) > 0.4 for name in SALES)

    # Asterisk may take the application from the new socket once more (Link._ping): also then.
    assert await call.until(talks, 25)
    await call.hangup()
    (row,) = await faulty.settled(20)
    assert row.queue_outcome == "answered"


async def test_a_caller_who_hangs_up_while_the_link_is_away(
    faulty: Faulty, phones: dict[str, Phone]
) -> None:
    call = await phones["caller1"].dial("100")
    assert await call.hears(5)
    faulty.proxy.cut()
    await call.hangup()
    await faulty.back()
    (row,) = await faulty.settled(20)
    assert row.end_reason == CallEnd.ABANDONED


async def test_a_hang_up_that_was_lost_is_repeated(
    faulty: Faulty, phones: dict[str, Phone]
) -> None:
    """The caller leaves while the agent talks and the link is away: the agent is not left alone."""
    for name in SALES:
        phones[name].answer_after_s = 0.1
    call = await phones["caller1"].dial("100")
    anna = await phones["anna"].conversation(5)
    assert await anna.hears(5, hz=CALLER_HZ)
    faulty.proxy.cut()
    await call.hangup()
    await faulty.back()
    assert await anna.ended(10)
    (row,) = await faulty.settled(20)
    assert row.end_reason == CallEnd.COMPLETED_BY_CALLER


@pytest.mark.parametrize("seed", range(4))
async def test_cuts_at_random_instants(faulty: Faulty, phones: dict[str, Phone], seed: int) -> None:
    """Six callers, three agents, three cuts: everybody is served or hangs up, nothing is left."""
    chance = random.Random(seed)
    for name in SALES:
        phones[name].answer_after_s = 0.2

    async def caller(number: int) -> None:
        await asyncio.sleep(chance.uniform(0, 2))
        call = await phones[f"caller{number}"].dial("100", wait=False)
        await call.until(lambda c: bool(c.heard.pcm) and c.heard.seconds() > 4, 8)
        await call.hangup()

    async def cutter() -> None:
        for _ in range(3):
            await asyncio.sleep(chance.uniform(0.2, 2))
            await faulty.lose_and_find(chance.uniform(0, 0.5))

    await asyncio.gather(*(caller(number) for number in range(1, 7)), cutter())
    rows = await faulty.settled(30)
    assert all(row.end_reason for row in rows)
    assert faulty.service.link.counts["failed"] == 0
