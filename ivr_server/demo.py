"""`make demo`: real SIP calls against a real Asterisk, read back from SQL, and checked.

Four calls: self-service by keys, a talk with an agent, a caller who gives up waiting, and an agent
who does not answer so that the next one does. Every caller and agent sends a tone of its own, so
who heard whom, and what each file holds, is proven by frequency. Exit code 0 only if nothing is
missing.
"""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ivr_server import facts, local
from ivr_server.app import Service
from ivr_server.storage import reader
from ivr_server.testing.phones import Conversation, Phone, PhoneBox, loudness, share

NUMBER = "88005553535"
CALLER_HZ, AGENT_HZ = 440.0, {"anna": 880.0, "boris": 1250.0, "vera": 1600.0}
AT_MOST_S = 20.0

Check = Callable[[bool, str], None]


class Demonstration:
    """The phones, and the four calls they make."""

    def __init__(self, callers: list[Phone], agents: dict[str, Phone], check: Check) -> None:
        self._callers = callers
        self._agents = agents
        self._check = check

    async def self_service(self, caller: Phone) -> None:
        """(a) A caller asks about order 4711 by keys alone."""
        call = await caller.dial(NUMBER)
        self._check(await call.hears(AT_MOST_S), "(a) the caller hears the menu")
        await call.press("2")
        await call.hears(AT_MOST_S)
        await call.press("4711")
        self._check(await call.ended(AT_MOST_S), "(a) the call ends by itself after the answer")

    async def talk(self, caller: Phone) -> None:
        """(b) A caller is connected to an agent and both hear each other."""
        for agent in self._agents.values():
            agent.answer_after_s = 0.5
        call = await caller.dial(NUMBER)
        await call.hears(AT_MOST_S)
        await call.press("1")
        name, other = await self._picked_up()
        await self._both_ways("(b)", name, other, call)
        await other.hangup()
        self._check(await call.ended(AT_MOST_S), "(b) the call ends after the agent hung up")

    async def gives_up(self, caller: Phone) -> None:
        """(c) Nobody answers; the caller hears music, place and wait, and hangs up."""
        for agent in self._agents.values():
            agent.answer_after_s = None
        call = await caller.dial(NUMBER)
        await call.hears(AT_MOST_S)
        await call.press("0")
        before = call.heard.seconds()
        heard = await call.until(lambda c: c.heard.seconds() > before + 4.0, AT_MOST_S)
        sound = loudness(bytes(call.heard.pcm[-16000 * 3 :]))
        self._check(heard and sound > 50, "(c) the waiting caller hears music and announcements")
        await call.hangup()

    async def second_agent(self, caller: Phone) -> None:
        """(d) The first agent lets it ring; the second answers, the caller's place is kept."""
        rung = {name: phone.rings for name, phone in self._agents.items()}
        for agent in self._agents.values():
            agent.answer_after_s = None
        call = await caller.dial(NUMBER)
        await call.hears(AT_MOST_S)
        await call.press("0")
        first = await self._first_to_ring(rung)
        for name, phone in self._agents.items():
            phone.answer_after_s = None if name == first else 0.3
        agent_name, other = await self._picked_up()
        self._check(agent_name != first, "(d) another agent than the first answers")
        await self._both_ways("(d)", agent_name, other, call)
        await call.hangup()

    async def _both_ways(
        self, which: str, name: str, agent: Conversation, call: Conversation
    ) -> None:
        self._check(
            await agent.hears(AT_MOST_S, hz=CALLER_HZ), f"{which} agent {name} hears the caller"
        )
        self._check(
            await call.hears(AT_MOST_S, hz=AGENT_HZ[name]), f"{which} the caller hears agent {name}"
        )
        spoken = call.heard.seconds()
        await call.until(lambda c: c.heard.seconds() > spoken + 1.5, AT_MOST_S)

    async def _picked_up(self) -> tuple[str, Conversation]:
        waiting = {
            asyncio.ensure_future(phone.conversation(2 * AT_MOST_S)): name
            for name, phone in self._agents.items()
        }
        done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        task = done.pop()
        return waiting[task], task.result()

    async def _first_to_ring(self, rung: dict[str, int]) -> str:
        waiting = {
            asyncio.ensure_future(phone.rang(rung[name] + 1, AT_MOST_S)): name
            for name, phone in self._agents.items()
        }
        done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        return waiting[done.pop()]


