"""kill -9 of the service at random instants: nobody on the phone may notice more than they must.

A bridged pair talks on without a gap, two waiting callers keep music, order and elapsed wait and
are served, a caller in a menu hears it again, every row is complete and nothing is left over.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ivr_server import local
from ivr_server.asterisk.link import Link
from ivr_server.facts import CallEnd
from ivr_server.local import Local
from ivr_server.storage import reader
from ivr_server.testing.phones import FRAME, RATE, Conversation, Phone, PhoneBox, loudness, share

from .conftest import AGENT_HZ, CALLER_HZ, FLOWS, registered, until

ROUNDS = int(os.environ.get("TAKEOVER_ROUNDS", "20"))
GAP_S = 0.1


@dataclass
class ServiceProcess:
    """A service in a process of its own, which can be killed."""

    machine: Local
    log: Path
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "ivr_server",
                "run",
                env={**os.environ, **self.machine.environment()},
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            line = await self.process.stdout.readline()
        assert line == b"ready\n", self.log.read_text()[-2000:]

    async def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Local]:
    """An Asterisk and a Postgres of its own: the service here is another process."""
    up = await local.up(tmp_path_factory.mktemp("takeover"), print, flows=FLOWS, fast=True)
    yield up
    await up.down()


@pytest.fixture
async def service(stack: Local) -> AsyncIterator[ServiceProcess]:
    running = ServiceProcess(stack, stack.instance.folder / "service.log")
    await running.start()
    yield running
    await running.stop()


@pytest.fixture(scope="module")
async def people(stack: Local, phone_box: PhoneBox) -> dict[str, Phone]:
    return await registered(phone_box, stack, [f"caller{number}" for number in range(1, 5)])


async def link_to(stack: Local) -> Link:
    """A second look at Asterisk, under an application name of its own."""
    address = stack.instance.ari
    link = Link(
        type(address)(url=address.url, user=address.user, password=address.password, app="eye")
    )
    await link.open()
    return link


def longest_gap_s(sound: bytes, hz: float) -> float:
    """The longest stretch in which the tone is not heard."""
    longest = current = 0
    step = FRAME * 2
    for start in range(0, len(sound) - 2 * step, step):
        heard = share(sound[start : start + 2 * step], hz) > 0.3
        current = 0 if heard else current + 1
        longest = max(longest, current)
    return longest * FRAME / RATE


def longest_silence_s(sound: bytes) -> float:
    longest = current = 0
    step = FRAME * 2
    for start in range(0, len(sound) - step, step):
        current = current + 1 if loudness(sound[start : start + step]) < 20 else 0
        longest = max(longest, current)
    return longest * FRAME / RATE


async def hang_up_all(people: dict[str, Phone]) -> None:
    for phone in people.values():
        for conversation in phone.conversations:
            await conversation.hangup()
        phone.conversations.clear()
        phone.answer_after_s = None
        phone.rings = 0


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_kill_nine(
    stack: Local, service: ServiceProcess, people: dict[str, Phone], seed: int
) -> None:
    chance = random.Random(seed)
    began = datetime.now(UTC)
    await hang_up_all(people)
    dmitri = people["dmitri"]
    dmitri.answer_after_s = 0.1
    # The pair: caller1 talks to dmitri (queue 'desk').
    pair = await people["caller1"].dial("101")
    await pair.hears(5)
    await pair.press("1")
    agent = await dmitri.conversation(10)
    assert await agent.hears(5, hz=CALLER_HZ)
    assert await pair.hears(5, hz=AGENT_HZ["dmitri"])
    talking_since = time.time()
    # Two who wait for sales, where nobody picks up, and one in the menu.
    first = await people["caller2"].dial("100")
    second = await people["caller3"].dial("100")
    menu = await people["caller4"].dial("101")
    await asyncio.gather(first.hears(5), second.hears(5), menu.hears(5))
    waiting_since = time.time()
    await asyncio.sleep(chance.uniform(0.0, 1.5))  # the random instant; not a wait for anything
    await service.kill()
    killed_at = time.time()
    await service.start()
    back_at = time.time()
    # The menu plays again.
    assert await menu.until(
        lambda c: loudness(c.heard.since(back_at)) > 300 and len(c.heard.since(back_at)) > RATE, 8
    ), "the menu is heard again"
    await menu.press("4")
    # Nothing was missed by those who talk, nor by those who wait.
    for conversation, hz in ((pair, AGENT_HZ["dmitri"]), (agent, CALLER_HZ)):
        assert longest_gap_s(conversation.heard.since(talking_since), hz) <= GAP_S
    for conversation in (first, second):
        assert longest_silence_s(conversation.heard.since(waiting_since)) < 2.0
    # Now they are served, in order.
    for name in ("anna", "boris", "vera"):
        people[name].answer_after_s = 0.1
    agents_hz = [AGENT_HZ[name] for name in ("anna", "boris", "vera")]

    def served(conversation: Conversation) -> bool:
        recent = bytes(conversation.heard.pcm[-RATE:])
        return any(share(recent, hz) > 0.4 for hz in agents_hz)

    assert await first.until(served, 10)
    assert await second.until(served, 10)
    await agent.hangup()
    assert await pair.ended(10), "the flow goes on behind the talk and ends the call"
    await asyncio.gather(first.hangup(), second.hangup())
    assert await menu.ended(30)
    link = await link_to(stack)
    try:
        await _until_empty(link)
    finally:
        await link.close()
    rows = await _rows(stack, began, 4)
    by_caller = {row.caller_number[-1]: row for row in rows}
    assert {row.takeovers for row in rows} == {1}
    assert by_caller["1"].end_reason == CallEnd.COMPLETED_BY_AGENT
    assert by_caller["1"].agent == "dmitri"
    assert by_caller["1"].talk_s is not None
    assert by_caller["2"].end_reason == CallEnd.COMPLETED_BY_CALLER
    assert by_caller["3"].end_reason == CallEnd.COMPLETED_BY_CALLER
    for caller in ("2", "3"):
        wait_s = by_caller[caller].wait_s
        assert wait_s is not None
        assert wait_s > killed_at - waiting_since, "the elapsed wait is kept"
    assert (by_caller["2"].place_at_entry, by_caller["3"].place_at_entry) == (1, 2)
    assert "main" in by_caller["4"].path
    assert by_caller["4"].end_reason == CallEnd.FLOW_ENDED
    assert all(row.bad_recordings == 0 for row in rows), rows
    assert all(row.mix_path for row in rows)
    assert await reader.problems(stack.settings.database_url) == []


async def _until_empty(link: Link) -> None:
    async with asyncio.timeout(10):
        while await link.channels() or await link.bridges():
            await asyncio.sleep(0.05)


async def _rows(stack: Local, began: datetime, count: int) -> list[reader.CallRow]:
    """The calls once the other process has written them, mixes included."""
    rows: list[reader.CallRow] = []
    try:
        async with asyncio.timeout(15):
            while True:
                rows = await reader.calls(stack.settings.database_url, began)
                if len(rows) == count and all(row.ended_at and row.mix_path for row in rows):
                    return rows
                await asyncio.sleep(0.1)
    except TimeoutError:
        return rows


async def test_calls_that_ended_while_nobody_listened(
    stack: Local, service: ServiceProcess, people: dict[str, Phone]
) -> None:
    """Callers hang up while the service is down: their rows are closed, files are filed."""
    began = datetime.now(UTC)
    await hang_up_all(people)
    people["dmitri"].answer_after_s = 0.1
    pair = await people["caller1"].dial("101")
    await pair.hears(5)
    await pair.press("1")
    agent = await people["dmitri"].conversation(10)
    assert await agent.hears(5, hz=CALLER_HZ)
    waiting = await people["caller2"].dial("100")
    assert await waiting.hears(5)
    await service.kill()
    await asyncio.gather(pair.hangup(), waiting.hangup())
    await service.start()
    assert await agent.ended(10), "the agent is not left in an empty bridge"
    rows = await _rows(stack, began, 2)
    assert [row.end_reason for row in rows] == [CallEnd.LOST, CallEnd.LOST]
    assert all(row.bad_recordings == 0 for row in rows)
    assert await reader.problems(stack.settings.database_url) == []


async def test_an_agent_who_left_while_nobody_listened(
    stack: Local, service: ServiceProcess, people: dict[str, Phone]
) -> None:
    """The talk ended meanwhile: the caller goes on in the flow, not back into the queue."""
    began = datetime.now(UTC)
    await hang_up_all(people)
    people["dmitri"].answer_after_s = 0.1
    pair = await people["caller1"].dial("101")
    await pair.hears(5)
    await pair.press("1")
    agent = await people["dmitri"].conversation(10)
    assert await agent.hears(5, hz=CALLER_HZ)
    await service.kill()
    await agent.hangup()
    await service.start()
    assert await pair.ended(15)
    (row,) = await _rows(stack, began, 1)
    assert row.end_reason == CallEnd.COMPLETED_BY_AGENT
    assert row.path.endswith("thanks > bye")


async def test_callers_who_arrive_while_the_service_is_down_hear_the_apology(
    stack: Local, service: ServiceProcess, people: dict[str, Phone]
) -> None:
    await hang_up_all(people)
    await service.kill()
    call = await people["caller1"].dial("101", wait=False)
    try:
        assert await call.hears(8), "early media: an apology, not silence"
        assert await call.ended(20)
    finally:
        await service.start()
    await until(lambda: call.over, 5, "the call is over")
