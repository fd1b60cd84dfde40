"""One private Asterisk and Postgres for the session, one SIP stack, and a service per test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ivr_server import local
from ivr_server.acd.agents import AgentState
from ivr_server.app import Service
from ivr_server.config import Settings
from ivr_server.local import Local
from ivr_server.storage import reader
from ivr_server.testing.phones import Phone, PhoneBox

FLOWS = Path(__file__).parent / "flows"
CALLER_HZ = 440.0
AGENT_HZ = {"anna": 880.0, "boris": 1250.0, "vera": 1600.0, "dmitri": 2100.0}


@pytest.fixture(scope="session")
async def machine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Local]:
    """Asterisk, Postgres, prompts: everything but the service.

    Asterisk lives in a zone that is not UTC: no time of ours may depend on it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Shanghai")
        up = await local.up(tmp_path_factory.mktemp("machine"), print, flows=FLOWS, fast=True)
    yield up
    await up.down()


@pytest.fixture(scope="session")
async def phone_box() -> AsyncIterator[PhoneBox]:
    """One SIP stack for the whole run: baresip allows no second one in a process."""
    async with PhoneBox() as box:
        yield box


@pytest.fixture(scope="session")
async def all_phones(machine: Local, phone_box: PhoneBox) -> dict[str, Phone]:
    return await registered(phone_box, machine, list(machine.plans.site.phones))


async def registered(box: PhoneBox, machine: Local, callers: list[str]) -> dict[str, Phone]:
    """These callers' phones and every agent's, registered, each with a tone of its own."""
    secret, sip = machine.instance.secrets.account, machine.instance.ports.sip
    names = dict.fromkeys(callers, CALLER_HZ) | AGENT_HZ
    return {
        name: await box.phone(name, secret(name), sip, tone_hz=hz) for name, hz in names.items()
    }


@pytest.fixture
async def phones(all_phones: dict[str, Phone]) -> AsyncIterator[dict[str, Phone]]:
    """Registered phones; agents let it ring until a test says otherwise."""
    for phone in all_phones.values():
        phone.answer_after_s, phone.reject, phone.rings = None, False, 0
        phone.conversations.clear()
    yield all_phones
    for phone in all_phones.values():
        for conversation in phone.conversations:
            await conversation.hangup()


@dataclass
class Serving:
    """A service that runs, and what it leaves behind."""

    service: Service
    machine: Local
    began: datetime

    async def settled(self, within_s: float = 15.0) -> list[reader.CallRow]:
        """The calls as read back from SQL, once all are over and written.

        Fails if anything is left over in Asterisk, an agent is stuck, or rows do not add up.
        """
        async with asyncio.timeout(within_s):
            while self.service.calls:
                await asyncio.wait(self.service.calls.values())
        await self.service.archive.drain()
        await until(self._agents_ready, within_s, "every agent is ready again")
        assert await self.service.writer.drain(within_s)
        assert await self.service.link.channels() == {}
        assert await self.service.link.bridges() == {}
        assert await reader.problems(self.machine.settings.database_url) == []
        return await reader.calls(self.machine.settings.database_url, self.began)

    def _agents_ready(self) -> bool:
        return all(agent.state is AgentState.READY for agent in self.service.room.agents())


async def until(condition: Callable[[], bool], within_s: float, what: str) -> None:
    """Look every 20 ms until the condition holds; fails with `what` after within_s."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"not within {within_s:.0f} s: {what}")


@asynccontextmanager
async def attached(settings: Settings, machine: Local) -> AsyncIterator[Service]:
    """A service with these settings, ready to take calls; stopped at the end."""
    service = Service(settings, machine.plans, machine.speech)
    ready = asyncio.Event()
    task = asyncio.create_task(service.run(ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    yield service
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def serving(machine: Local) -> AsyncIterator[Serving]:
    """A service attached to the session's Asterisk and Postgres."""
    async with attached(machine.settings, machine) as service:
        yield Serving(service, machine, datetime.now(UTC))
