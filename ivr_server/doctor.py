"""`ivr-server doctor`: what is wrong on this machine, and what to do about it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ivr_server.asterisk.process import Installation
from ivr_server.audio.ffmpeg import find_ffmpeg
from ivr_server.errors import IvrError
from ivr_server.storage import embedded

ROOM_BYTES = 2 * 2**30
NEEDED_MODULES = (
    "app_stasis",
    "res_ari_channels",
    "app_mixmonitor",
    "chan_pjsip",
    "res_musiconhold",
)


@dataclass(frozen=True)
class Finding:
    """One part of the machine and how it is."""

    part: str
    ok: bool
    found: str
    remedy: str = ""


async def examine(installation: Callable[[], Installation], folder: Path) -> list[Finding]:
    """Look at everything a service needs. Never raises: what cannot be looked at is a finding."""
    return [
        _asterisk(installation),
        _modules(installation),
        _postgres(),
        _ffmpeg(),
        _disk(folder),
    ]


def _asterisk(installation: Callable[[], Installation]) -> Finding:
    try:
        major, minor = installation().version()
    except (IvrError, OSError) as error:
        return Finding("asterisk", False, "", str(error))
    good = (major, minor) >= (22, 10) or (major == 20 and minor >= 20)
    remedy = "" if good else "Releases before 22.10 and 20.20 deadlock under ARI load: upgrade."
    return Finding("asterisk", good, f"{major}.{minor}", remedy)


def _modules(installation: Callable[[], Installation]) -> Finding:
    try:
        folder = installation().modules
    except (IvrError, OSError) as error:
        return Finding("modules", False, "", str(error))
    absent = [name for name in NEEDED_MODULES if not (folder / f"{name}.so").exists()]
    if absent:
        return Finding("modules", False, "missing " + ", ".join(absent), "Run `make setup` again.")
    return Finding("modules", True, str(len(NEEDED_MODULES)))


def _postgres() -> Finding:
    try:
        return Finding("postgres", True, str(embedded.binaries()))
    except IvrError as error:
        return Finding("postgres", False, "", str(error))


def _ffmpeg() -> Finding:
    try:
        return Finding("ffmpeg", True, str(find_ffmpeg()))
    except IvrError as error:
        return Finding("ffmpeg", False, "", str(error))


def _disk(folder: Path) -> Finding:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    found = f"{free / 2**30:.1f} GiB free"
    if free < ROOM_BYTES:
        return Finding("disk", False, found, f"Free some space on the disk that holds {there}.")
    return Finding("disk", True, found)
