"""The local journal: every fact is appended here first, at once, without waiting for anybody.

Writes straight to the operating system, so a killed process loses nothing; fsync follows about
once a second in a thread (a dead host takes its channels with it anyway). A full disk never
reaches a call: facts stay in memory, bounded, and are written when there is room again. Belongs to
the event loop's thread. Knows nothing of Postgres: the writer reads the same files.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ivr_server.errors import SetupError
from ivr_server.facts import Fact
from ivr_server.storage.lines import encode
from ivr_server.storage.opencalls import OpenCall, OpenCalls
from ivr_server.storage.report import report
from ivr_server.storage.segments import (
    Mark,
    cut_torn_tail,
    read,
    segment_numbers,
    segment_path,
)

__all__ = ["Journal", "OpenCall"]

SEGMENT_BYTES = 8 * 2**20
PENDING_FACTS = 100_000  # kept in memory while the disk is full, about 50 MB
SYNC_S = 1.0
_RETRY_S = 1.0
_AT_ONCE = 2_000  # facts written in one go when the disk has room again, about 10 ms


class Journal:
    """An open journal. Make one with `Journal.open`."""

    def __init__(
        self, folder: Path, lock: int, on_trouble: Callable[[str], None], segment_bytes: int
    ) -> None:
        self.folder = folder
        self.torn = 0  # records cut off at opening because they were never finished
        self.damaged = 0  # lines at opening that were no facts, skipped
        self.lost = 0  # facts dropped because disk and memory were full
        self.trouble = ""  # one sentence while the disk refuses us
        self.seq = 0  # of the newest fact
        self._lock = lock
        self._on_trouble = on_trouble
        self._segment_bytes = segment_bytes
        self._open = OpenCalls()
        self._pending: dict[tuple[str, ...], bytes] = {}
        self._retry_at = 0.0
        self._ragged = False  # the file ends inside a line that could not be taken back
        self._dirty = False
        self._descriptor = -1
        self._segment = 0
        self._size = 0
        self._rotate_at = 0

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        on_trouble: Callable[[str], None] | None = None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> Journal:
        """The journal in this folder (`<state>/journal`), made if need be. Blocks; SetupError.

        `on_trouble` hears one sentence whenever the disk begins to refuse facts.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                journal = cls(folder, lock, on_trouble or (lambda _: None), segment_bytes)
                journal._take_up()
            except BaseException:
                os.close(lock)
                raise
        except BlockingIOError:
            raise SetupError(
                f"Another ivr-server uses {folder}: stop it, or give this one a state folder of "
                "its own."
            ) from None
        except OSError as error:
            raise SetupError(
                f"The journal in {folder} cannot be opened ({error.strerror}): make the folder "
                "writable and free some space."
            ) from error
        return journal

    @property
    def position(self) -> tuple[int, int]:
        """The segment that is being written and its size."""
        return self._segment, self._size

    @property
    def pending(self) -> int:
        """Facts in memory that the disk has not taken yet."""
        return len(self._pending)

    def open_calls(self) -> dict[str, OpenCall]:
        """The calls whose story is not complete, by call id."""
        return self._open.calls()

    def append(self, *facts: Fact) -> None:
        """Write facts down, in one go: a kill leaves all of them or none.

        Does not wait and does not fail.
        """
        if self._size >= self._rotate_at and not self._pending:
            self._rotate()
        lines = []
        for fact in facts:
            self.seq += 1
            lines.append(encode(self.seq, fact))
            self._open.add(fact)
        if self._pending or not self._write(b"".join(lines)):
            for fact, line in zip(facts, lines, strict=True):
                self._hold(fact.identity(), line)
            self._retry()

    async def run(self) -> None:
        """Sync to disk about once a second, and retry what a full disk refused; until cancelled."""
        while True:
            await asyncio.sleep(SYNC_S)
            self._retry()
            if not self._dirty:
                continue
            self._dirty = False
            # A descriptor of its own: the journal may move on to the next segment meanwhile.
            await asyncio.to_thread(_sync, os.dup(self._descriptor))

    def close(self) -> None:
        """Write what is pending if there is room, sync, and let go of the files. Blocks."""
        if self._descriptor < 0:
            return
        self._retry_at = 0.0
        while self._pending and self._retry():
            pass
        _sync(self._descriptor)
        os.close(self._lock)
        self._descriptor = -1

    def _take_up(self) -> None:
        for unfinished in self.folder.glob("*.new"):
            unfinished.unlink()
        numbers = segment_numbers(self.folder)
        if numbers:
            cut = cut_torn_tail(segment_path(self.folder, numbers[-1]))
            if cut:
                self.torn = 1
                report("warning", "journal_torn_tail_cut", segment=numbers[-1], bytes=cut)
            self._read_back(numbers)
        self._segment = numbers[-1] if numbers else 1
        path = segment_path(self.folder, self._segment)
        self._descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._size = os.fstat(self._descriptor).st_size
        self._rotate_at = self._segment_bytes

    def _read_back(self, numbers: list[int]) -> None:
        """Open calls from the last segment: each begins with all that is open."""
        for start in reversed(numbers):  # more than one only after a power cut emptied the last
            mark = Mark(segment=start)
            found = False
            while True:
                stretch = read(self.folder, mark, _AT_ONCE)
                self.damaged += stretch.damaged
                for fact in stretch.facts:
                    self._open.add(fact)
                found = found or bool(stretch.facts)
                if stretch.mark == mark:
                    break
                mark = stretch.mark
            self.seq = max(self.seq, mark.seq)
            if found:
                break
        if self.damaged:
            report("warning", "journal_damaged_lines_skipped", lines=self.damaged)

    def _write(self, line: bytes) -> bool:
        """One line to the operating system, whole or not at all; False when it is refused."""
        if self._ragged:
            line = b"\n" + line
        try:
            written = os.write(self._descriptor, line)
            if written != len(line):
                self._take_back()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._refused(error)
            return False
        self._size += written
        self._ragged = False
        self._dirty = True
        return True

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            self._ragged = True
            self._size = os.fstat(self._descriptor).st_size

    def _hold(self, identity: tuple[str, ...], line: bytes) -> None:
        """Keep a line in memory: the newest one per row is enough."""
        self._pending.pop(identity, None)
        self._pending[identity] = line
        if len(self._pending) > PENDING_FACTS:
            del self._pending[next(iter(self._pending))]
            self.lost += 1

    def _retry(self) -> bool:
        """Write pending lines when it is time; True if some went out."""
        if not self._pending or time.monotonic() < self._retry_at:
            return False
        done: list[tuple[str, ...]] = []
        for identity, line in self._pending.items():
            if len(done) == _AT_ONCE or not self._write(line):
                break
            done.append(identity)
        for identity in done:
            del self._pending[identity]
        if not self._pending and self.trouble:
            self.trouble = ""
            report("info", "journal_writes_again", lost=self.lost)
        return bool(done)

    def _refused(self, error: OSError) -> None:
        self._retry_at = time.monotonic() + _RETRY_S
        if self.trouble:
            return
        self.trouble = (
            f"The journal in {self.folder} cannot be written ({error.strerror}): free some space; "
            "calls go on and their facts wait in memory."
        )
        report("error", "journal_refused", remedy=self.trouble)
        with suppress(OSError):  # whoever hears it may want to write to the same disk
            self._on_trouble(self.trouble)

    def _rotate(self) -> None:
        """Begin the next segment with the newest facts of all open calls.

        It gets its name when it is complete, so that older segments may be deleted any time.
        """
        number = self._segment + 1
        path = segment_path(self.folder, number)
        fresh = path.with_suffix(".new")
        self._open.forget_strays()
        lines = []
        for fact in self._open.facts():
            self.seq += 1
            lines.append(encode(self.seq, fact))
        content = b"".join(lines)
        descriptor = -1
        try:
            flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND
            descriptor = os.open(fresh, flags, 0o600)
            if os.write(descriptor, content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fresh.rename(path)
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
            with suppress(OSError):
                fresh.unlink()
            self._rotate_at = self._size + self._segment_bytes // 8
            report("warning", "journal_not_rotated", reason=error.strerror)
            return
        os.close(self._descriptor)
        self._descriptor, self._segment, self._size = descriptor, number, len(content)
        self._rotate_at = len(content) + self._segment_bytes
        self._dirty = True
        report("info", "journal_rotated", segment=number, open_facts=len(lines))


def _sync(descriptor: int) -> None:
    """fsync and close. A disk that fails to sync fails to write soon, and that is reported."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        report("error", "journal_not_synced", reason=error.strerror)
    finally:
        os.close(descriptor)
