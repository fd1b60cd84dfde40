"""Small things the storage tests share: a free port, a deadline for a condition."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def until(condition: Callable[[], bool], deadline_s: float = 20.0) -> None:
    """Return as soon as the condition holds; TimeoutError at the deadline."""
    async with asyncio.timeout(deadline_s):
        # Nobody can set an Event for what happens in the server.
        while not condition():
            await asyncio.sleep(0.005)
