"""One connection to Postgres, and what its errors mean to a person.

Knows SQLSTATEs and time limits, and alone imports asyncpg. Knows no table and no statement.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from ivr_server.errors import SetupError

CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 2.0

ERRORS: tuple[type[Exception], ...] = (
    SetupError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # TimeoutError is one
)

# SQLSTATE classes that blame the row: data exception, integrity violation, program limit exceeded.
_ROW_TO_BLAME = ("22", "23", "54")
_REMEDIES = {
    "28": "correct the user and the password in IVR_DATABASE_URL",
    "3D": "create it with `ivr-server migrate up`",
    "42501": "grant this user the tables",
    "42": "bring the schema up to date with `ivr-server migrate up`",
    "53100": "free some space on its disk",
    "53300": "raise max_connections or close other programs",
    "57P": "wait until it has started",
}


@asynccontextmanager
async def connect(dsn: str) -> AsyncIterator[Any]:
    """A connection, closed at the end. Raises one of ERRORS.

    The connection is Any: rows and statements are checked by tests against a real server.
    """
    try:
        connection = await asyncpg.connect(
            dsn,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings={"application_name": "ivr-server", "timezone": "UTC"},
        )
    except ValueError:
        raise not_an_address() from None
    try:
        yield connection
    except BaseException:
        connection.terminate()  # whatever it was doing, the server rolls it back
        raise
    await connection.close(timeout=CLOSE_TIMEOUT_S)


def remedy(error: Exception, dsn: str) -> str:
    """One sentence: what Postgres said, and what to do."""
    if isinstance(error, SetupError):
        return str(error)
    try:
        place = address(dsn)
    except SetupError:
        place = "the configured address"  # e.g. several hosts, which only asyncpg understands
    if isinstance(error, TimeoutError):
        return f"Postgres at {place} does not answer in time: see whether it is overloaded."
    if isinstance(error, OSError):
        return (
            f"Postgres at {place} cannot be reached ({error.strerror or error}): start it or "
            "correct IVR_DATABASE_URL."
        )
    state = getattr(error, "sqlstate", None) or ""
    said = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else repr(error)
    todo = next((text for code, text in _REMEDIES.items() if state.startswith(code)), "")
    return f"Postgres at {place} says: {said}: {todo or 'see its log'}."


def blames_row(error: Exception) -> bool:
    """Whether the other rows of a batch would be written without the one that is to blame."""
    if isinstance(error, asyncpg.InterfaceError):
        return isinstance(error, ValueError)  # asyncpg could not encode a value
    return str(getattr(error, "sqlstate", None) or "").startswith(_ROW_TO_BLAME)


def address(dsn: str) -> str:
    """Host, port and database of a DSN, without the password. Raises SetupError."""
    try:
        parts = urlsplit(dsn)
        place = f"{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"
    except ValueError:
        raise not_an_address() from None
    if "@" in place or parts.fragment or any(sign.isspace() for sign in dsn):
        raise not_an_address()  # a password that is not percent-encoded has been cut in two
    return place


def not_an_address() -> SetupError:
    """What to say of a DSN that cannot be read; it may hold a password and is not repeated."""
    return SetupError(
        "IVR_DATABASE_URL is no address of a Postgres: write "
        "postgresql://user:password@host:port/database, with special characters of the password "
        "percent-encoded (`/` is %2F, `#` is %23, `@` is %40, a space is %20)."
    )
