"""WAV files as telephony leaves them: 16-bit PCM, sometimes with an unfinished header.

Reads a stretch at a time, so an hour-long leg never sits in memory. Knows headers and frames;
does not know loudness, and decodes no codec.
"""

from __future__ import annotations

import os
import struct
import threading
import wave
from dataclasses import dataclass
from pathlib import Path

from ivr_server.errors import IvrError

_PCM = 1
_EXTENSIBLE = 0xFFFE
# Asterisk fills in the length when it closes the file; a killed one leaves 0 there.
_LENGTH_UNKNOWN = (0, 0xFFFFFFFF)


class UnreadableAudio(IvrError):
    """The file is missing, empty or not 16-bit PCM WAV."""


@dataclass(frozen=True, kw_only=True)
class Wav:
    """Where the samples of one file are. A frame is one 16-bit sample per channel."""

    path: Path
    rate: int  # frames per second
    channels: int
    frames: int
    data_at: int  # byte offset of the first frame

    @property
    def duration_s(self) -> float:
        return self.frames / self.rate

    def read(self, start: int, count: int) -> bytes:
        """At most `count` frames from frame `start`, interleaved; fewer at the end."""
        count = max(0, min(count, self.frames - start))
        width = 2 * self.channels
        with self.path.open("rb") as file:
            file.seek(self.data_at + start * width)
            data = file.read(count * width)
        return data[: len(data) - len(data) % width]


def open_wav(path: Path) -> Wav:
    """Read the header. Raises UnreadableAudio with a sentence that names the file."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(12)
            if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
                raise UnreadableAudio(f"{path} is not a WAV file.")
            rate = channels = 0
            while len(chunk := file.read(8)) == 8:
                name, length = chunk[:4], int.from_bytes(chunk[4:], "little")
                at = file.tell()
                if name == b"data":
                    left = size - at
                    length = left if length in _LENGTH_UNKNOWN else min(length, left)
                    if not rate:
                        break
                    frames = length // (2 * channels)
                    return Wav(path=path, rate=rate, channels=channels, frames=frames, data_at=at)
                if name == b"fmt ":
                    rate, channels = _format(path, file.read(min(length, 64)))
                file.seek(at + length + length % 2)
    except OSError as error:
        raise UnreadableAudio(f"{path} cannot be read: {error.strerror}.") from error
    raise UnreadableAudio(f"{path} has a damaged WAV header.")


def _format(path: Path, block: bytes) -> tuple[int, int]:
    if len(block) < 16:
        raise UnreadableAudio(f"{path} has a damaged WAV header.")
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", block[:16])
    if tag not in (_PCM, _EXTENSIBLE) or bits != 16 or not channels or not rate:
        raise UnreadableAudio(
            f"{path} is not 16-bit PCM; convert it: "
            "ffmpeg -i FILE -ar 8000 -ac 1 -c:a pcm_s16le OUT.wav"
        )
    return rate, channels


def write_wav(path: Path, pcm: bytes, rate: int) -> None:
    """Write mono 16-bit samples so that a reader sees the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with wave.open(str(draft), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(pcm)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
