"""`python -m benchmarks.profile`: where the service's CPU time goes, by area of the code.

Samples the service from outside (py-spy) while sipp calls the same numbers as `make bench`. A
sample belongs to the innermost frame of ours on the stack; what a library does for it is counted
with it and shown beside it.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import uvloop
from rich.table import Table

from benchmarks.__main__ import FLOWS, PER_S, TALK_MS, out, prepared, process
from ivr_server import local

CALLS, RATE_HZ = 300, 1000
AREAS = {
    "ivr_server/asterisk/": "ARI: events, operations, legs",
    "ivr_server/storage/journal": "journal",
    "ivr_server/storage/lines": "journal",
    "ivr_server/storage/opencalls": "journal",
    "ivr_server/storage/recordings": "recordings",
    "ivr_server/storage/": "rows to Postgres",
    "ivr_server/flow/": "flow engine and nodes",
    "ivr_server/waiting/": "waiting room",
    "ivr_server/acd/": "waiting room",
    "ivr_server/call": "story of the call",
    "ivr_server/facts": "story of the call",
    "ivr_server/app": "story of the call",
    "ivr_server/speech/": "speech",
    "ivr_server/archive": "recordings",
    "ivr_server/audio/": "recordings",
}
LOOP = "event loop and sockets"
_PLACE = re.compile(r"\((\S+?)(?::\d+)?\)$")


def area(stack: list[str]) -> tuple[str, bool]:
    """The area a sample belongs to, and whether a library was at work."""
    for depth, frame in enumerate(reversed(stack)):
        place = _PLACE.search(frame)
        if place is None:
            continue
        for prefix, name in AREAS.items():
            if place[1].startswith(prefix):
                return name, depth > 0
    return LOOP, True


async def sample(pid: int, target: Path, seconds: float) -> asyncio.subprocess.Process:
    """py-spy on a process: only threads that hold the interpreter are counted."""
    return await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("py-spy")), "record", "--gil", "--function",
        "--pid", str(pid), "--rate", str(RATE_HZ), "--duration", str(int(seconds)),
        "--format", "raw", "--output", str(target),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


def show(title: str, raw: Path) -> None:
    """The samples of one run as a table."""
    whole: Counter[str] = Counter()
    library: Counter[str] = Counter()
    for line in raw.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        name, in_library = area(stack.split(";"))
        whole[name] += int(count)
        library[name] += int(count) * in_library
    total = sum(whole.values())
    table = Table(title=f"{title}: {total / RATE_HZ / CALLS * 1000:.1f} ms of Python per call")
    for column in ("area", "share", "in libraries"):
        table.add_column(column, justify="left" if column == "area" else "right")
    for name, samples in whole.most_common():
        table.add_row(name, f"{samples / total:.0%}", f"{library[name] / total:.0%}")
    out.print(table)


async def run() -> None:
    """Bring everything up, call, sample, print."""
    with tempfile.TemporaryDirectory(prefix="ivr-profile-") as name:
        folder = Path(name)
        machine = await local.up(folder, out.print, flows=FLOWS, fast=True)
        try:
            sipp, agents_port = await prepared(machine, folder)
            service = process("-m", "ivr_server", "run", environment=machine.environment())
            async with sipp.agents(agents_port), service as pid:
                for title, number, talk_ms in (
                    ("menu call", "200", None),
                    ("queued and answered call", "300", TALK_MS),
                ):
                    await sipp.calls(number, 20, PER_S, talk_ms=talk_ms)
                    raw = folder / f"{number}.raw"
                    spy = await sample(pid, raw, CALLS / PER_S + 2)
                    await sipp.calls(number, CALLS, PER_S, talk_ms=talk_ms)
                    await spy.wait()
                    show(title, raw)
        finally:
            await machine.down()


if __name__ == "__main__":
    uvloop.run(run())
