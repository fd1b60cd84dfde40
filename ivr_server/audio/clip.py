"""A short mono 16-bit sound in memory; pydub does the arithmetic.

The only module that imports pydub, which has no types: `Any` stays in here. Long files do not
belong in a Clip as a whole; read them a stretch at a time (wav.py).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr_server.audio.wav import open_wav, write_wav

with warnings.catch_warnings():
    # pydub warns about an absent ffmpeg (ffmpeg.py finds it) and, on old and new Pythons,
    # about audioop and its own string escapes; none of it is news to the operator.
    warnings.simplefilter("ignore")
    from pydub import AudioSegment
    from pydub.silence import detect_leading_silence

SILENCE_DBFS = -96.0  # what 16 bits can say about "nothing"; finite, so that it can be stored


@dataclass(frozen=True)
class Clip:
    """Mono 16-bit little-endian samples at `rate` per second."""

    pcm: bytes
    rate: int

    @classmethod
    def read(cls, path: Path) -> Clip:
        """A whole file; several channels are averaged to one."""
        wav = open_wav(path)
        return cls.stretch(wav.read(0, wav.frames), wav.rate, wav.channels)

    @classmethod
    def stretch(cls, pcm: bytes, rate: int, channels: int) -> Clip:
        """Interleaved samples of any number of channels, averaged to one."""
        if channels == 1 or not pcm:
            return cls(pcm, rate)
        sound = AudioSegment(data=pcm, sample_width=2, frame_rate=rate, channels=channels)
        return cls(sound.set_channels(1).raw_data, rate)

    def write(self, path: Path) -> None:
        write_wav(path, self.pcm, self.rate)

    @property
    def frames(self) -> int:
        return len(self.pcm) // 2

    @property
    def duration_s(self) -> float:
        return self.frames / self.rate

    @property
    def rms_dbfs(self) -> float:
        """Root mean square level under full scale; SILENCE_DBFS when there is nothing."""
        return _decibel(self._segment().rms) if self.pcm else SILENCE_DBFS

    @property
    def peak_dbfs(self) -> float:
        return _decibel(self._segment().max) if self.pcm else SILENCE_DBFS

    def amplified(self, gain_db: float) -> Clip:
        """Louder or softer; samples beyond full scale are clipped."""
        return Clip(self._segment().apply_gain(gain_db).raw_data, self.rate)

    def silence_s(self, below_dbfs: float) -> tuple[float, float]:
        """Length of the silence at the beginning and at the end, in steps of 10 ms."""
        segment = self._segment()
        head = detect_leading_silence(segment, silence_threshold=below_dbfs, chunk_size=10)
        tail = detect_leading_silence(
            segment.reverse(), silence_threshold=below_dbfs, chunk_size=10
        )
        return min(head / 1000, self.duration_s), min(tail / 1000, self.duration_s)

    def part(self, start_s: float, end_s: float) -> Clip:
        first, last = (max(0, round(moment * self.rate)) for moment in (start_s, end_s))
        return Clip(self.pcm[2 * first : 2 * last], self.rate)

    def at_rate(self, rate: int) -> Clip:
        """Quick conversion without a filter: upwards only (resample.py goes down)."""
        if rate == self.rate:
            return self
        return Clip(self._segment().set_frame_rate(rate).raw_data, rate)

    def padded(self, before: int, frames: int) -> Clip:
        """`before` frames of silence, the sound, and silence up to `frames` in all."""
        pcm = (bytes(2 * before) + self.pcm)[: 2 * frames]
        return Clip(pcm + bytes(2 * frames - len(pcm)), self.rate)

    def over(self, other: Clip) -> Clip:
        """Both at once, as long as this one; the sum is limited to full scale.

        This one must last whole milliseconds: pydub counts in them and would drop the rest.
        """
        return Clip(self._segment().overlay(other._segment()).raw_data, self.rate)

    def beside(self, right: Clip) -> bytes:
        """Interleaved stereo frames: this one left, an equally long one right."""
        both = AudioSegment.from_mono_audiosegments(self._segment(), right._segment())
        return bytes(both.raw_data)

    def _segment(self) -> Any:
        return AudioSegment(data=self.pcm, sample_width=2, frame_rate=self.rate, channels=1)


def _decibel(amplitude: float) -> float:
    return max(SILENCE_DBFS, 20 * math.log10(amplitude / 32768)) if amplitude else SILENCE_DBFS
