"""Prompts that all sound equally loud and start at once.

Speech is set to -20 dBFS RMS (about -23 LUFS on a telephone band) unless its peaks forbid it.
Works on clips in memory; knows no files.
"""

from __future__ import annotations

from ivr_server.audio.clip import SILENCE_DBFS, Clip

TARGET_RMS_DBFS = -20.0
PEAK_DBFS = -1.0
LONGEST_SILENCE_S = 0.15
# espeak's noise floor lies under -60; the soft beginning of an 's' or 'f' does not.
_SILENCE_BELOW_RMS_DB = 30.0


def trimmed(clip: Clip, longest_s: float = LONGEST_SILENCE_S) -> Clip:
    """Silence at either end cut to `longest_s`; a wholly silent clip is left alone."""
    if clip.rms_dbfs <= SILENCE_DBFS:
        return clip
    head, tail = clip.silence_s(clip.rms_dbfs - _SILENCE_BELOW_RMS_DB)
    start = max(0.0, head - longest_s)
    return clip.part(start, clip.duration_s - max(0.0, tail - longest_s))


def levelled(clip: Clip) -> Clip:
    """Amplified to TARGET_RMS_DBFS, or as far as the peaks stay under PEAK_DBFS."""
    if clip.rms_dbfs <= SILENCE_DBFS:
        return clip
    gain = min(TARGET_RMS_DBFS - clip.rms_dbfs, PEAK_DBFS - clip.peak_dbfs)
    return clip.amplified(gain)
