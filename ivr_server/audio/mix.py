"""One stereo Opus file of a call: the caller left, the agents right.

Derived from the legs and never instead of them. Streams 20 s at a time into ffmpeg, so an hour
costs as much memory as a minute. Does not know which leg is whose, nor where files belong.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ivr_server.audio.clip import Clip
from ivr_server.audio.ffmpeg import find_ffmpeg
from ivr_server.audio.measure import sha256
from ivr_server.audio.wav import UnreadableAudio, Wav, open_wav
from ivr_server.errors import IvrError

Take = tuple[Path, float]  # a WAV file and the second of the mix at which it starts

_STRETCH_S = 20
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)  # RFC 6716, section 2
_NICENESS = 10  # calls in progress come first


class MixFailed(IvrError):
    """ffmpeg refused or did not end in time."""


class Stopped(MixFailed):
    """The mix was given up because the desk was closed."""


@dataclass(frozen=True, kw_only=True)
class Mix:
    """What was written. `left_out` are the takes that could not be read, with the reason."""

    path: Path
    duration_s: float
    bytes: int
    sha256: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Track:
    wav: Wav
    offset_s: float

    @property
    def end_s(self) -> float:
        return self.offset_s + self.wav.duration_s

    def stretch(self, start: int, frames: int, rate: int) -> Clip | None:
        """Its part of the mix's frames start..start+frames, padded; None if it has none."""
        offset = round(self.offset_s * rate)
        first = max(start, offset)
        last = min(start + frames, offset + self.wav.frames * rate // self.wav.rate)
        if first >= last:
            return None
        here = (first - offset) * self.wav.rate // rate
        count = -(-(last - first) * self.wav.rate // rate)
        clip = Clip.stretch(self.wav.read(here, count), self.wav.rate, self.wav.channels)
        return clip.at_rate(rate).padded(first - start, frames) if clip.pcm else None


def stereo_mix(
    left: Sequence[Take],
    right: Sequence[Take],
    target: Path,
    *,
    stop: threading.Event | None = None,
) -> Mix:
    """Write `target` (.ogg or .opus) at 24 kbit/s; blocks, so call it from a thread.

    Takes that are missing or unreadable are silence and named in `left_out`; short ones are
    padded. Raises UnreadableAudio when nothing at all can be read, MixFailed when ffmpeg fails,
    Stopped soon after `stop` is set.
    """
    left_out: list[str] = []
    sides = [list(_tracks(takes, left_out)) for takes in (left, right)]
    tracks = [track for side in sides for track in side]
    if not tracks:
        raise UnreadableAudio(f"Nothing to mix into {target.name}: " + " ".join(left_out))
    fastest = max(track.wav.rate for track in tracks)
    rate = next((step for step in _OPUS_RATES if step >= fastest), _OPUS_RATES[-1])
    duration_s = max(track.end_s for track in tracks)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        total = math.ceil(duration_s * 1000) * (rate // 1000)
        _encode(_until(stop, _stereo(sides, rate, total)), rate, duration_s, draft)
        draft.chmod(0o600)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return Mix(
        path=target,
        duration_s=duration_s,
        bytes=target.stat().st_size,
        sha256=sha256(target),
        left_out=tuple(left_out),
    )


class MixingDesk:
    """stereo_mix off the event loop, at most `limit` at a time; by default half of the cores."""

    def __init__(self, limit: int | None = None) -> None:
        self._room = asyncio.Semaphore(limit or max(1, (os.cpu_count() or 1) // 2))
        self._closed = threading.Event()

    async def mix(self, left: Sequence[Take], right: Sequence[Take], target: Path) -> Mix:
        """Cancelling stops the waiting; a mix that has begun is finished by its thread.

        Raises what stereo_mix does.
        """
        async with self._room:
            if self._closed.is_set():
                raise Stopped(f"{target.name} was not begun.")
            return await asyncio.to_thread(stereo_mix, left, right, target, stop=self._closed)

    def close(self) -> None:
        """Give up what is being mixed, within a moment, and what is waiting for it."""
        self._closed.set()


def _tracks(takes: Sequence[Take], left_out: list[str]) -> Iterator[_Track]:
    for path, offset_s in takes:
        try:
            wav = open_wav(path)
        except UnreadableAudio as error:
            left_out.append(str(error))
            continue
        if wav.frames:
            yield _Track(wav, max(0.0, offset_s))
        else:
            left_out.append(f"{path} is empty.")


def _stereo(sides: list[list[_Track]], rate: int, total: int) -> Iterator[bytes]:
    for start in range(0, total, _STRETCH_S * rate):
        frames = min(_STRETCH_S * rate, total - start)
        left, right = (_together(side, start, frames, rate) for side in sides)
        yield left.beside(right)


def _until(stop: threading.Event | None, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        if stop is not None and stop.is_set():
            raise Stopped("The service stops.")
        yield piece


def _together(side: list[_Track], start: int, frames: int, rate: int) -> Clip:
    sum_ = Clip(bytes(2 * frames), rate)
    for track in side:
        if clip := track.stretch(start, frames, rate):
            sum_ = sum_.over(clip)
    return sum_


def _encode(stereo: Iterator[bytes], rate: int, duration_s: float, draft: Path) -> None:
    command = [str(find_ffmpeg()), "-hide_banner", "-loglevel", "error", "-y", "-threads", "1"]
    command += ["-f", "s16le", "-ar", str(rate), "-ac", "2", "-i", "pipe:0"]
    # 'voip' codes the sides apart: 'audio' narrows the stereo image at this rate, and each party
    # was heard 25 dB down on the other's side (measured; none at all with 'voip').
    # Complexity 7 costs a fifth less CPU than the default 10; below it the sides leak (measured).
    command += ["-c:a", "libopus", "-b:a", "24k", "-application", "voip"]
    command += ["-compression_level", "7", "-f", "ogg", str(draft)]
    deadline_s = 60 + duration_s / 10
    with tempfile.TemporaryFile() as complaints:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=complaints
        ) as process:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
            # The pipe would block for ever behind a stuck ffmpeg.
            alarm = threading.Timer(deadline_s, process.kill)
            alarm.start()
            try:
                assert process.stdin is not None
                _pour(stereo, process.stdin)
                code = process.wait()
            except BaseException:
                process.kill()
                raise
            finally:
                alarm.cancel()
        if code:
            complaints.seek(0)
            words = complaints.read()[-500:].decode(errors="replace").strip()
            raise MixFailed(f"ffmpeg could not write {draft.parent}: {words or f'code {code}'}")


def _pour(stereo: Iterator[bytes], pipe: IO[bytes]) -> None:
    # A broken pipe means that ffmpeg has ended: its own words say why.
    try:
        with contextlib.suppress(BrokenPipeError):
            for piece in stereo:
                pipe.write(piece)
    finally:
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
