"""Everything a service needs on one machine, brought up from nothing: for `make run`, demo and
tests.

Postgres (IVR_DATABASE_URL, or the embedded one), schema, speech, Asterisk's configuration,
Asterisk. What was started here is stopped here; what was found running is left running. The same
settings are handed to a service in this process or, as IVR_* variables, to one in another.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from ivr_server.asterisk import files
from ivr_server.config import Settings, Site
from ivr_server.errors import SetupError
from ivr_server.flow.ports import Prompt
from ivr_server.flows import Plans, load_plans
from ivr_server.instance import PROJECT, Instance, cache, installation
from ivr_server.speech.speech import Speech
from ivr_server.speech.used import utterances
from ivr_server.storage import embedded, migrations

Say = Callable[[str], None]

APOLOGY = "apology"


@dataclass(kw_only=True)
class Local:
    """A machine that is up: what a service can be run against."""

    instance: Instance
    settings: Settings
    plans: Plans
    speech: Speech
    postgres: embedded.EmbeddedPostgres | None
    started_asterisk: bool

    def environment(self) -> dict[str, str]:
        """The settings as variables for a service in another process."""
        return variables(self.settings)

    async def down(self) -> None:
        """Stop what was started by `up`."""
        if self.started_asterisk:
            await self.instance.asterisk.stop()
        if self.postgres is not None and not self.postgres.adopted:
            await asyncio.to_thread(self.postgres.stop)
        self.instance.close()


async def up(
    folder: Path,
    say: Say = lambda line: None,
    *,
    flows: Path = PROJECT / "flows",
    prompts: Path = PROJECT / "prompts",
    database_url: str | None = None,
    fast: bool = False,
) -> Local:
    """Bring everything up in this folder. `say` hears one line per step.

    `fast` gives up Postgres' safety against power cuts. Raises SetupError or ConfigError.
    """
    plans = load_plans(flows, prompts)
    instance = Instance(folder)
    undo = contextlib.AsyncExitStack()
    try:
        return await _up(instance, plans, say, flows, prompts, database_url, fast, undo)
    except BaseException:
        await undo.aclose()
        instance.close()
        raise


async def _up(
    instance: Instance,
    plans: Plans,
    say: Say,
    flows: Path,
    prompts: Path,
    database_url: str | None,
    fast: bool,
    undo: contextlib.AsyncExitStack,
) -> Local:
    postgres: embedded.EmbeddedPostgres | None = None
    url = database_url or os.environ.get("IVR_DATABASE_URL")
    if not url:
        say("Postgres: starting the embedded server")
        postgres = await asyncio.to_thread(
            lambda: embedded.start(
                instance.folder / "postgres",
                instance.ports.postgres,
                instance.secrets.postgres,
                fast=fast,
            )
        )
        url = postgres.dsn
        if not postgres.adopted:
            undo.push_async_callback(asyncio.to_thread, postgres.stop)
    database = instance.folder / "database-url"
    database.touch(mode=0o600)
    database.write_text(url + "\n")
    say("Postgres: schema")
    await asyncio.to_thread(migrations.up, url)
    say("Speech: rendering what has no recording yet")
    speech = Speech(plans.catalogue, prompts, cache() / "speech", instance.core_sounds)
    report = await asyncio.to_thread(speech.build, utterances(plans.flows))
    say(f"Speech: {report}")
    _lay_out_apologies(speech, plans, instance.sounds)
    say("Asterisk: starting")
    instance.render(accounts(plans.site, instance), numbers(plans))
    if not instance.asterisk.running():
        undo.push_async_callback(instance.asterisk.stop)
    started = await instance.asterisk.start()
    if not started:
        await asyncio.to_thread(instance.asterisk.reload)
        say(f"Asterisk: already running (pid {instance.asterisk.pid}), going on with it")
    settings = _settings(instance, url, flows, prompts, cache() / "speech")
    return Local(
        instance=instance,
        settings=settings,
        plans=plans,
        speech=speech,
        postgres=postgres,
        started_asterisk=started,
    )


def render(
    folder: Path,
    say: Say = lambda line: None,
    *,
    flows: Path,
    prompts: Path,
    database_url: str,
    sip_address: str = "",
) -> Path:
    """Write everything a production instance needs and start nothing; gives the file of settings.

    Asterisk's configuration (secrets are made once and kept), speech, and the IVR_* variables of
    the service. May be run again at any time. Raises SetupError or ConfigError.
    """
    plans = load_plans(flows, prompts)
    folder.mkdir(parents=True, exist_ok=True)
    speech = Speech(plans.catalogue, prompts, folder / "speech", installation().sounds)
    say("Speech: rendering what has no recording yet")
    say(f"Speech: {speech.build(utterances(plans.flows))}")
    instance = Instance(folder, standing=True)
    try:
        _lay_out_apologies(speech, plans, instance.sounds)
        instance.render(accounts(plans.site, instance), numbers(plans), sip_address=sip_address)
        settings = _settings(instance, database_url, flows, prompts, folder.resolve() / "speech")
    finally:
        instance.close()
    target = instance.folder / "service.env"
    target.unlink(missing_ok=True)
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.writelines(f"{name}={value}\n" for name, value in variables(settings).items())
    return target


def variables(settings: Settings) -> dict[str, str]:
    """The settings as variables of a process."""
    return {
        f"IVR_{field.name.upper()}": str(getattr(settings, field.name))
        for field in fields(Settings)
    }


def _settings(
    instance: Instance, database_url: str, flows: Path, prompts: Path, speech: Path
) -> Settings:
    return Settings(
        ari_url=instance.ari.url,
        ari_password=instance.secrets.ari,
        ami_port=instance.ports.ami,
        ami_password=instance.secrets.ami,
        database_url=database_url,
        flows=flows.resolve(),
        prompts=prompts.resolve(),
        state=instance.state,
        sounds=speech,
        recordings=instance.recordings,
        spool=instance.spool,
        core_sounds=instance.core_sounds,
        web_port=instance.ports.web,
    )


def accounts(site: Site, instance: Instance) -> list[files.Account]:
    """SIP accounts of the site: agents, and phones that call."""
    return [
        files.Account(
            name=agent.name,
            secret=instance.secrets.account(agent.name),
            agent=True,
            display=agent.display,
        )
        for agent in site.agent_settings()
    ] + [
        files.Account(
            name=name,
            secret=instance.secrets.account(name),
            number=phone.number,
            display=phone.name,
        )
        for name, phone in site.phones.items()
    ]


def numbers(plans: Plans) -> list[files.Number]:
    """Numbers of the site as the dialplan wants them."""
    return [
        files.Number(
            extension=extension,
            record=number.record,
            language=number.language or plans.flows[number.flow].language,
            fallback=number.fallback or "",
        )
        for extension, number in plans.site.numbers.items()
    ]


def _lay_out_apologies(speech: Speech, plans: Plans, folder: Path) -> None:
    """Copies of the apology under names that the dialplan can know ahead."""
    folder.mkdir(parents=True, exist_ok=True)
    for language in {number.language for number in numbers(plans)}:
        media = speech.media(language, [Prompt(APOLOGY)])
        if not media:
            raise SetupError(
                f"There is no prompt '{APOLOGY}' in '{language}': callers would hear nothing "
                f"while the service is down. Add it to prompts/{language}/phrases.yaml."
            )
        source = Path(media[0].removeprefix("sound:"))
        for file in source.parent.glob(f"{source.name}.*"):
            shutil.copy(file, folder / f"{APOLOGY}-{language}{file.suffix}")
