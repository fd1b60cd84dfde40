"""The command line: `ivr-server COMMAND`. Tables for people, JSON for programs, exit codes for
scripts.

Each command is a few lines that call the module which does the work. Errors end in one sentence on
standard error and exit code 1; mistakes in YAML are printed as file:line:column.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from ivr_server import local, log
from ivr_server.app import Service
from ivr_server.config import settings
from ivr_server.errors import ConfigError, IvrError, SetupError, nearest
from ivr_server.flow import graph as graphs
from ivr_server.flow import schema as schemas
from ivr_server.flow.simulate import simulate as simulate_flow
from ivr_server.flows import SITE, examine_folder, load_plans
from ivr_server.instance import PROJECT, Instance, cache, installation
from ivr_server.speech.catalogue import PHRASES
from ivr_server.speech.speech import Speech
from ivr_server.speech.used import uses, utterances
from ivr_server.storage import audit, migrations, reader
from ivr_server.testing import flowcases
from ivr_server.testing.scripted import ScriptedCaller

app = typer.Typer(
    help="Telephony application server attached to Asterisk.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
prompts_app = typer.Typer(help="What must be recorded, and what is spoken until then.")
db_app = typer.Typer(help="The database of the local instance.")
asterisk_app = typer.Typer(help="The Asterisk of a production instance.")
app.add_typer(asterisk_app, name="asterisk")
app.add_typer(prompts_app, name="prompts")
app.add_typer(db_app, name="db")

# A pipe has no width of its own: tables keep one line per row there.
out = Console(width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, soft_wrap=True)

FLOWS, PROMPTS = PROJECT / "flows", PROJECT / "prompts"
LOCAL = PROJECT / ".ivr" / "local"


def main() -> None:
    """Run the command line; turns our errors into one sentence each."""
    log.configure()
    try:
        app()
    except ConfigError as error:
        for problem in error.problems:
            err.print(str(problem), markup=False, highlight=False)
        count = len(error.problems)
        err.print(f"{count} mistake{'s' if count != 1 else ''} found.")
        sys.exit(1)
    except IvrError as error:
        err.print(f"error: {error}", markup=False, highlight=False)
        sys.exit(1)


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run until done; Ctrl-C and SIGTERM cancel it, and that is a good end."""

    async def until_stopped() -> None:
        task = asyncio.current_task()
        assert task is not None
        for sign in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(sign, task.cancel)
        try:
            await coroutine
        except* SetupError as group:
            raise group.exceptions[0] from None

    with contextlib.suppress(asyncio.CancelledError):
        uvloop.run(until_stopped())


@app.command()
def run(
    *,
    local_stack: Annotated[
        bool, typer.Option("--local", help="Bring up Asterisk and Postgres on this machine first.")
    ] = False,
    folder: Annotated[Path, typer.Option(help="Folder of the local instance.")] = LOCAL,
) -> None:
    """Serve calls until Ctrl-C. Settings come from IVR_* variables, or from --local."""
    _run(_serve_local(folder) if local_stack else _serve())


async def _serve() -> None:
    given = settings()
    plans = load_plans(given.flows, given.prompts)
    speech = Speech(plans.catalogue, given.prompts, given.sounds, given.core_sounds)
    report = await asyncio.to_thread(speech.build, utterances(plans.flows))
    for failure in report.failed:
        err.print(f"warning: {failure}", markup=False, highlight=False)
    service = Service(given, plans, speech)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, service.reload_soon)
    await service.run(lambda: print("ready", flush=True))  # noqa: T201 - scripts wait for this line


async def _serve_local(folder: Path) -> None:
    machine = await local.up(folder, lambda line: err.print(line, highlight=False))
    try:
        service = Service(machine.settings, machine.plans, machine.speech)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, service.reload_soon)
        await service.run(lambda: _show(machine))
    finally:
        err.print("stopping")
        await machine.down()


def _show(machine: local.Local) -> None:
    """What a person needs to place the first call."""
    ports, secret = machine.instance.ports, machine.instance.secrets.account
    table = Table(title=f"SIP accounts (server 127.0.0.1, UDP port {ports.sip})")
    for column in ("account", "password", "for"):
        table.add_column(column, overflow="fold")
    site = machine.plans.site
    for name, phone in site.phones.items():
        table.add_row(name, secret(name), f"a caller, shown as {phone.number}")
    for name, agent in site.agents.items():
        table.add_row(name, secret(name), f"agent {agent.name}: {', '.join(agent.queues)}")
    out.print(table)
    for number, section in site.numbers.items():
        out.print(f"dial [bold]{number}[/bold]  flow {section.flow}", highlight=False)
    out.print(f"database  {machine.settings.database_url}", highlight=False, soft_wrap=True)
    out.print("calls     select * from cdr order by started_at desc;", highlight=False)
    out.print("Ctrl-C ends it.", highlight=False)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Folder of the demo's instance.")] = PROJECT
    / ".ivr"
    / "demo",
) -> None:
    """Place real SIP calls, show them as read back from SQL, and check that nothing is missing."""
    from ivr_server import demo as demonstration

    sys.exit(uvloop.run(demonstration.run(folder, out)))


