"""`ivr-server doctor`: what is wrong on this machine, and what to do about it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ivr_server.asterisk.ami import Ami
from ivr_server.asterisk.link import AriAddress, Link
from ivr_server.asterisk.process import Installation
from ivr_server.audio.ffmpeg import find_ffmpeg
from ivr_server.config import Settings
from ivr_server.errors import ConfigError, IvrError
from ivr_server.flows import load_plans
from ivr_server.speech.speech import Speech
from ivr_server.speech.used import utterances
from ivr_server.storage import embedded, migrations

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


async def examine(
    installation: Callable[[], Installation], settings: Settings | None, folder: Path
) -> list[Finding]:
    """Look at everything a service needs. Never raises: what cannot be looked at is a finding.

    `settings` of the service on this machine, None where there is none but local instances, which
    live in `folder`.
    """
    found = [_asterisk(installation), _modules(installation), _ffmpeg(), await _clock()]
    if settings is None:
        return [*found, _embedded_postgres(), _disk("disk", folder)]
    return [
        *found,
        await _ari(settings),
        await _ami(settings),
        await asyncio.to_thread(_database, settings),
        await asyncio.to_thread(_prompts, settings),
        *(
            _disk(f"disk of {name}", getattr(settings, name))
            for name in ("state", "recordings", "spool")
        ),
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


async def _ari(settings: Settings) -> Finding:
    link = Link(
        AriAddress(
            url=settings.ari_url,
            user=settings.ari_user,
            password=settings.ari_password,
            app=f"{settings.app}-doctor",  # not the service's own: that would take it over
        )
    )
    try:
        await link.open()
        return Finding("ari", True, f"{settings.ari_url}, {len(await link.channels())} channels")
    except IvrError as error:
        return Finding("ari", False, "", str(error))
    finally:
        await link.close()


async def _ami(settings: Settings) -> Finding:
    ami = Ami(settings.ami_host, settings.ami_port, settings.ami_user, settings.ami_password)
    try:
        await ami.check()
        return Finding("ami", True, f"{settings.ami_host}:{settings.ami_port}")
    except IvrError as error:
        return Finding("ami", False, "", str(error))
    finally:
        await ami.close()


def _database(settings: Settings) -> Finding:
    try:
        schema = migrations.status(settings.database_url)
    except IvrError as error:
        return Finding("postgres", False, "", str(error))
    if schema.pending:
        waits = ", ".join(schema.pending)
        return Finding("postgres", False, f"pending: {waits}", "Run `ivr-server migrate up`.")
    return Finding("postgres", True, f"schema of {schema.applied[-1]}")


def _prompts(settings: Settings) -> Finding:
    try:
        plans = load_plans(settings.flows, settings.prompts)
        speech = Speech(plans.catalogue, settings.prompts, settings.sounds, settings.core_sounds)
        wrong = [str(one) for one in speech.problems()]
        wrong += [one.message for one in speech.missing(utterances(plans.flows), on_disk=True)]
    except ConfigError as error:
        return Finding(
            "flows", False, f"{len(error.problems)} mistakes", "See them with `ivr-server check`."
        )
    except IvrError as error:
        return Finding("flows", False, "", str(error))
    if wrong:
        return Finding("prompts", False, f"{len(wrong)} without a sound", wrong[0])
    return Finding("flows", True, f"{len(plans.flows)} flows, every prompt has a sound")


async def _clock() -> Finding:
    """Whether the clock is kept by somebody: rows of several machines are compared."""
    if shutil.which("timedatectl") is None:
        return Finding("clock", True, f"{datetime.now(UTC):%F %T} UTC; who keeps it is not known")
    asked = await asyncio.create_subprocess_exec(
        "timedatectl", "show", "--property=NTPSynchronized", "--value",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    said, _ = await asked.communicate()
    if said.strip() == b"no":
        return Finding("clock", False, "not synchronised", "Start chrony or systemd-timesyncd.")
    return Finding("clock", True, f"{datetime.now(UTC):%F %T} UTC")


def _embedded_postgres() -> Finding:
    try:
        return Finding("postgres", True, str(embedded.binaries()))
    except IvrError as error:
        return Finding("postgres", False, "", str(error))


def _ffmpeg() -> Finding:
    try:
        return Finding("ffmpeg", True, str(find_ffmpeg()))
    except IvrError as error:
        return Finding("ffmpeg", False, "", str(error))


def _disk(part: str, folder: Path) -> Finding:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    found = f"{free / 2**30:.1f} GiB free"
    if free < ROOM_BYTES:
        return Finding(part, False, found, f"Free some space on the disk that holds {there}.")
    return Finding(part, True, found)
