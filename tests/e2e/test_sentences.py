"""What a person reads when something is wrong: one sentence each, with the remedy."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ivr_server import ports
from ivr_server.errors import SetupError
from ivr_server.instance import PROJECT, cache
from ivr_server.local import Local
from ivr_server.web import health


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`python -m ivr_server WORDS`, to its end."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("IVR_")}
    return subprocess.run(
        [sys.executable, "-m", "ivr_server", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**clean, "IVR_CACHE": str(cache()), "IVR_LOG": "error", **variables},
        cwd=PROJECT,
    )


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The single line on standard error of a command that failed."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of which nobody listens, held so that nobody begins to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_asterisk_is_not_running(machine: Local, tmp_path: Path, closed_port: int) -> None:
    variables = machine.environment() | {
        "IVR_ARI_URL": f"http://127.0.0.1:{closed_port}",
        "IVR_STATE": str(tmp_path),
    }
    said = one_sentence(run("run", **variables))
    assert f"Asterisk does not answer at http://127.0.0.1:{closed_port}" in said
    assert "start it, or set IVR_ARI_URL" in said


def test_the_ari_password_is_wrong(machine: Local, tmp_path: Path) -> None:
    variables = machine.environment() | {
        "IVR_ARI_PASSWORD": "wrong",
        "IVR_STATE": str(tmp_path),
    }
    said = one_sentence(run("run", **variables))
    assert "refused ARI user 'ivr'" in said
    assert "check the password in ari.conf and IVR_ARI_PASSWORD" in said
    assert "wrong" not in said


def test_the_ami_password_is_wrong(machine: Local, tmp_path: Path) -> None:
    variables = machine.environment() | {
        "IVR_AMI_PASSWORD": "wrong",
        "IVR_STATE": str(tmp_path),
    }
    said = one_sentence(run("run", **variables))
    assert "AMI refused user 'ivr': check the secret in manager.conf" in said


def test_the_web_port_is_taken(machine: Local, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        variables = machine.environment() | {
            "IVR_WEB_PORT": str(port),
            "IVR_STATE": str(tmp_path),
        }
        said = one_sentence(run("run", **variables))
    assert f"Port {port} on 127.0.0.1 is taken" in said
    assert "set IVR_WEB_PORT" in said


async def test_postgres_is_down_at_start(
    machine: Local,
    tmp_path: Path,
    closed_port: int,
) -> None:
    """Calls are served all the same; health says in one sentence what is wrong."""
    import aiohttp

    port = closed_port + 1 if closed_port < 65000 else closed_port - 1
    variables = machine.environment() | {
        "IVR_DATABASE_URL": f"postgresql://ivr:secret@127.0.0.1:{closed_port}/ivr",
        "IVR_STATE": str(tmp_path),
        "IVR_WEB_PORT": str(port),
        "IVR_APP": "alone",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ivr_server", "run",
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=PROJECT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"ready\n"
            state: dict[str, object] = {"trouble": ""}
            while not state["trouble"]:
                async with (
                    aiohttp.ClientSession() as session,
                    session.get(f"http://127.0.0.1:{port}/health") as answer,
                ):
                    assert answer.status == 200, "calls do not need Postgres"
                    state = json.loads(await answer.text())
        assert state["asterisk_connected"] is True
        assert state["postgres_connected"] is False
        assert f"Postgres at 127.0.0.1:{closed_port}/ivr cannot be reached" in str(state["trouble"])
        assert "secret" not in str(state)
    finally:
        process.terminate()
        await process.wait()


def test_settings_are_missing() -> None:
    said = one_sentence(run("run"))
    assert "IVR_ARI_URL" in said
    assert "make run" in said


def test_a_variable_is_misspelt() -> None:
    said = one_sentence(run("run", IVR_ARI_PASWORD="x"))
    assert said == ("error: Unknown variable IVR_ARI_PASWORD: did you mean 'IVR_ARI_PASSWORD'?")


def test_a_port_is_no_port() -> None:
    said = one_sentence(run("run", IVR_WEB_PORT="eighty"))
    assert said == "error: IVR_WEB_PORT=eighty is no port: give a number from 1 to 65535."


def test_no_such_flow() -> None:
    assert one_sentence(run("graph", "dmeo")) == (
        "error: There is no flow 'dmeo': did you mean 'demo'?"
    )


def test_no_local_instance(tmp_path: Path) -> None:
    said = one_sentence(run("db", "url", "--folder", str(tmp_path)))
    assert "set IVR_DATABASE_URL, or `make run`" in said


def test_every_mistake_of_site_flow_and_prompts_in_one_run(tmp_path: Path) -> None:
    flows, prompts = tmp_path / "flows", tmp_path / "prompts" / "en"
    flows.mkdir()
    prompts.mkdir(parents=True)
    (flows / "site.yaml").write_text(
        'site: x\nnumbers:\n  "100": {flow: nowhere}\nqueues:\n  sales: {strategie: longest_idle}\n'
        "agents:\n  anna: {queues: [sale]}\n"
    )
    (flows / "a.yaml").write_text("flow: a\nlanguage: en\nstart: x\nnodes:\n  y: {type: hangpu}\n")
    (prompts / "phrases.yaml").write_text("welcome: {txt: hello}\n")
    done = run("check", "--flows", str(flows), "--prompts", str(tmp_path / "prompts"))
    assert done.returncode == 1
    for place in (
        "site.yaml:5:11: ",
        "a.yaml:3:8: ",
        "a.yaml:5:13: ",
        "phrases.yaml:1:11: ",
    ):
        assert place in done.stderr, done.stderr
    assert "did you mean 'strategy'?" in done.stderr
    assert "did you mean 'hangup'?" in done.stderr
    assert done.stderr.strip().splitlines()[-1].endswith("mistakes found.")


def test_all_port_blocks_are_taken(tmp_path: Path) -> None:
    taken: list[ports.PortBlock] = []

    def take_all() -> None:
        for _ in range(21):
            taken.append(ports.take(tmp_path))  # noqa: PERF401 - it raises in between

    try:
        with pytest.raises(SetupError, match="port blocks from 12000 up are taken: stop an"):
            take_all()
    finally:
        for block in taken:
            block.release()


async def test_health_is_503_without_asterisk() -> None:
    import aiohttp

    state = health.Health(
        asterisk_connected=False,
        calls=0,
        waiting=0,
        agents_ready=0,
        journal_lag=0,
        postgres_connected=True,
        trouble="",
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    runner = await health.serve("127.0.0.1", port, lambda: state)
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/health") as answer,
        ):
            assert answer.status == 503
    finally:
        await runner.cleanup()