@app.command()
def check(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Flow files or folders of them; all of flows/ if none is named."),
    ] = None,
    flows: Annotated[Path, typer.Option(help="Folder with site.yaml and the flows.")] = FLOWS,
    prompts: Annotated[Path, typer.Option(help="Folder with the prompts.")] = PROMPTS,
) -> None:
    """Validate site, flows and prompts; every mistake with its place; exit code 1 if there is
    one."""
    if not paths:
        plans = load_plans(flows, prompts)
        out.print(
            f"{len(plans.flows)} flows, {len(plans.site.numbers)} numbers, "
            f"{len(plans.site.queues)} queues: no mistakes.",
            highlight=False,
        )
        return
    others = (SITE, PHRASES)
    for path in paths:
        if path.name in others:
            raise IvrError(f"{path} is no flow: it is checked by `ivr-server check` without names.")
    drafts = [path for path in _yaml_files(paths, "*.yaml") if path.name not in others]
    named = {path.resolve() for path in drafts}
    problems = examine_folder(flows, prompts, drafts).problems
    mine = [one for one in problems if Path(one.file).resolve() in named]
    if mine:
        raise ConfigError(mine)
    beside = f" ({len(problems)} elsewhere: `ivr-server check`)" if problems else ""
    out.print(f"{len(drafts)} files: no mistakes{beside}.", highlight=False)


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option("-o", help="File to write.")] = None,
) -> None:
    """JSON Schema of flow files, for editors."""
    text = json.dumps(schemas.schema(), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise IvrError(f"{output} cannot be written: {error.strerror}.") from None


@app.command()
def graph(
    flow: Annotated[str, typer.Argument(help="Name of the flow.")],
    flows: Annotated[Path, typer.Option(help="Folder with the flows.")] = FLOWS,
    prompts: Annotated[Path, typer.Option(help="Folder with the prompts.")] = PROMPTS,
) -> None:
    """Draw a flow as Mermaid text."""
    sys.stdout.write(graphs.mermaid(_flow(load_plans(flows, prompts), flow)))


@app.command()
def simulate(
    flow: Annotated[str, typer.Argument(help="Name of the flow.")],
    keys: Annotated[
        str,
        typer.Option(
            help="What the caller does, separated by commas: keys ('2', '4711'), pauses ('5s'), "
            "'silence', 'hangup', or how a queue or dial ends ('no_agents')."
        ),
    ] = "",
    caller: Annotated[str, typer.Option(help="The caller's number.")] = "+70000000001",
    flows: Annotated[Path, typer.Option(help="Folder with the flows.")] = FLOWS,
    prompts: Annotated[Path, typer.Option(help="Folder with the prompts.")] = PROMPTS,
) -> None:
    """Walk a flow in the terminal with no phone."""
    plans = load_plans(flows, prompts)
    chosen = _flow(plans, flow)
    script = [step for step in keys.replace(",", " ").split() if step]
    try:
        scripted = ScriptedCaller(script, number=caller, language=chosen.language)
    except ValueError as error:
        raise IvrError(f"--keys: {error}") from None
    out.print(str(simulate_flow(plans.flows, chosen, scripted)), highlight=False, markup=False)


@app.command("test")
def test_flows(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files of cases; all of flows/tests/ if none.")
    ] = None,
    flows: Annotated[Path, typer.Option(help="Folder with the flows.")] = FLOWS,
    prompts: Annotated[Path, typer.Option(help="Folder with the prompts.")] = PROMPTS,
) -> None:
    """Run YAML flow tests with no phone; report coverage of nodes and outcomes."""
    plans = load_plans(flows, prompts)
    results = []
    for path in _yaml_files(paths or [flows / "tests"]):
        results += flowcases.run_file(path, plans.flows)
    failed = [result for result in results if result.failures]
    for result in failed:
        for failure in result.failures:
            where = f"{result.file}:{result.line}"
            err.print(f"{where}: {result.case.name}: {failure}", markup=False, highlight=False)
    covered = flowcases.coverage(results)
    out.print(
        f"{len(results) - len(failed)} passed, {len(failed)} failed; {covered}", highlight=False
    )
    if covered.missing:
        out.print("never come through: " + ", ".join(covered.missing), highlight=False)
    if failed:
        sys.exit(1)


