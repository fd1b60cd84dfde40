"""Whether the files of recordings are where their rows say, and every file has a row.

Reads the folder of recordings and the table; changes neither. For `ivr-server reconcile`.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ivr_server.storage.reader import ReconcileProblem, fetch

FRESH_S = 60.0  # a younger file may be on its way to its row


async def files(dsn: str, folder: Path, *, hashes: bool = False) -> list[ReconcileProblem]:
    """What does not fit between the rows and the files of `folder`; raises SetupError.

    With `hashes` every file is read, which takes about a minute for 10 GB.
    """
    rows = {row["path"]: row for row in await fetch(dsn, "recordings_filed")}
    return await asyncio.to_thread(lambda: list(_compare(rows, folder, hashes)))


def _compare(
    rows: Mapping[str, Mapping[str, Any]], folder: Path, hashes: bool
) -> Iterator[ReconcileProblem]:
    for path, row in rows.items():
        if row["state"] not in ("ok", "short"):
            continue
        wrong = _wrong(folder / path, row, hashes)
        if wrong:
            yield ReconcileProblem(
                problem=wrong,
                call_id=row["call_id"],
                item_id=row["recording_id"],
                noticed_at=row["started_at"],
                detail=path,
            )
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if name in rows or not file.is_file():
            continue
        changed = file.stat().st_mtime
        if time.time() - changed > FRESH_S:
            yield ReconcileProblem(
                problem="file without a row",
                call_id="",
                item_id=name,
                noticed_at=datetime.fromtimestamp(changed, UTC),
                detail=f"{file.stat().st_size} bytes",
            )


def _wrong(file: Path, row: Mapping[str, Any], hashes: bool) -> str:
    """What is wrong with the file of one row; empty if nothing is."""
    try:
        size = file.stat().st_size
    except OSError:
        return "row without its file"
    if row["bytes"] is not None and size != row["bytes"]:
        return "file of another size than its row"
    if hashes and row["sha256"] is not None:
        with file.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != row["sha256"]:
                return "file of another content than its row"
    return ""
