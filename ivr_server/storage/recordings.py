"""From the raw file of a leg to a verified recording: waited for, measured, hashed, in its place.

Knows the WAV header and our folders, `YYYY/MM/DD/<call>/<leg>.wav`. Everything that touches the
disk happens in a thread. Makes no mixes (ivr_server/audio does) and knows no Asterisk.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import shutil
import struct
import time
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path, PurePosixPath

from ivr_server.facts import Recording, RecordingState
from ivr_server.storage.report import report

FINISH_S = 5.0  # Asterisk closes the file within milliseconds of the hangup; a busy disk may not
BRIEF_FINISH_S = 1.0  # for a leg that may have no audio, hence no file to wait for
SHORT_S = 1.0
SHORT_SHARE = 0.1
ORPHANS = "orphans"
_POLL_S = (0.02, 0.5)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:+-]{0,190}")
_HEAD_BYTES = 4096
_UNKNOWN_SIZE = 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True)
class Wav:
    """What a WAV header says, and what the file holds."""

    byte_rate: int
    data_at: int  # offset of the audio
    said: int  # bytes of audio by the header
    held: int  # bytes of audio in the file

    @property
    def finished(self) -> bool:
        """The header was written after the last sample; an odd length is padded by one byte."""
        return self.said > 0 and self.said <= self.held <= self.said + self.said % 2


def place(recording: Recording, name: str) -> PurePosixPath:
    """Where a file of this recording's call belongs, below the folder of recordings.

    ValueError for names that are not plain: they are made by us and never by a caller.
    """
    for word in (recording.call_id, name):
        if not _NAME.fullmatch(word) or ".." in word:
            raise ValueError(f"not a plain name for a file: {word!r}")
    day = recording.started_at.astimezone(UTC)
    return PurePosixPath(f"{day:%Y/%m/%d}", recording.call_id, name)


async def settle(
    recording: Recording,
    *,
    raw: Path,
    lasted_s: float | None,
    folder: Path,
    finish_s: float = FINISH_S,
) -> Recording:
    """The recording as it turned out, its file in its place. Never fails for what a file holds.

    `raw` is where Asterisk wrote it, `lasted_s` how long the leg was recorded (None: not known,
    as after a restart), `folder` the folder of recordings, `finish_s` how long to wait for
    Asterisk. May be called again after a crash, and when the state is still `recording` because
    the file could not be moved.
    """
    target = folder / place(recording, f"{recording.leg_id or recording.recording_id}.wav")
    source = await asyncio.to_thread(lambda: raw if raw.exists() or not target.exists() else target)
    brief = lasted_s is not None and lasted_s <= SHORT_S
    await _finished(source, min(finish_s, BRIEF_FINISH_S) if brief else finish_s)
    settled = await asyncio.to_thread(_settled, recording, source, target, folder, lasted_s)
    if settled.state not in (RecordingState.OK, RecordingState.EMPTY):
        report(
            "warning",
            "recording_bad",
            recording_id=settled.recording_id,
            state=settled.state.value,
            path=settled.path,
            detail=settled.detail,
        )
    return settled


def put_aside(file: Path, folder: Path) -> None:
    """Move a file that no row knows to `orphans` below the recordings; where that cannot be done
    it stays. Blocks."""
    try:
        _move(file, folder / ORPHANS / file.name)
    except OSError as error:
        report("warning", "orphan_not_moved", file=file.name, reason=error.strerror)


async def _finished(path: Path, finish_s: float) -> None:
    """Wait until Asterisk has closed the file, but no longer than finish_s."""
    deadline = time.monotonic() + finish_s
    pause, longest = _POLL_S
    while True:
        wav = await asyncio.to_thread(_measured, path)
        left = deadline - time.monotonic()
        if (wav is not None and wav.finished) or left <= 0:
            return
        await asyncio.sleep(min(pause, left))
        pause = min(longest, pause * 2)


def _settled(
    recording: Recording, source: Path, target: Path, folder: Path, lasted_s: float | None
) -> Recording:
    brief = lasted_s is not None and lasted_s <= SHORT_S
    nothing = RecordingState.EMPTY if brief else RecordingState.MISSING
    try:
        size = source.stat().st_size
    except OSError as error:
        return _bad(recording, nothing, source, f"no file: {error.strerror}")
    if size == 0:
        return _bad(recording, nothing, source, "the file is empty")
    wav = _measured(source)
    notes = []
    if wav is not None and not wav.finished and wav.held > 0:
        try:
            wav = _mend(source, wav)
            notes.append("the header was never finished and was mended")
        except OSError as error:
            notes.append(f"the header was never finished: {error.strerror}")
    if wav is None or wav.byte_rate <= 0:
        state, duration_s = RecordingState.UNREADABLE, None
        notes.append("not a WAV file")
    elif wav.held == 0:
        state, duration_s = nothing, 0.0
        notes.append("no audio in the file")
    else:
        duration_s = round(min(wav.held, wav.said) / wav.byte_rate, 3)
        state = RecordingState.OK
        if lasted_s is not None and lasted_s - duration_s > max(SHORT_S, SHORT_SHARE * lasted_s):
            state = RecordingState.SHORT
            notes.append(f"{duration_s:.1f} s of audio for {lasted_s:.1f} s of the leg")
    try:
        with source.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = source.stat().st_size
        _move(source, target)
        path = target.relative_to(folder).as_posix()
    except OSError as error:
        notes.append(f"not moved ({error.strerror}): give the service room and rights in {folder}")
        # Not settled: its call stays open in the journal, so that it is tried again, also by the
        # next service.
        return replace(recording, path=str(source), detail="; ".join(notes))
    return replace(
        recording,
        state=state,
        path=path,
        duration_s=duration_s,
        bytes=size,
        sha256=sha256,
        detail="; ".join(notes),
    )


def _bad(recording: Recording, state: RecordingState, path: Path, why: str) -> Recording:
    return replace(recording, state=state, path=str(path), detail=why)


def _measured(path: Path) -> Wav | None:
    """The header of a WAV file; None when there is no file or it is no WAV.

    RIFF: 'RIFF' size 'WAVE', then chunks of a name, a size and content padded to an even length.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            size = os.fstat(file.fileno()).st_size
    except OSError:
        return None
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    at, byte_rate = 12, 0
    while at + 8 <= len(head):
        name, length = struct.unpack_from("<4sI", head, at)
        at += 8
        if name == b"data":
            held = max(0, size - at)
            said = 0 if length == _UNKNOWN_SIZE else length
            return Wav(byte_rate=byte_rate, data_at=at, said=said, held=held)
        if name == b"fmt " and length >= 16 and at + 12 <= len(head):
            byte_rate = struct.unpack_from("<I", head, at + 8)[0]
        at += length + length % 2
    return None


def _mend(path: Path, wav: Wav) -> Wav:
    """Write the sizes Asterisk did not get to write, as after a kill -9 of it."""
    with path.open("r+b") as file:
        file.seek(4)
        file.write(struct.pack("<I", wav.data_at + wav.held - 8))
        file.seek(wav.data_at - 4)
        file.write(struct.pack("<I", wav.held))
    return replace(wav, said=wav.held)


def _move(source: Path, target: Path) -> None:
    """Into place in one step, also from another file system. Raises OSError."""
    if source == target:
        return
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        source.rename(target)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    partial = target.with_suffix(".part")
    try:
        with source.open("rb") as old, partial.open("wb") as new:
            shutil.copyfileobj(old, new)
            new.flush()
            os.fsync(new.fileno())
        partial.rename(target)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    source.unlink()