@app.command()
def doctor() -> None:
    """What is wrong on this machine, and what to do about it.

    With the IVR_* variables of a service it also looks at Asterisk, the database and the prompts.
    """
    from ivr_server import doctor as physician

    given = settings() if "IVR_ARI_URL" in os.environ else None
    findings = asyncio.run(physician.examine(installation, given, LOCAL))
    table = Table("part", "state", "what to do")
    for finding in findings:
        state = "[green]ok[/green]" if finding.ok else "[red]wrong[/red]"
        table.add_row(finding.part, f"{state} {finding.found}", finding.remedy)
    out.print(table)
    if not all(finding.ok for finding in findings):
        sys.exit(1)


@app.command()
def reconcile(
    folder: Annotated[Path, typer.Option(help="Folder of the local instance.")] = LOCAL,
    hashes: Annotated[
        bool, typer.Option("--hash", help="Also read every file and compare its SHA-256.")
    ] = False,
) -> None:
    """Rows that do not add up, rows without their file, files without a row; exit code 1 if there
    are any."""
    url = _database(folder)
    recordings = Path(os.environ.get("IVR_RECORDINGS", folder / "recordings"))
    if not recordings.is_dir():
        raise SetupError(
            f"There are no recordings at {recordings}: name their folder in IVR_RECORDINGS, or the "
            "instance with --folder."
        )
    found = asyncio.run(reader.problems(url))
    found += asyncio.run(audit.files(url, recordings, hashes=hashes))
    table = Table("problem", "call", "item", "detail")
    for row in found:
        table.add_row(row.problem, row.call_id, row.item_id, row.detail or "")
    out.print(table if found else "Calls, legs, visits, offers and files add up.")
    if found:
        sys.exit(1)


@prompts_app.command("list")
def prompts_list(
    flows: Annotated[Path, typer.Option(help="Folder with the flows.")] = FLOWS,
    prompts: Annotated[Path, typer.Option(help="Folder with the prompts.")] = PROMPTS,
) -> None:
    """Everything callers hear, as CSV: what a voice actor has to record."""
    import csv

    plans = load_plans(flows, prompts)
    speech = Speech(plans.catalogue, prompts, cache() / "speech", installation().sounds)
    writer = csv.writer(sys.stdout)
    writer.writerow(["language", "file", "text", "note", "source", "used"])
    for row in speech.script(uses(plans.flows)):
        used = " ".join(row.used)
        writer.writerow([row.language, row.file, row.text, row.note, row.source, used])


@prompts_app.command("build")
def prompts_build(
    flows: Annotated[Path, typer.Option(help="Folder with the flows.")] = FLOWS,
    prompts: Annotated[Path, typer.Option(help="Folder with the prompts.")] = PROMPTS,
) -> None:
    """Render what has no recording yet."""
    plans = load_plans(flows, prompts)
    speech = Speech(plans.catalogue, prompts, cache() / "speech", installation().sounds)
    report = speech.build(utterances(plans.flows))
    out.print(str(report), highlight=False)
    if report.failed:
        raise IvrError(" ".join(report.failed))


@prompts_app.command("check")
def prompts_check(
    flows: Annotated[Path, typer.Option(help="Folder with the flows.")] = FLOWS,
    prompts: Annotated[Path, typer.Option(help="Folder with the prompts.")] = PROMPTS,
) -> None:
    """Verify that everything that can be said has a playable sound."""
    plans = load_plans(flows, prompts)
    speech = Speech(plans.catalogue, prompts, cache() / "speech", installation().sounds)
    if problems := speech.problems():
        raise ConfigError(problems)
    absent = [one.message for one in speech.missing(utterances(plans.flows), on_disk=True)]
    if absent := [*absent, *speech.unspoken()]:
        for sentence in absent:
            err.print(sentence, markup=False, highlight=False)
        raise IvrError(f"{len(absent)} things to be said have no sound.")
    out.print("Every prompt has a sound.")


INSTANCE = Annotated[Path, typer.Option(help="Folder of the instance, such as /var/lib/ivr.")]


