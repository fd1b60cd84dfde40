"""Port blocks: each instance gets 1,000 neighbouring ports of its own on loopback.

A block is held by a lock file for as long as the instance runs, so instances started at the same
moment do not collide. Blocks lie below the kernel's range of ephemeral ports.
"""

from __future__ import annotations

import fcntl
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from ivr_server.errors import SetupError

_FIRST, _SIZE, _BLOCKS = 12000, 1000, 20


@dataclass(frozen=True)
class PortBlock:
    """Ports of one instance. `lock` is an open file descriptor that keeps the block ours; -1 where
    nothing needs to keep it, because its own servers hold the ports."""

    base: int
    lock: int

    @property
    def sip(self) -> int:
        return self.base

    @property
    def ari(self) -> int:
        return self.base + 1

    @property
    def ami(self) -> int:
        return self.base + 2

    @property
    def agi(self) -> int:
        return self.base + 3

    @property
    def web(self) -> int:
        return self.base + 4

    @property
    def postgres(self) -> int:
        return self.base + 5

    @property
    def rtp(self) -> tuple[int, int]:
        return self.base + 100, self.base + _SIZE - 1

    def release(self) -> None:
        if self.lock >= 0:
            os.close(self.lock)


def take(folder: Path, preferred: int | None = None, *, in_use: bool = False) -> PortBlock:
    """The first free block, `preferred` (a base port) before others.

    `in_use`: the preferred block's ports may be open, because our own Asterisk or Postgres from a
    run before still holds them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bases = [_FIRST + _SIZE * index for index in range(_BLOCKS)]
    if preferred in bases:
        bases.remove(preferred)
        bases.insert(0, preferred)
    for base in bases:
        lock = os.open(folder / f"{base}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        if (base == preferred and in_use) or _free(base):
            return PortBlock(base, lock)
        os.close(lock)
    raise SetupError(
        f"All {_BLOCKS} port blocks from {_FIRST} up are taken: stop an instance and try again."
    )


def _free(base: int) -> bool:
    for offset in range(6):
        kind = socket.SOCK_DGRAM if offset == 0 else socket.SOCK_STREAM
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", base + offset))
            except OSError:
                return False
    return True
