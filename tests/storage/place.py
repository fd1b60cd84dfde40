"""Small things the storage tests share: a free port, rows, a deadline for a condition."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import asyncpg

from ivr_server.facts import Fact
from ivr_server.storage.rows import UPSERTS, rows


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def store(dsn: str, *told: Fact) -> None:
    """Write these facts as the writer would."""
    connection = await asyncpg.connect(dsn)
    for row in rows(told):
        await connection.execute(UPSERTS[type(row.fact)], *row.values)
    await connection.close()


async def until(condition: Callable[[], bool], deadline_s: float = 20.0) -> None:
    """Return as soon as the condition holds; TimeoutError at the deadline."""
    async with asyncio.timeout(deadline_s):
        # Nobody can set an Event for what happens in the server.
        while not condition():
            await asyncio.sleep(0.005)
