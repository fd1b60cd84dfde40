"""Reads back what ops would read: finished calls from the view `cdr`, and what does not add up.

For the demo, `ivr-server db` and reports. Knows the columns of the views and nothing of calls in
progress.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ivr_server.errors import SetupError
from ivr_server.facts import Recording, RecordingState
from ivr_server.storage.dsn import ERRORS, connect, remedy
from ivr_server.storage.queries import QUERIES


@dataclass(frozen=True, kw_only=True)
class CallRow:
    """One row of the view `cdr`; `files` are its recordings, the mix last."""

    call_id: str
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    caller_number: str
    caller_name: str
    dialled: str
    flow: str
    flow_version: str
    language: str
    path: str  # greet > main(1) > sales
    queue: str | None
    place_at_entry: int | None
    wait_s: float | None
    queue_outcome: str | None
    ring_attempts: int
    agent: str | None
    talk_s: float | None
    end_reason: str | None
    total_s: float | None
    billable_s: float | None
    recordings: int
    bad_recordings: int
    mix_path: str | None
    takeovers: int
    error: str
    files: tuple[Recording, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReconcileProblem:
    """One row of the view `reconcile_problems`."""

    problem: str
    call_id: str
    item_id: str
    noticed_at: datetime | None
    detail: str | None


async def calls(dsn: str, since: datetime) -> list[CallRow]:
    """The calls that came in at or after `since`, oldest first. Raises SetupError."""
    found = await fetch(dsn, "calls_since", since)
    listed = await fetch(dsn, "recordings_of", [row["call_id"] for row in found])
    files: dict[str, list[Recording]] = defaultdict(list)
    for row in listed:
        recording = Recording(**{**row, "state": RecordingState(row["state"])})
        files[recording.call_id].append(recording)
    return [CallRow(**row, files=tuple(files[row["call_id"]])) for row in found]


async def problems(dsn: str) -> list[ReconcileProblem]:
    """What does not add up, newest first; empty when all is well. Raises SetupError."""
    return [ReconcileProblem(**row) for row in await fetch(dsn, "problems")]


async def fetch(dsn: str, query: str, *parameters: Any) -> list[dict[str, Any]]:
    """The rows of one statement of queries.sql. Raises SetupError."""
    try:
        async with connect(dsn) as connection:
            return [dict(row) for row in await connection.fetch(QUERIES[query], *parameters)]
    except ERRORS as error:
        raise SetupError(remedy(error, dsn)) from error
