"""New flows under running calls: each call ends on the version it began with."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ivr_server.errors import ConfigError, SetupError
from ivr_server.local import Local
from ivr_server.testing.phones import Phone

from .conftest import FLOWS, Serving, attached, until


@dataclass
class Edited(Serving):
    """A service whose flows lie in a folder of the test's own."""

    flows: Path

    def edit(self, name: str, old: str, new: str) -> None:
        file = self.flows / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))


@pytest.fixture
async def edited(machine: Local, tmp_path: Path) -> AsyncIterator[Edited]:
    flows = tmp_path / "flows"
    shutil.copytree(FLOWS, flows)
    async with attached(replace(machine.settings, flows=flows), machine) as service:
        yield Edited(service, machine, datetime.now(UTC), flows)


async def test_a_call_ends_on_the_version_it_began_with(
    edited: Edited, phones: dict[str, Phone]
) -> None:
    before = await phones["caller1"].dial("101")
    assert await before.hears(5)
    edited.edit("menus.yaml", '"4": loud', '"4": news')
    edited.edit(
        "menus.yaml",
        "  bye: {type: hangup}",
        "  news: {type: say, text: News., next: bye}\n  bye: {type: hangup}",
    )
    # A menu may lead nowhere else: "loud" is still reached by the dial node.
    await edited.service.reload()
    after = await phones["caller2"].dial("101")
    assert await after.hears(5)
    for call in (before, after):
        await call.press("4")
        assert await call.ended(15)
    old, new = await edited.settled()
    assert (old.path, new.path) == ("main(4) > loud > bye", "main(4) > news > bye")
    assert old.flow_version != new.flow_version


async def test_a_mistake_changes_nothing_and_is_reported(
    edited: Edited, phones: dict[str, Phone]
) -> None:
    edited.edit("menus.yaml", "prompt: connecting", "prompt: conecting")
    with pytest.raises(ConfigError, match="no prompt 'conecting'"):
        await edited.service.reload()
    edited.service.reload_soon()
    await until(lambda: bool(edited.service.health().trouble), 5, "health says so")
    assert "menus.yaml:" in edited.service.health().trouble
    call = await phones["caller1"].dial("101")
    assert await call.hears(5)
    await call.press("4")
    assert await call.ended(15)
    edited.edit("menus.yaml", "prompt: conecting", "prompt: connecting")
    edited.service.reload_soon()
    await until(lambda: not edited.service.health().trouble, 5, "all is well again")
    (row,) = await edited.settled()
    assert row.path == "main(4) > loud > bye"


async def test_queues_and_agents_are_not_half_taken_up(edited: Edited) -> None:
    edited.edit("site.yaml", "capacity: 1", "capacity: 2")
    with pytest.raises(SetupError, match="restart it"):
        await edited.service.reload()


async def test_fifty_reloads_under_live_calls(edited: Edited, phones: dict[str, Phone]) -> None:
    """Five callers in the menu and in a queue, two versions in turn: nobody notices."""
    calls = [await phones[f"caller{number}"].dial("101") for number in range(1, 6)]
    assert all([await call.hears(5) for call in calls])
    await calls[0].press("1")
    await until(lambda: len(edited.service.room.waiting()) == 1, 5, "one waits")
    for turn in range(50):
        edited.edit("menus.yaml", f"# Every kind{'.' * turn}", f"# Every kind{'.' * (turn + 1)}")
        await edited.service.reload()
    for call in calls[1:]:
        await call.press("4")
        assert await call.ended(15)
    assert not calls[0].over
    await calls[0].hangup()
    rows = await edited.settled()
    assert {row.flow_version for row in rows} == {rows[0].flow_version}
    assert [row.end_reason for row in rows] == ["abandoned", *["flow_ended"] * 4]


async def test_sighup_reloads(edited: Edited) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, edited.service.reload_soon)
    try:
        version = edited.service.plans.flows["menus"].version
        edited.edit("menus.yaml", "# Every kind", "# All kinds")
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: edited.service.plans.flows["menus"].version != version, 5, "taken up")
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
