"""Log lines of the storage, which must survive the very trouble they tell of.

When the disk is full, writing the log line about it fails too; that must reach neither a call nor
the writer's task.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

import structlog

_log = structlog.get_logger("ivr_server.storage")


def report(level: Literal["info", "warning", "error"], event: str, **fields: Any) -> None:
    """One log line, or none when its sink is out of order."""
    with suppress(OSError):
        getattr(_log, level)(event, **fields)
