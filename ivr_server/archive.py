"""What happens to recordings after the talk: verified, hashed, filed, mixed; a row for each.

Joins storage (files and rows) with audio (the stereo mix). Works behind the calls' back: nothing
here is ever waited for by a call. A file that is missing or short gets a row that says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import structlog

from ivr_server import facts
from ivr_server.audio.mix import MixingDesk, Stopped
from ivr_server.errors import IvrError, SetupError
from ivr_server.storage import recordings

log = structlog.get_logger(__name__)

SHELVES_KEPT = 1000
RETRY_S = 30.0  # a recording that could not be moved, for want of room or rights
NOTHING_TO_MIX = "no leg with audio"


class Journal(Protocol):
    """Where facts go."""

    def append(self, *facts: facts.Fact) -> None: ...


@dataclass
class _Shelf:
    """The recordings of one call until the mix is made."""

    settling: set[asyncio.Task[None]] = field(default_factory=set)
    starts: list[datetime] = field(default_factory=list)  # of what is or was being settled
    settled: list[tuple[facts.LegKind, facts.Recording]] = field(default_factory=list)
    over: bool = False
    retries: int = 0  # recordings that are still to be moved


class RecordingArchive:
    """The recordings of all calls of one service."""

    def __init__(self, journal: Journal, folder: Path) -> None:
        self._journal = journal
        self._folder = folder
        self._desk = MixingDesk()
        self._shelves: dict[str, _Shelf] = {}
        self._mixing: set[asyncio.Task[None]] = set()
        self._retries: set[asyncio.TimerHandle] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # what people said
        except OSError as error:
            raise SetupError(
                f"The folder of recordings {folder} cannot be made ({error.strerror}): give the "
                "service rights there, or set IVR_RECORDINGS."
            ) from None

    def leg_over(
        self, recording: facts.Recording, kind: facts.LegKind, expected_s: float | None
    ) -> None:
        """Verify and file the recording of a leg that is over; None if its length is not known."""
        shelf = self._shelf(recording.call_id)
        shelf.starts.append(recording.started_at)
        self._begin(shelf, recording, kind, expected_s)
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
            mix = planned_mix(call_id, min([one.started_at for _, one in shelf.settled] +
                                           shelf.starts))  # fmt: skip
            self._journal.append(mix)
            task = _spawn(self._mix(mix, shelf))
            self._mixing.add(task)
            task.add_done_callback(self._mixing.discard)

    async def drain(self) -> None:
        """Wait for everything that is under way."""
        while tasks := {*self._mixing, *(t for s in self._shelves.values() for t in s.settling)}:
            await asyncio.wait(tasks)

    def close(self) -> None:
        """The service stops: mixes that are not made by now are left to the next one."""
        for retry in self._retries:
            retry.cancel()
        self._desk.close()

    def _shelf(self, call_id: str) -> _Shelf:
        """The shelf of a call. Those of calls that are over are kept a while, for late legs."""
        shelf = self._shelves.setdefault(call_id, _Shelf())
        if len(self._shelves) > SHELVES_KEPT:
            done = (
                name
                for name, one in self._shelves.items()
                if one.over and not one.settling and not one.retries
            )
            oldest = next(done, None)
            if oldest is not None and oldest != call_id:
                del self._shelves[oldest]
        return shelf

    def _begin(
        self,
        shelf: _Shelf,
        recording: facts.Recording,
        kind: facts.LegKind,
        expected_s: float | None,
        *,
        again: bool = False,
    ) -> None:
        task = _spawn(self._settle(shelf, recording, kind, expected_s, again=again))
        shelf.settling.add(task)
        task.add_done_callback(shelf.settling.discard)

    async def _settle(
        self,
        shelf: _Shelf,
        recording: facts.Recording,
        kind: facts.LegKind,
        expected_s: float | None,
        *,
        again: bool,
    ) -> None:
        settled = await recordings.settle(
            recording, raw=Path(recording.path), lasted_s=expected_s, folder=self._folder
        )
        if settled != recording:
            self._journal.append(settled)
        if settled.state is facts.RecordingState.RECORDING:
            self._later(shelf, settled, kind, expected_s)
            return
        shelf.settled.append((kind, settled))
        if again and shelf.over:
            self.call_over(recording.call_id)  # the mix is made again, with it

    def _later(
        self,
        shelf: _Shelf,
        recording: facts.Recording,
        kind: facts.LegKind,
        expected_s: float | None,
    ) -> None:
        """It could not be moved: again in a while, for as long as this service runs."""

        def begin() -> None:
            shelf.retries -= 1
            self._retries.discard(timer)
            self._begin(shelf, recording, kind, expected_s, again=True)

        shelf.retries += 1
        timer = asyncio.get_running_loop().call_later(RETRY_S, begin)
        self._retries.add(timer)

    async def _mix(self, mix: facts.Recording, shelf: _Shelf) -> None:
        call_id = mix.call_id
        while shelf.settling:
            await asyncio.wait(shelf.settling)
        usable = [
            (kind, one)
            for kind, one in shelf.settled
            if one.state in (facts.RecordingState.OK, facts.RecordingState.SHORT)
        ]
        if not usable:
            empty = facts.RecordingState.EMPTY
            self._journal.append(replace(mix, state=empty, detail=NOTHING_TO_MIX))
            return
        first = min(one.started_at for _, one in usable)
        mix = replace(mix, started_at=first)
        sides: dict[bool, list[tuple[Path, float]]] = {True: [], False: []}
        for kind, one in usable:
            offset = (one.started_at - first).total_seconds()
            if offset > 0:
                self._journal.append(replace(one, offset_s=offset))
            sides[kind is facts.LegKind.CALLER].append((self._folder / one.path, offset))
        name = recordings.place(mix, "mix.ogg")
        try:
            made = await self._desk.mix(sides[True], sides[False], self._folder / name)
        except Stopped:
            return  # its row says that it is still to be made
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


def planned_mix(call_id: str, started_at: datetime) -> facts.Recording:
    """The row of a mix that is still to be made.

    Written when a recorded call begins: until the mix is made the call stays open in the journal,
    so that a service that stops leaves it to the next.
    """
    return facts.Recording(
        recording_id=f"{call_id}-mix",
        call_id=call_id,
        leg_id=None,
        kind="mix",
        state=facts.RecordingState.RECORDING,
        path="",
        started_at=started_at,
        detail="left: caller, right: agents",
    )


def _spawn(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(coroutine)
    task.add_done_callback(_report)
    return task


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("archive_failed", exc_info=error)
