"""What a WAV file holds: how long, how loud, silent or not, and its fingerprint.

Reads a second at a time: an hour costs no more memory than a minute. Judges nothing; whether a
leg is too short is the recordings' business.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

from ivr_server.audio.clip import SILENCE_DBFS, Clip
from ivr_server.audio.wav import open_wav

_AUDIBLE_DBFS = -50.0  # line noise of an open phone lies below, a whisper above


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Levels are decibels under full scale, SILENCE_DBFS at the least."""

    duration_s: float
    rate: int
    channels: int
    bytes: int
    rms_dbfs: float  # over the whole file
    loudest_dbfs: float  # RMS of the loudest second
    peak_dbfs: float

    @property
    def silent(self) -> bool:
        """No second of it can be heard."""
        return self.loudest_dbfs < _AUDIBLE_DBFS


def measure(path: Path) -> Measurement:
    """Raises wav.UnreadableAudio when the file is not 16-bit PCM WAV."""
    wav = open_wav(path)
    power = 0.0
    loudest = peak = SILENCE_DBFS
    for start in range(0, wav.frames, wav.rate):
        second = Clip.stretch(wav.read(start, wav.rate), wav.rate, wav.channels)
        level = second.rms_dbfs
        power += second.frames * 10 ** (level / 10)
        # A last stretch of a few samples says nothing about loudness.
        if second.frames >= wav.rate // 10 or wav.frames < wav.rate // 10:
            loudest = max(loudest, level)
        peak = max(peak, second.peak_dbfs)
    rms = 10 * math.log10(power / wav.frames) if wav.frames else SILENCE_DBFS
    return Measurement(
        duration_s=wav.duration_s,
        rate=wav.rate,
        channels=wav.channels,
        bytes=path.stat().st_size,
        rms_dbfs=rms,
        loudest_dbfs=loudest,
        peak_dbfs=peak,
    )


def sha256(path: Path) -> str:
    """Hexadecimal digest of the whole file, of any kind."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
