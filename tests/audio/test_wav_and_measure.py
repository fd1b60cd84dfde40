"""Reading what Asterisk leaves behind, and saying how long and how loud it is."""

from __future__ import annotations

import hashlib
import math
import struct
import wave
from array import array
from pathlib import Path

import pytest

from ivr_server.audio.clip import SILENCE_DBFS, Clip
from ivr_server.audio.level import levelled, trimmed
from ivr_server.audio.measure import measure, sha256
from ivr_server.audio.resample import resampled
from ivr_server.audio.wav import UnreadableAudio, open_wav, write_wav


def tone(hertz: float, seconds: float, rate: int = 8000, amplitude: float = 0.25) -> Clip:
    step = 2 * math.pi * hertz / rate
    peak = 32767 * amplitude
    wave_ = array("h", (round(peak * math.sin(step * n)) for n in range(round(seconds * rate))))
    return Clip(wave_.tobytes(), rate)


def silence(seconds: float, rate: int = 8000) -> bytes:
    return bytes(2 * round(seconds * rate))


def test_a_tone_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    tone(440, 2.5).write(path)
    found = measure(path)
    assert found.duration_s == 2.5
    assert found.rms_dbfs == pytest.approx(-15.05, abs=0.05)  # 0.25 of full scale, less 3 dB
    assert found.peak_dbfs == pytest.approx(-12.04, abs=0.05)
    assert (found.rate, found.channels, found.silent) == (8000, 1, False)
    assert found.bytes == path.stat().st_size
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_one_spoken_second_in_a_silent_minute_is_not_silence(tmp_path: Path) -> None:
    path = tmp_path / "mostly.wav"
    loud = tone(440, 1, amplitude=0.02).pcm
    write_wav(path, silence(59) + loud, 8000)
    found = measure(path)
    assert found.rms_dbfs < -50
    assert not found.silent


@pytest.mark.parametrize("seconds", [0.0, 0.01, 3.0])
def test_silence(tmp_path: Path, seconds: float) -> None:
    path = tmp_path / "silence.wav"
    write_wav(path, silence(seconds), 8000)
    found = measure(path)
    assert found.silent
    assert found.rms_dbfs == SILENCE_DBFS
    assert found.duration_s == pytest.approx(seconds)


def test_a_header_that_was_never_finished_counts_to_the_end_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "killed.wav"
    tone(440, 2).write(path)
    data = bytearray(path.read_bytes())
    assert data[36:40] == b"data"
    data[4:8] = data[40:44] = struct.pack("<I", 0)
    path.write_bytes(data)
    assert measure(path).duration_s == 2.0


def test_a_truncated_file_is_as_long_as_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    tone(440, 2).write(path)
    path.write_bytes(path.read_bytes()[: 44 + 16001])
    assert measure(path).duration_s == 1.0


def test_chunks_before_the_samples_and_two_channels(tmp_path: Path) -> None:
    path = tmp_path / "studio.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44100)
        file.writeframes(b"\x10\x00\x20\x00" * 44100)
    data = path.read_bytes()
    path.write_bytes(data[:12] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + data[12:])
    found = open_wav(path)
    assert (found.rate, found.channels, found.duration_s) == (44100, 2, 1.0)
    assert Clip.read(path).pcm[:2] == b"\x18\x00"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"", "not a WAV"),
        (b"RIFF\0\0\0\0WAVE", "damaged"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "damaged"),
        (b"OggS" + bytes(100), "not a WAV"),
        (
            b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 7, 1, 8000, 8000, 1, 8),
            "not 16-bit",
        ),
    ],
)
def test_what_is_no_pcm_is_refused_by_name(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "broken.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableAudio, match=words) as caught:
        measure(path)
    assert str(path) in str(caught.value)


def test_trim_and_level() -> None:
    word = tone(700, 0.5, amplitude=0.01)
    clip = Clip(silence(0.6) + word.pcm + silence(1.0), 8000)
    result = levelled(trimmed(clip))
    head, tail = result.silence_s(-50)
    assert head == pytest.approx(0.15, abs=0.011)
    assert tail == pytest.approx(0.15, abs=0.011)
    assert result.rms_dbfs == pytest.approx(levelled(result).rms_dbfs, abs=0.1)
    assert result.rms_dbfs == pytest.approx(-20, abs=0.2)


def test_levelling_never_clips() -> None:
    click = array("h", [0] * 8000)
    click[4000] = 3000  # next to no RMS, so the gain wanted would be far too much
    assert levelled(Clip(click.tobytes(), 8000)).peak_dbfs == pytest.approx(-1.0, abs=0.1)


def test_silence_is_left_alone() -> None:
    clip = Clip(silence(1), 8000)
    assert levelled(trimmed(clip)) == clip


@pytest.mark.parametrize("hertz", [100, 1000, 3000, 3400])
def test_speech_passes_the_resampler(hertz: float) -> None:
    before = tone(hertz, 0.5, rate=22050)
    after = resampled(before, 8000)
    assert after.rate == 8000
    assert after.duration_s == pytest.approx(0.5, abs=0.001)
    assert after.rms_dbfs == pytest.approx(before.rms_dbfs, abs=0.3)


@pytest.mark.parametrize("hertz", [4600, 5500, 7000, 10000])
def test_what_would_alias_does_not(hertz: float) -> None:
    before = tone(hertz, 0.5, rate=22050)
    middle = resampled(before, 8000).part(0.1, 0.4)  # the ends of a tone are clicks of their own
    assert middle.rms_dbfs < before.rms_dbfs - 40