@asterisk_app.command("render")
def asterisk_render(
    folder: INSTANCE,
    sip: Annotated[
        str, typer.Option(help="Where SIP listens, such as 10.0.0.5:5060; loopback if absent.")
    ] = "",
    flows: Annotated[Path, typer.Option(help="Folder with the flows.")] = FLOWS,
    prompts: Annotated[Path, typer.Option(help="Folder with the prompts.")] = PROMPTS,
) -> None:
    """Write Asterisk's configuration and the service's settings for an instance; again after every
    change of numbers, agents or phones. IVR_DATABASE_URL says where Postgres is."""
    url = os.environ.get("IVR_DATABASE_URL")
    if not url:
        raise SetupError(
            "Set IVR_DATABASE_URL to the database of this instance: "
            "postgresql://user:password@host:port/database."
        )
    if sip and not re.fullmatch(r"[0-9A-Za-z.-]+:[0-9]{1,5}", sip):
        raise IvrError(f"--sip {sip} is no address: write host:port, such as 10.0.0.5:5060.")
    made = local.render(
        folder,
        lambda line: err.print(line, highlight=False),
        flows=flows,
        prompts=prompts,
        database_url=url,
        sip_address=sip,
    )
    out.print(f"settings  {made}", highlight=False, soft_wrap=True)
    out.print(f"asterisk  {folder.resolve() / 'etc' / 'asterisk'}", highlight=False, soft_wrap=True)


@asterisk_app.command("reload")
def asterisk_reload(folder: INSTANCE) -> None:
    """Let the running Asterisk of this instance read its configuration again; calls go on."""
    instance = Instance(folder, standing=True)
    try:
        if not instance.asterisk.running():
            raise SetupError(f"No Asterisk of {folder} is running: start it, it reads all then.")
        instance.asterisk.reload()
    finally:
        instance.close()


@asterisk_app.command("run")
def asterisk_run(folder: INSTANCE) -> None:
    """Become the Asterisk of this instance, in the foreground: for systemd."""
    if not (folder / "etc" / "asterisk" / "asterisk.conf").exists():
        raise SetupError(f"{folder} was never rendered: `ivr-server asterisk render --folder ...`.")
    instance = Instance(folder, standing=True)
    command = instance.asterisk_command()
    instance.close()
    instance.run_folder()  # the control socket's: it went with the last Asterisk
    os.umask(0o077)  # what it writes is what people said
    os.execv(command[0], command)  # noqa: S606 - a fixed command


class MigrateAction(StrEnum):
    """What to do about the schema."""

    UP = "up"
    STATUS = "status"


@app.command("migrate")
def migrate(
    action: MigrateAction,
    folder: Annotated[Path, typer.Option(help="Folder of the local instance.")] = LOCAL,
) -> None:
    """Apply the database schema, or show what is applied."""
    url = _database(folder)
    state = migrations.up(url) if action is MigrateAction.UP else migrations.status(url)
    for name in state.applied:
        out.print(f"applied  {name}", highlight=False)
    for name in state.pending:
        out.print(f"pending  {name}", highlight=False)


@db_app.command("url")
def db_url(
    folder: Annotated[Path, typer.Option(help="Folder of the local instance.")] = LOCAL,
) -> None:
    """Where the database is."""
    print(_database(folder))  # noqa: T201 - for scripts


@db_app.command("shell")
def db_shell(
    folder: Annotated[Path, typer.Option(help="Folder of the local instance.")] = LOCAL,
) -> None:
    """psql on the database."""
    from ivr_server.storage import embedded

    psql = embedded.binaries() / "psql"
    url = urlsplit(_database(folder))
    place = url._replace(netloc=url.netloc.replace(f":{url.password}@", "@")).geturl()
    # Not as an argument: those can be read by everybody on the machine.
    os.execve(  # noqa: S606
        psql, [str(psql), place], {**os.environ, "PGPASSWORD": unquote(url.password or "")}
    )


def _database(folder: Path) -> str:
    url = os.environ.get("IVR_DATABASE_URL")
    if url:
        return url
    file = folder / "database-url"
    if not file.exists():
        raise SetupError("No local instance has run here: set IVR_DATABASE_URL, or `make run`.")
    return file.read_text().strip()


def _yaml_files(paths: list[Path], inside: str = "**/*.yaml") -> list[Path]:
    """The files meant by paths to files and folders. Raises IvrError where there are none."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.glob(inside)) if path.is_dir() else [path]
    if not found:
        raise IvrError(f"There is no .yaml file in {', '.join(map(str, paths))}.")
    return found


def _flow(plans: Any, name: str) -> Any:
    if name not in plans.flows:
        raise IvrError(f"There is no flow '{name}': {nearest(name, plans.flows)}")
    return plans.flows[name]
