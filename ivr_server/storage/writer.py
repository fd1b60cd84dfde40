"""Carries facts from the journal to Postgres, in batches, whole rows, newest last.

Writing twice changes nothing, so after any accident it goes on from the last saved mark. Postgres
may be away for hours: the journal grows meanwhile. A row that Postgres refuses is put aside in
`refused.jsonl` and does not hold up the others. Never in a call's path; knows no calls, only facts.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import msgspec

from ivr_server.storage.dsn import ERRORS, blames_row, connect, remedy
from ivr_server.storage.journal import Journal
from ivr_server.storage.report import report
from ivr_server.storage.rows import UPSERTS, Row, rows
from ivr_server.storage.segments import Mark, delete_before, load_mark, read, save_mark

BATCH = 500
INTERVAL_S = 0.2
BACKOFF_S = (0.1, 5.0)  # the first and the longest pause between attempts to connect
REFUSED = "refused.jsonl"


@dataclass(frozen=True, kw_only=True)
class WriterStatus:
    """For health pages and metrics; counts are since the start of the service."""

    connected: bool
    lag: int  # facts in the journal that are not in Postgres yet
    shipped: int  # facts carried
    refused: int  # rows put aside
    damaged: int  # lines of the journal that were no facts
    last_error: str  # one sentence with its remedy; "" when all is well


class Writer:
    """Carries the facts of one journal to one database: `run` it in a task."""

    def __init__(
        self,
        journal: Journal,
        dsn: str,
        *,
        batch: int = BATCH,
        interval_s: float = INTERVAL_S,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._journal = journal
        self._folder = journal.folder
        self._dsn = dsn
        self._batch = batch
        self._interval_s = interval_s
        self._jitter = jitter
        self._mark = load_mark(self._folder)
        self._mark_saved = True
        self._connected = False
        self._carried = 0  # batches Postgres took, or times it had nothing to take
        self._shipped = 0
        self._refused = 0
        self._damaged = 0
        self._last_error = ""
        self._hurry = asyncio.Event()  # cuts the pause short
        self._moved = asyncio.Event()  # the mark has moved

    @property
    def status(self) -> WriterStatus:
        """How it stands now."""
        return WriterStatus(
            connected=self._connected,
            lag=0 if self._done() else max(1, self._journal.seq - self._mark.seq),
            shipped=self._shipped,
            refused=self._refused,
            damaged=self._damaged,
            last_error=self._last_error,
        )

    async def run(self) -> None:
        """Carry facts until cancelled. Postgres being away is no error here."""
        failures = 0
        while True:
            before = self._carried
            try:
                async with connect(self._dsn) as connection:
                    connection.add_termination_listener(self._ended)
                    try:
                        await self._carry(connection)
                    finally:
                        # Else the end that we make of it ourselves would cut the pause short.
                        connection.remove_termination_listener(self._ended)
            except ERRORS as error:
                self._left(error)
            # A server that lets us in and then refuses our rows has not served us.
            failures = 0 if self._carried > before else failures + 1
            first, longest = BACKOFF_S
            pause = min(longest, first * 2 ** min(failures, 10))
            await self._pause(pause * (0.5 + self._jitter() / 2))

    async def drain(self, timeout_s: float) -> bool:
        """Hurry until Postgres has the whole journal; False when there was not enough time.

        `run` must be running.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self._done():
                    self._moved.clear()
                    self._hurry.set()
                    await self._moved.wait()
        return self._done()

    def _done(self) -> bool:
        here = (self._mark.segment, self._mark.offset)
        return here == self._journal.position and not self._journal.pending

    def _ended(self, connection: Any) -> None:
        """The server closed the connection: look at once."""
        self._hurry.set()

    def _served(self) -> None:
        """Postgres has taken what there was, or there was nothing."""
        self._carried += 1
        if self._last_error:
            report("info", "postgres_is_back", lag=self.status.lag)
        self._connected, self._last_error = True, ""

    def _left(self, error: Exception) -> None:
        sentence = remedy(error, self._dsn)
        self._connected = False
        if sentence != self._last_error:
            self._last_error = sentence
            report("warning", "postgres_away", remedy=sentence, lag=self.status.lag)

    async def _carry(self, connection: Any) -> None:
        """Batch after batch; ends by an error of the connection."""
        while True:
            if connection.is_closed():
                raise ConnectionResetError("it closed the connection")
            if self._done():
                if not self._connected:
                    self._served()
                await self._pause(self._interval_s)
                continue
            batch, mark, count, damaged = await asyncio.to_thread(self._next)
            if batch:
                await self._ship(connection, batch)
            await asyncio.to_thread(self._advance, mark)
            self._shipped += count
            self._damaged += damaged
            self._served()
            self._moved.set()
            if count < self._batch:
                await self._pause(self._interval_s)

    def _next(self) -> tuple[list[Row], Mark, int, int]:
        """In a thread: rows of the next facts, the mark after them, facts, damaged lines."""
        stretch = read(self._folder, self._mark, self._batch)
        return rows(stretch.facts), stretch.mark, len(stretch.facts), stretch.damaged

    def _advance(self, mark: Mark) -> None:
        """In a thread: all before this mark is in Postgres."""
        previous, self._mark = self._mark, mark
        try:
            if mark != previous or not self._mark_saved:
                save_mark(self._folder, mark)
                self._mark_saved = True
            delete_before(self._folder, mark.segment)
        except OSError as error:  # a full disk: the next start writes some facts twice
            if self._mark_saved:
                report("warning", "shipped_mark_not_saved", reason=error.strerror)
            self._mark_saved = False

    async def _ship(self, connection: Any, batch: Sequence[Row]) -> None:
        """One transaction; when a row is to blame, halves of it until that row stands alone."""
        try:
            async with connection.transaction():
                for kind, group in groupby(batch, key=lambda row: type(row.fact)):
                    await connection.executemany(UPSERTS[kind], [row.values for row in group])
        except ERRORS as error:
            if not blames_row(error):
                raise
            if len(batch) == 1:
                await self._refuse(batch[0], error)
                return
            middle = len(batch) // 2
            await self._ship(connection, batch[:middle])
            await self._ship(connection, batch[middle:])

    async def _refuse(self, row: Row, error: Exception) -> None:
        self._refused += 1
        identity = row.fact.identity()
        report("error", "row_refused", row=identity, reason=str(error), refused=self._refused)
        line = msgspec.json.encode(
            {
                "at": datetime.now(UTC),
                "error": str(error),
                "kind": identity[0],
                "fact": row.fact,
            }
        )
        try:
            await asyncio.to_thread(self._put_aside, line)
        except OSError as problem:
            report("error", "refused_row_not_kept", reason=problem.strerror, line=line.decode())

    def _put_aside(self, line: bytes) -> None:
        path = self._folder / REFUSED
        with path.open("ab") as file:
            file.write(line + b"\n")
        path.chmod(0o600)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        self._hurry.clear()
