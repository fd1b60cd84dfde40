"""The stereo file of a call, decoded again and looked at by its spectrum."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ivr_server.audio import ffmpeg, mix
from ivr_server.audio.ffmpeg import find_ffmpeg
from ivr_server.audio.mix import Mix, MixFailed, MixingDesk, Stopped, stereo_mix
from ivr_server.audio.wav import UnreadableAudio, write_wav
from ivr_server.errors import SetupError

Signal = npt.NDArray[np.float64]
ROOT = Path(__file__).parents[2]


def write_tone(path: Path, hertz: float, seconds: float, rate: int = 8000) -> Path:
    moments = np.arange(round(seconds * rate)) / rate
    samples = 8000 * np.sin(2 * np.pi * hertz * moments)
    write_wav(path, samples.astype("<i2").tobytes(), rate)
    return path


def decoded(path: Path) -> Signal:
    """Two columns, left and right, at 8000 per second."""
    command = [str(find_ffmpeg()), "-loglevel", "error", "-i", str(path)]
    command += ["-f", "s16le", "-ar", "8000", "-ac", "2", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, "<i2").reshape(-1, 2).astype(float)


def strength(signal: Signal, hertz: float) -> float:
    """Decibels of the spectrum within 10 Hz of a frequency."""
    spectrum = np.abs(np.fft.rfft(signal * np.hanning(len(signal))))
    bins = np.fft.rfftfreq(len(signal), 1 / 8000)
    return float(20 * np.log10(spectrum[np.abs(bins - hertz) < 10].max() + 1e-9))


def peak_hertz(signal: Signal) -> float:
    spectrum = np.abs(np.fft.rfft(signal * np.hanning(len(signal))))
    return float(spectrum.argmax() * 8000 / len(signal))


def onset_s(signal: Signal) -> float:
    return float(np.argmax(np.abs(signal) > 2000) / 8000)


def test_caller_left_agent_right_each_at_its_time(tmp_path: Path) -> None:
    caller = write_tone(tmp_path / "caller.wav", 440, 4.0)
    agent = write_tone(tmp_path / "agent.wav", 880, 2.5)
    result = stereo_mix([(caller, 0.0)], [(agent, 0.5)], tmp_path / "out" / "call.ogg")
    assert result.duration_s == 4.0
    assert result.left_out == ()
    data = result.path.read_bytes()
    assert data[:4] == b"OggS"
    assert b"OpusHead" in data[:64]
    assert (result.bytes, result.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert list(result.path.parent.iterdir()) == [result.path]

    sound = decoded(result.path)
    assert len(sound) / 8000 == pytest.approx(4.0, abs=0.05)
    both = sound[8000:22000]
    assert peak_hertz(both[:, 0]) == pytest.approx(440, abs=2)
    assert peak_hertz(both[:, 1]) == pytest.approx(880, abs=2)
    assert strength(both[:, 0], 440) - strength(both[:, 1], 440) > 20
    assert strength(both[:, 1], 880) - strength(both[:, 0], 880) > 20
    assert onset_s(sound[:, 0]) == pytest.approx(0.0, abs=0.05)
    assert onset_s(sound[:, 1]) == pytest.approx(0.5, abs=0.05)
    assert np.abs(sound[26000:, 1]).max() < 500  # the agent's leg ended after 3 s


def test_two_agents_one_after_the_other_across_a_stretch(tmp_path: Path) -> None:
    caller = write_tone(tmp_path / "caller.wav", 440, 23.0)
    first = write_tone(tmp_path / "first.wav", 880, 3.0, rate=16000)
    second = write_tone(tmp_path / "second.wav", 1320, 3.0)
    result = stereo_mix([(caller, 0.25)], [(first, 1.0), (second, 18.5)], tmp_path / "call.opus")
    assert result.duration_s == pytest.approx(23.25)
    sound = decoded(result.path)
    assert onset_s(sound[:, 0]) == pytest.approx(0.25, abs=0.05)
    assert onset_s(sound[:, 1]) == pytest.approx(1.0, abs=0.05)
    assert onset_s(sound[8000 * 10 :, 1]) == pytest.approx(8.5, abs=0.05)
    assert peak_hertz(sound[12000:28000, 1]) == pytest.approx(880, abs=2)
    assert peak_hertz(sound[152000:168000, 1]) == pytest.approx(1320, abs=2)  # 19 to 21 s


def test_a_take_goes_on_where_the_last_stretch_ended(tmp_path: Path) -> None:
    parts = [write_tone(tmp_path / f"{f}.wav", f, 12.5).read_bytes()[44:] for f in (440, 1320)]
    write_wav(tmp_path / "two.wav", b"".join(parts), 8000)
    sound = decoded(stereo_mix([(tmp_path / "two.wav", 0.1)], [], tmp_path / "o.ogg").path)
    assert peak_hertz(sound[90000:98000, 0]) == pytest.approx(440, abs=2)
    assert peak_hertz(sound[104000:112000, 0]) == pytest.approx(1320, abs=2)
    assert peak_hertz(sound[162000:170000, 0]) == pytest.approx(1320, abs=2)  # after 20 s


@pytest.mark.parametrize("odd", [1, 3, 7, 9])
@pytest.mark.parametrize("offset_s", [0.0, 0.3333])
def test_lengths_that_are_no_whole_milliseconds(tmp_path: Path, odd: int, offset_s: float) -> None:
    takes = []
    for name, frames in (("left", 8000 + odd), ("right", 8005)):
        write_wav(tmp_path / f"{name}.wav", b"\x00\x10" * frames, 8000)
        takes.append([(tmp_path / f"{name}.wav", offset_s)])
    result = stereo_mix(takes[0], takes[1], tmp_path / "o.ogg")
    assert len(decoded(result.path)) / 8000 == pytest.approx(result.duration_s, abs=0.05)


def test_two_takes_at_once_are_both_heard(tmp_path: Path) -> None:
    takes = [(write_tone(tmp_path / f"{f}.wav", f, 2.0), 0.0) for f in (500, 1000)]
    sound = decoded(stereo_mix(takes, [], tmp_path / "o.ogg").path)[4000:12000]
    assert abs(strength(sound[:, 0], 500) - strength(sound[:, 0], 1000)) < 3
    assert np.abs(sound[:, 1]).max() < 200


def test_missing_and_empty_takes_are_silence_and_are_named(tmp_path: Path) -> None:
    caller = write_tone(tmp_path / "caller.wav", 440, 1.0)
    empty = tmp_path / "empty.wav"
    write_wav(empty, b"", 8000)
    result = stereo_mix([(caller, 0)], [(tmp_path / "no.wav", 0), (empty, 0)], tmp_path / "o.ogg")
    assert len(result.left_out) == 2
    assert "no.wav" in result.left_out[0]
    assert "empty" in result.left_out[1]
    sound = decoded(result.path)
    assert strength(sound[:, 0], 440) - strength(sound[:, 1], 440) > 20


def test_nothing_to_mix(tmp_path: Path) -> None:
    with pytest.raises(UnreadableAudio, match=r"no\.wav"):
        stereo_mix([(tmp_path / "no.wav", 0)], [], tmp_path / "o.ogg")
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_cannot_be_written_says_so_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = write_tone(tmp_path / "caller.wav", 440, 30.0)
    fake = tmp_path / "ffmpeg"
    fake.write_text("#!/bin/sh\necho 'No space left on device' >&2; exit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(mix, "find_ffmpeg", lambda: fake)
    with pytest.raises(MixFailed, match="No space left"):
        stereo_mix([(caller, 0)], [], tmp_path / "out" / "o.ogg")
    assert list((tmp_path / "out").iterdir()) == []


def test_ffmpeg_is_the_operators_or_the_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_ffmpeg()
    monkeypatch.setenv(ffmpeg.VARIABLE, str(found))
    assert find_ffmpeg() == found
    monkeypatch.setenv(ffmpeg.VARIABLE, sys.executable)
    with pytest.raises(SetupError, match="libopus"):
        find_ffmpeg()


def test_no_ffmpeg_at_all_is_one_sentence_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ffmpeg.VARIABLE, raising=False)
    monkeypatch.setattr(ffmpeg, "_candidates", lambda: iter(()))
    with pytest.raises(SetupError, match="pip install imageio-ffmpeg"):
        find_ffmpeg()


async def test_the_desk_mixes_no_more_than_its_limit_and_off_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = most = 0
    lock = threading.Lock()
    together = threading.Barrier(2, timeout=10)  # broken if the desk never runs two at once

    def counted(left: object, right: object, target: Path, *, stop: threading.Event) -> Mix:
        nonlocal busy, most
        assert threading.current_thread() is not threading.main_thread()
        with lock:
            busy += 1
            most = max(most, busy)
        together.wait()
        with lock:
            busy -= 1
        return Mix(path=target, duration_s=0, bytes=0, sha256="")

    monkeypatch.setattr(mix, "stereo_mix", counted)
    desk = MixingDesk(limit=2)
    targets = [tmp_path / str(n) for n in range(6)]
    done = await asyncio.gather(*(desk.mix([], [], target) for target in targets))
    assert [one.path for one in done] == targets
    assert most == 2


async def test_a_closed_desk_gives_up_what_is_under_way_and_begins_nothing(tmp_path: Path) -> None:
    """A service that stops must not wait for the mix of an hour."""
    sound = write_tone(tmp_path / "caller.wav", 440, 21 * 20.0)
    desk = MixingDesk(limit=1)
    began = threading.Event()
    original = mix._until

    def noted(*args: object) -> object:
        began.set()
        desk.close()
        return original(*args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mix, "_until", noted)
        with pytest.raises(Stopped):
            await desk.mix([(sound, 0.0)], [], tmp_path / "a.ogg")
    assert began.is_set()
    with pytest.raises(Stopped):
        await desk.mix([(sound, 0.0)], [], tmp_path / "b.ogg")
    assert [one.name for one in tmp_path.iterdir()] == ["caller.wav"]


def test_a_long_call_costs_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    write_tone(tmp_path / "minute.wav", 440, 60)
    long = tmp_path / "long.wav"
    write_wav(long, (tmp_path / "minute.wav").read_bytes()[44:] * 20, 8000)
    assert long.stat().st_size > 19e6
    program = (
        "import resource, sys; from pathlib import Path; from ivr_server.audio import mix\n"
        "a = Path(sys.argv[1]); mix.stereo_mix([(a, 0)], [(a, 1)], a.with_suffix('.ogg'))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    kilobytes = {
        name: int(
            subprocess.run(
                [sys.executable, "-c", program, str(tmp_path / f"{name}.wav")],
                capture_output=True,
                check=True,
                cwd=ROOT,
            ).stdout
        )
        for name in ("minute", "long")
    }
    assert kilobytes["long"] < kilobytes["minute"] + 10_000, kilobytes
