"""`make bench`: CPU per call beside peers that do the same on the same Asterisk, as tables.

Menu call: our service beside a bare aiohttp client with the same ARI operations. Queued and
answered call: our service (Asterisk and Python together) beside app_queue (Asterisk alone).
Subjects take turns, so that a noisy machine is noisy for all; the figure is the median of the
rounds.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.load import Sipp, cpu_s
from ivr_server import local
from ivr_server.asterisk import files
from ivr_server.flow.ports import Prompt
from ivr_server.instance import PROJECT, installation

FLOWS = Path(__file__).parent / "flows"
AGENTS_PORT_OFFSET = 20  # in the instance's port block
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
CALLS, PER_S, TALK_MS = 60, 10.0, 1500

out = Console(width=None if sys.stdout.isatty() else 140)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Median CPU milliseconds per call of one subject."""

    subject: str
    asterisk_ms: float
    python_ms: float

    @property
    def total_ms(self) -> float:
        return self.asterisk_ms + self.python_ms


@asynccontextmanager
async def process(*command: str, environment: dict[str, str]) -> AsyncIterator[int]:
    """A Python process that prints a line when it is ready; gives its id."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, *command,
        env={**os.environ, "IVR_LOG": "error", **environment},
        stdout=asyncio.subprocess.PIPE,
        cwd=PROJECT,
    )  # fmt: skip
    try:
        assert running.stdout is not None
        async with asyncio.timeout(30):
            await running.stdout.readline()
        yield running.pid
    finally:
        running.terminate()
        await running.wait()


async def measure(
    machine: local.Local, sipp: Sipp, number: str, python: int | None, talk_ms: int | None
) -> tuple[float, float]:
    """CPU milliseconds per call of Asterisk and of the Python process, in one round."""
    asterisk = machine.instance.asterisk.pid
    before = cpu_s(asterisk), cpu_s(python) if python else 0.0
    await sipp.calls(number, CALLS, PER_S, talk_ms=talk_ms)
    after = cpu_s(asterisk), cpu_s(python) if python else 0.0
    return (after[0] - before[0]) * 1000 / CALLS, (after[1] - before[1]) * 1000 / CALLS


async def run() -> None:
    """Bring everything up, take turns, print the tables, write bench.json."""
    with tempfile.TemporaryDirectory(prefix="ivr-bench-") as name:
        folder = Path(name)
        machine = await local.up(folder, out.print, flows=FLOWS, fast=True)
        try:
            await _run(machine, folder)
        finally:
            await machine.down()


async def prepared(machine: local.Local, folder: Path) -> tuple[Sipp, int]:
    """Asterisk started again with the benchmarks' site; sipp, and the port of its agents."""
    ports = machine.instance.ports
    agents_port = ports.base + AGENTS_PORT_OFFSET
    render(machine, agents_port)
    await machine.instance.asterisk.stop()
    await machine.instance.asterisk.start()
    return Sipp(installation(), folder, ports.sip), agents_port


async def _run(machine: local.Local, folder: Path) -> None:
    sipp, agents_port = await prepared(machine, folder)
    media = machine.speech.media("en", [Prompt("connecting")])[0]
    bare = {"BARE_URL": machine.settings.ari_url, "BARE_PASSWORD": machine.settings.ari_password}
    subjects: dict[str, list[tuple[float, float]]] = {}
    async with (
        sipp.agents(agents_port),
        process("-m", "ivr_server", "run", environment=machine.environment()) as ours,
        process("-m", "benchmarks.bare", media, environment=bare) as floor,
    ):
        turns: list[tuple[str, str, int | None, int | None]] = [
            ("menu: bare aiohttp", "bare", floor, None),
            ("menu: ivr-server", "200", ours, None),
            ("queue: app_queue", "app_queue", None, TALK_MS),
            ("queue: ivr-server", "300", ours, TALK_MS),
            ("queue: ivr-server, recording", "301", ours, TALK_MS),
        ]
        for subject, number, _, talk in turns:  # warm caches, first connections
            out.print(f"warming up  {subject}")
            await sipp.calls(number, 5, PER_S, talk_ms=talk)
        for round_number in range(1, ROUNDS + 1):
            for subject, number, python, talk in turns:
                out.print(f"round {round_number} of {ROUNDS}  {subject}")
                subjects.setdefault(subject, []).append(
                    await measure(machine, sipp, number, python, talk)
                )
    figures = [
        Figure(
            subject=subject,
            asterisk_ms=median(one[0] for one in rounds),
            python_ms=median(one[1] for one in rounds),
        )
        for subject, rounds in subjects.items()
    ]
    _show(figures)
    target = PROJECT / "bench.json"
    target.write_text(
        json.dumps(
            {
                "calls_per_round": CALLS,
                "calls_per_s": PER_S,
                "rounds": ROUNDS,
                "figures": [asdict(one) for one in figures],
                "all": subjects,
            },
            indent=2,
        )
    )
    out.print(f"written to {target.name}")


def render(machine: local.Local, agents_port: int) -> None:
    """The site again, with app_queue, the bare client's number, and phones without passwords."""
    site = machine.plans.site
    members = "\n".join(f"member => PJSIP/{name}" for name in site.agents)
    machine.instance.render(
        [
            files.Account(name="bench", secret="", number="100"),
            *(
                files.Account(
                    name=name,
                    secret="",
                    agent=True,
                    contact=f"sip:{name}@127.0.0.1:{agents_port}",
                )
                for name in site.agents
            ),
        ],
        local.numbers(machine.plans),
        modules=("app_queue.so",),
        queues=f"[bench]\nstrategy = leastrecent\nautofill = yes\ntimeout = 15\n{members}\n",
        extra_numbers=(
            "exten => bare,1,Stasis(bare)\n same => n,Hangup()\n"
            "exten => app_queue,1,Answer()\n same => n,Queue(bench)\n same => n,Hangup()\n"
        ),
    )


def _show(figures: list[Figure]) -> None:
    by_name = {figure.subject: figure for figure in figures}
    table = Table(title=f"CPU per call, median of {ROUNDS} rounds of {CALLS} calls, {PER_S:.0f}/s")
    for column in ("subject", "Asterisk ms", "Python ms", "together ms", "beside its peer"):
        table.add_column(column, justify="left" if column == "subject" else "right")
    for figure in figures:
        if figure.subject.startswith("menu"):
            peer = by_name["menu: bare aiohttp"]
            ratio = f"{figure.python_ms / peer.python_ms:.2f} x (Python)"
        else:
            peer = by_name["queue: app_queue"]
            ratio = f"{figure.total_ms / peer.total_ms:.2f} x (together)"
        table.add_row(
            figure.subject,
            f"{figure.asterisk_ms:.2f}",
            f"{figure.python_ms:.2f}",
            f"{figure.total_ms:.2f}",
            "1" if peer is figure else ratio,
        )
    out.print(table)


if __name__ == "__main__":
    uvloop.run(run())