async def run(folder: Path, out: Console) -> int:
    """Bring everything up, place the calls, print and check them. 0 = nothing is missing."""
    findings: list[tuple[bool, str]] = []

    def check(good: bool, what: str) -> None:
        findings.append((good, what))
        out.print(("[green]yes[/green] " if good else "[red]NO [/red] ") + what, highlight=False)

    machine = await local.up(folder, lambda line: out.print(line, highlight=False))
    try:
        service = Service(machine.settings, machine.plans, machine.speech)
        ready = asyncio.Event()
        serving = asyncio.create_task(service.run(ready.set))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            await serving  # it raises what went wrong
        began = datetime.now(UTC)
        async with PhoneBox() as box:
            secret, sip = machine.instance.secrets.account, machine.instance.ports.sip
            callers = [
                await box.phone(name, secret(name), sip, tone_hz=CALLER_HZ)
                for name in list(machine.plans.site.phones)[:4]
            ]
            agents = {
                name: await box.phone(name, secret(name), sip, tone_hz=hz)
                for name, hz in AGENT_HZ.items()
            }
            show = Demonstration(callers, agents, check)
            plays: list[tuple[str, Callable[[Phone], Awaitable[None]]]] = [
                ("(a) self-service by keys", show.self_service),
                ("(b) a talk with an agent", show.talk),
                ("(c) the caller gives up waiting", show.gives_up),
                ("(d) the first agent does not answer", show.second_agent),
            ]
            for caller, (title, play) in zip(callers, plays, strict=True):
                out.print(f"[bold]{title}[/bold]", highlight=False)
                await play(caller)
            async with asyncio.timeout(AT_MOST_S):
                while service.calls:
                    await asyncio.wait(service.calls.values())
        await service.archive.drain()
        check(await service.writer.drain(AT_MOST_S), "everything in the journal is in Postgres")
        rows = await reader.calls(machine.settings.database_url, began)
        _show(rows, out)
        _examine(rows, machine.settings.recordings, check)
        for problem in await reader.problems(machine.settings.database_url):
            check(False, f"{problem.problem}: {problem.item_id} {problem.detail or ''}")
        left = await service.link.channels()
        check(not left and not await service.link.bridges(), "no channel or bridge is left over")
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    finally:
        await machine.down()
    missing = [what for good, what in findings if not good]
    verdict = "[red]missing: " + "; ".join(missing) if missing else "[green]all is there"
    out.print(f"{verdict}  (calls and files stay in {folder})", highlight=False)
    return 1 if missing else 0


def _show(rows: list[reader.CallRow], out: Console) -> None:
    calls = Table(title="select * from cdr")
    for column in (
        "caller",
        "path",
        "queue",
        "wait s",
        "rings",
        "agent",
        "talk s",
        "end",
        "total s",
    ):
        calls.add_column(column, overflow="fold")
    for row in rows:
        calls.add_row(
            row.caller_number,
            row.path,
            row.queue or "",
            _number(row.wait_s),
            str(row.ring_attempts),
            row.agent or "",
            _number(row.talk_s),
            row.end_reason or "",
            _number(row.total_s),
        )
    out.print(calls)
    recordings = Table(title="recordings")
    for column in ("caller", "kind", "state", "starts at s", "seconds", "sha256", "file"):
        recordings.add_column(column, overflow="fold")
    for row in rows:
        for file in row.files:
            recordings.add_row(
                row.caller_number,
                file.kind,
                file.state,
                f"{file.offset_s:.2f}",
                _number(file.duration_s),
                (file.sha256 or "")[:12],
                file.path,
            )
    out.print(recordings)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _examine(rows: list[reader.CallRow], folder: Path, check: Check) -> None:
    """Whether the rows and files of the four calls are what they should be."""
    check(len(rows) == 4, f"four calls are on record ({len(rows)} found)")
    if len(rows) != 4:
        return
    ends = [
        facts.CallEnd.FLOW_ENDED,
        facts.CallEnd.COMPLETED_BY_AGENT,
        facts.CallEnd.ABANDONED,
        facts.CallEnd.COMPLETED_BY_CALLER,
    ]
    for letter, row, end, legs in zip("abcd", rows, ends, (1, 2, 1, 2), strict=True):
        check(row.end_reason == end, f"({letter}) its row says it ended as '{end}'")
        good = [
            file
            for file in row.files
            if file.state is facts.RecordingState.OK and (folder / file.path).exists()
        ]
        kinds = sorted(file.kind for file in good)
        check(
            kinds == ["leg"] * legs + ["mix"] and len(good) == len(row.files),
            f"({letter}) {legs} leg{'s' if legs > 1 else ''} and the mix are on disk and verified",
        )
        if row.agent:
            agent = AGENT_HZ[row.agent]
            for file in good:
                if file.kind == "mix":
                    continue
                mine, other = (CALLER_HZ, agent) if file.offset_s == 0.0 else (agent, CALLER_HZ)
                sound = _second_half(folder / file.path)
                right = share(sound, mine) > 0.5 and share(sound, other) < 0.01
                check(
                    right, f"({letter}) {file.path[-16:]} holds {mine:.0f} Hz, not {other:.0f} Hz"
                )
    check(rows[3].ring_attempts == 2, "(d) two phones rang")


def _second_half(path: Path) -> bytes:
    """The part of a leg in which the two talk."""
    with wave.open(str(path)) as file:
        count = file.getnframes()
        file.setpos(count // 2)
        return bytes(file.readframes(count // 2))
