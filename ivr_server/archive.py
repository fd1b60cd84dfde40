"""What happens to recordings after the talk: verified, hashed, filed, mixed; a row for each.

Joins storage (files and rows) with audio (the stereo mix). Works behind the calls' back: nothing
here is ever waited for by a call. A file that is missing or short gets a row that says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import structlog

from ivr_server import facts
from ivr_server.audio.mix import MixingDesk
from ivr_server.errors import IvrError
from ivr_server.storage import recordings

log = structlog.get_logger(__name__)

SHELVES_KEPT = 1000


class Journal(Protocol):
    """Where facts go."""

    def append(self, fact: facts.Fact) -> None: ...


@dataclass
class _Shelf:
    """The recordings of one call until the mix is made."""

    settling: set[asyncio.Task[None]] = field(default_factory=set)
    settled: list[tuple[facts.LegKind, facts.Recording]] = field(default_factory=list)
    over: bool = False


class RecordingArchive:
    """The recordings of all calls of one service."""

    def __init__(self, journal: Journal, folder: Path) -> None:
        self._journal = journal
        self._folder = folder
        self._desk = MixingDesk()
        self._shelves: dict[str, _Shelf] = {}
        self._mixing: set[asyncio.Task[None]] = set()

    def leg_over(
        self, recording: facts.Recording, kind: facts.LegKind, expected_s: float | None
    ) -> None:
        """Verify and file the recording of a leg that is over; None if its length is not known."""
        shelf = self._shelf(recording.call_id)
        task = _spawn(self._settle(shelf, recording, kind, expected_s))
        shelf.settling.add(task)
        task.add_done_callback(shelf.settling.discard)
        if shelf.over:  # it ended after its call: the mix is made again, with it
            self.call_over(recording.call_id)

    def known(self, recording: facts.Recording, kind: facts.LegKind) -> None:
        """A recording that an earlier run of the service has filed already."""
        self._shelf(recording.call_id).settled.append((kind, recording))

    def call_over(self, call_id: str) -> None:
        """The call is over: make the mix once its recordings are filed."""
        shelf = self._shelf(call_id)
        shelf.over = True
        if shelf.settling or shelf.settled:
            task = _spawn(self._mix(call_id, shelf))
            self._mixing.add(task)
            task.add_done_callback(self._mixing.discard)

    async def drain(self) -> None:
        """Wait for everything that is under way."""
        while tasks := {*self._mixing, *(t for s in self._shelves.values() for t in s.settling)}:
            await asyncio.wait(tasks)

    def _shelf(self, call_id: str) -> _Shelf:
        """The shelf of a call. Those of calls that are over are kept a while, for late legs."""
        shelf = self._shelves.setdefault(call_id, _Shelf())
        if len(self._shelves) > SHELVES_KEPT:
            done = (name for name, one in self._shelves.items() if one.over and not one.settling)
            oldest = next(done, None)
            if oldest is not None and oldest != call_id:
                del self._shelves[oldest]
        return shelf

    async def _settle(
        self,
        shelf: _Shelf,
        recording: facts.Recording,
        kind: facts.LegKind,
        expected_s: float | None,
    ) -> None:
        settled = await recordings.settle(
            recording, raw=Path(recording.path), lasted_s=expected_s, folder=self._folder
        )
        shelf.settled.append((kind, settled))
        self._journal.append(settled)

    async def _mix(self, call_id: str, shelf: _Shelf) -> None:
        while shelf.settling:
            await asyncio.wait(shelf.settling)
        usable = [
            (kind, one)
            for kind, one in shelf.settled
            if one.state in (facts.RecordingState.OK, facts.RecordingState.SHORT)
        ]
        if not usable:
            return
        first = min(one.started_at for _, one in usable)
        mix = facts.Recording(
            recording_id=f"{call_id}-mix",
            call_id=call_id,
            leg_id=None,
            kind="mix",
            state=facts.RecordingState.RECORDING,  # after a crash the next service makes it
            path="",
            started_at=first,
            detail="left: caller, right: agents",
        )
        self._journal.append(mix)
        sides: dict[bool, list[tuple[Path, float]]] = {True: [], False: []}
        for kind, one in usable:
            offset = (one.started_at - first).total_seconds()
            if offset > 0:
                self._journal.append(replace(one, offset_s=offset))
            sides[kind is facts.LegKind.CALLER].append((self._folder / one.path, offset))
        name = recordings.place(mix, "mix.ogg")
        try:
            made = await self._desk.mix(sides[True], sides[False], self._folder / name)
        except (IvrError, OSError) as error:
            log.warning("mix_failed", call_id=call_id, error=str(error))
            self._journal.append(
                replace(mix, state=facts.RecordingState.MISSING, detail=str(error))
            )
            return
        self._journal.append(
            replace(
                mix,
                state=facts.RecordingState.OK,
                path=name.as_posix(),
                duration_s=made.duration_s,
                bytes=made.bytes,
                sha256=made.sha256,
            )
        )


def _spawn(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(coroutine)
    task.add_done_callback(_report)
    return task


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("archive_failed", exc_info=error)
