"""What the systemd units run: rendered once, Asterisk and the service as two processes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from ivr_server.facts import CallEnd
from ivr_server.instance import PROJECT, Instance, cache
from ivr_server.local import Local
from ivr_server.storage import reader
from ivr_server.testing.phones import PhoneBox

from .conftest import FLOWS, until
from .test_sentences import one_sentence, run


@asynccontextmanager
async def process(*words: str, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`ivr-server WORDS` until the end of the block; ended by its id."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("IVR_")}
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ivr_server", *words,
        env={**clean, "IVR_CACHE": str(cache()), "IVR_LOG": "error", **variables},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, cwd=PROJECT,
    )  # fmt: skip
    try:
        yield running
    finally:
        if running.returncode is None:
            running.terminate()
        await running.wait()


async def test_from_render_to_a_call(machine: Local, phone_box: PhoneBox, tmp_path: Path) -> None:
    folder = tmp_path / "ivr"
    url = machine.settings.database_url
    rendered = await asyncio.to_thread(
        lambda: run("asterisk", "render", "--folder", str(folder), "--flows", str(FLOWS),
                    "--sip", "127.0.0.2:15060", IVR_DATABASE_URL=url)
    )  # fmt: skip
    assert rendered.returncode == 0, rendered.stderr
    settings = folder / "service.env"
    assert settings.stat().st_mode & 0o077 == 0
    variables = dict(line.split("=", 1) for line in settings.read_text().splitlines())
    pjsip = (folder / "etc/asterisk/pjsip.conf").read_text()
    assert "bind = 127.0.0.2:15060" in pjsip
    # Loopback like all tests, and what a site adds by hand survives the next rendering.
    local = folder / "etc/asterisk/local/extensions.conf"
    local.write_text("[by-hand]\nexten => 1,1,Hangup()\n")
    again = await asyncio.to_thread(
        lambda: run("asterisk", "render", "--folder", str(folder), "--flows", str(FLOWS),
                    IVR_DATABASE_URL=url)
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    began = datetime.now(UTC)
    async with process("asterisk", "run", "--folder", str(folder)) as asterisk:
        # It becomes Asterisk and lets go of the folder.
        arguments = Path(f"/proc/{asterisk.pid}/cmdline")
        await until(lambda: b"asterisk.conf" in arguments.read_bytes(), 15, "it is Asterisk")
        instance = Instance(folder)
        try:
            await until(instance.asterisk.running, 15, "Asterisk runs under the id it wrote down")
            console = instance.asterisk.console
            await until(
                lambda: "fully booted" in console("core waitfullybooted"), 20, "it has booted"
            )
            assert "by-hand" in console("dialplan show by-hand")
            secret, sip = instance.secrets.account, instance.ports.sip
        finally:
            instance.close()
        reloaded = await asyncio.to_thread(
            lambda: run("asterisk", "reload", "--folder", str(folder))
        )
        assert reloaded.returncode == 0, reloaded.stderr
        async with process("run", **variables) as service:
            assert service.stdout is not None
            async with asyncio.timeout(20):
                assert await service.stdout.readline() == b"ready\n"
            phone = await phone_box.phone("caller9", secret("caller9"), sip)
            call = await phone.dial("101")
            assert await call.hears(5)
            await call.press("4")
            assert await call.ended(15)
        rows = await reader.calls(url, began)
    (row,) = [one for one in rows if one.caller_number == "+79160000009"]
    assert row.end_reason == CallEnd.FLOW_ENDED
    assert (folder / "recordings" / row.files[0].path).exists()


def test_what_was_never_rendered_is_not_run(tmp_path: Path) -> None:
    said = one_sentence(run("asterisk", "run", "--folder", str(tmp_path / "x")))
    assert "was never rendered: `ivr-server asterisk render --folder ...`" in said


def test_no_database_and_no_address(tmp_path: Path) -> None:
    said = one_sentence(run("asterisk", "render", "--folder", str(tmp_path)))
    assert "Set IVR_DATABASE_URL" in said
    said = one_sentence(
        run("asterisk", "render", "--folder", str(tmp_path), "--sip", "5060",
            IVR_DATABASE_URL="postgresql://x/y")
    )  # fmt: skip
    assert said == "error: --sip 5060 is no address: write host:port, such as 10.0.0.5:5060."
