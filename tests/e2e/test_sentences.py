"""What a person reads when something is wrong: one sentence each, with the remedy."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import wave
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


def test_a_schema_that_cannot_be_written(tmp_path: Path) -> None:
    said = one_sentence(run("schema", "-o", str(tmp_path)))
    assert said == f"error: {tmp_path} cannot be written: Is a directory."


def test_a_folder_without_flow_tests(tmp_path: Path) -> None:
    said = one_sentence(run("test", str(tmp_path)))
    assert said == f"error: There is no .yaml file in {tmp_path}."


@pytest.mark.parametrize("file", ["flows/site.yaml", "prompts/en/phrases.yaml"])
def test_what_is_no_flow_is_not_checked_as_one(file: str) -> None:
    said = one_sentence(run("check", file))
    assert said == f"error: {file} is no flow: it is checked by `ivr-server check` without names."


def test_a_draft_is_checked_though_a_colleague_has_a_mistake(tmp_path: Path) -> None:
    flows = tmp_path / "flows"
    shutil.copytree(PROJECT / "flows", flows)
    (flows / "colleague.yaml").write_text("flow: colleague\n")
    draft = tmp_path / "draft.yaml"
    text = "flow: draft\nlanguage: en\nstart: a\nnodes:\n  a: {type: play, prompt: PROMPT}\n"
    draft.write_text(text.replace("PROMPT", "welcom"))
    done = run("check", "--flows", str(flows), str(draft))
    assert done.stderr.splitlines() == [
        f"{draft}:5:27: no prompt 'welcom' in the language 'en': did you mean 'welcome'?",
        "1 mistake found.",
    ]
    draft.write_text(text.replace("PROMPT", "welcome"))
    done = run("check", "--flows", str(flows), str(draft))
    assert done.returncode == 0
    assert "1 files: no mistakes (" in done.stdout


def test_a_folder_of_flows_is_checked_without_what_is_no_flow_in_it() -> None:
    done = run("check", "flows")
    assert (done.returncode, done.stderr) == (0, "")


def test_reconcile_needs_to_know_the_files(machine: Local, tmp_path: Path) -> None:
    said = one_sentence(
        run("reconcile", "--folder", str(tmp_path), IVR_DATABASE_URL=machine.settings.database_url)
    )
    assert "name their folder in IVR_RECORDINGS, or the instance with --folder" in said


def test_a_number_of_a_flow_that_cannot_be_read_is_no_second_mistake(tmp_path: Path) -> None:
    flows = tmp_path / "flows"
    shutil.copytree(PROJECT / "flows", flows)
    (flows / "demo.yaml").write_text("flow:\tdemo\n\tlanguage: ru\n")
    done = run("check", "--flows", str(flows))
    assert len(done.stderr.splitlines()) == 2, done.stderr
    assert "demo.yaml:1:" in done.stderr or "demo.yaml:2:" in done.stderr


def test_the_sites_own_prompts_and_languages_are_looked_up(tmp_path: Path) -> None:
    flows = tmp_path / "flows"
    shutil.copytree(PROJECT / "flows", flows)
    site = (flows / "site.yaml").read_text()
    site = site.replace("welcome: queue_welcome", "welcome: queue_welcom", 1)
    site = site.replace("{flow: demo}", "{flow: demo, language: fa}")
    site = site.replace('"08005553535"', '"0800555x535"')
    (flows / "site.yaml").write_text(site)
    done = run("check", "--flows", str(flows))
    for said in (
        "no prompt 'queue_welcom' in the language 'en': did you mean 'queue_welcome'?",
        "no prompts in the language 'fa': valid: en, ru",
        "'0800555x535' is no number: digits, '*' and '#', up to 30, maybe a '+'",
    ):
        assert said in done.stderr, done.stderr


def test_a_recorded_digit_that_asterisk_cannot_play(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts"
    shutil.copytree(PROJECT / "prompts", prompts)
    with wave.open(str(prompts / "en" / "digit-1.wav"), "wb") as file:
        file.setparams((2, 2, 44100, 0, "NONE", ""))
        file.writeframes(bytes(400))
    done = run("prompts", "check", "--prompts", str(prompts))
    assert done.returncode == 1
    assert "is 44100 Hz with 2 channel(s), Asterisk needs 8000 Hz mono" in done.stderr


async def test_the_doctor_looks_at_the_service(machine: Local, closed_port: int) -> None:
    well = await asyncio.to_thread(lambda: run("doctor", **machine.environment()))
    assert well.returncode == 0, well.stdout + well.stderr
    for part in ("ari", "ami", "postgres", "flows", "disk of recordings", "clock"):
        assert part in well.stdout
    ill = await asyncio.to_thread(
        lambda: run(
            "doctor",
            **machine.environment()
            | {
                "IVR_DATABASE_URL": f"postgresql://ivr:secret@127.0.0.1:{closed_port}/ivr",
                "IVR_ARI_PASSWORD": "wrong",
            },
        )
    )
    assert ill.returncode == 1
    said = " ".join(ill.stdout.replace("│", " ").split())
    assert "start Postgres or correct IVR_DATABASE_URL" in said
    assert "check the password in ari.conf" in said
    assert "secret" not in said.replace("the secret in", "")


async def test_health_is_503_without_asterisk() -> None:
    import aiohttp

    state = health.Health(
        asterisk_connected=False,
        calls=0,
        waiting=0,
        agents_ready=0,
        journal_lag=0,
        postgres_connected=True,
        events={},
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
