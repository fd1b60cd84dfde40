"""One real Postgres for the session, a database of its own for each test."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from ivr_server.storage import embedded, migrations
from ivr_server.storage.embedded import EmbeddedPostgres
from ivr_server.storage.journal import Journal

from .place import free_port


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    # Not pytest's tmp_path: that is 0700 of root's, and most machines have no such need. The test
    # of the other case makes such a folder on purpose.
    folder = Path(tempfile.mkdtemp(prefix="ivr-pg-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def server(server_folder: Path) -> Iterator[EmbeddedPostgres]:
    running = embedded.start(server_folder / "pg", free_port(), secrets.token_hex(8), fast=True)
    migrations.up(of_database(running.dsn, "template_ivr"))
    yield running
    # A test may have stopped it and started it again.
    embedded.start(running.folder, running.port, running.password, fast=True).stop()


@pytest.fixture
async def dsn(server: EmbeddedPostgres) -> AsyncIterator[str]:
    """A fresh database with the schema."""
    name = f"test_{secrets.token_hex(6)}"
    admin = await asyncpg.connect(server.dsn)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE template_ivr")
    yield of_database(server.dsn, name)
    if admin.is_closed():
        admin = await asyncpg.connect(server.dsn)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def postgres(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal.open(tmp_path / "journal")
    yield opened
    opened.close()


def of_database(dsn: str, name: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))
