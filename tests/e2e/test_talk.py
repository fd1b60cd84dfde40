"""A talk: audio both ways, each leg in its own file, the mix with each on its side, times right."""

from __future__ import annotations

import time
import wave
from pathlib import Path

import numpy as np

from ivr_server.audio.ffmpeg import find_ffmpeg
from ivr_server.facts import CallEnd, RecordingState
from ivr_server.testing.phones import Phone, share

from .conftest import AGENT_HZ, CALLER_HZ, Serving

RATE = 8000
WITHIN_S = 0.1


def samples(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)


def onset_s(sound: np.ndarray, hz: float, rate: int = RATE) -> float:
    """When a tone begins, to 10 ms."""
    step = rate // 100
    for start in range(0, len(sound) - 2 * step, step):
        if share(sound[start : start + 2 * step].tobytes(), hz, rate) > 0.6:
            return start / rate
    raise AssertionError(f"no {hz} Hz in it")


def stereo(path: Path) -> np.ndarray:
    """The mix decoded to two columns at 8 kHz."""
    import subprocess

    raw = subprocess.run(
        [find_ffmpeg(), "-v", "error", "-i", path, "-f", "s16le", "-ar", str(RATE), "-"],
        capture_output=True,
        check=True,
    ).stdout
    return np.frombuffer(raw, dtype=np.int16).reshape(-1, 2)


async def test_two_way_audio_and_every_file(serving: Serving, phones: dict[str, Phone]) -> None:
    """Call (b) of the demo, measured: who is in which file, and when."""
    caller, anna = phones["caller1"], phones["anna"]
    for name in ("anna", "boris", "vera"):
        phones[name].answer_after_s = 0.2
    caller.tone_hz, anna.tone_hz = 0.0, AGENT_HZ["anna"]
    try:
        call = await caller.dial("100")
        agent = await anna.conversation(5)
        await call.hears(5, hz=AGENT_HZ["anna"])
        call.tone_hz = CALLER_HZ
        assert await agent.hears(5, hz=CALLER_HZ)
        assert await call.hears(5, hz=AGENT_HZ["anna"])
        heard = call.heard.seconds()
        await call.until(lambda c: c.heard.seconds() > heard + 1.5, 5)
        began = {CALLER_HZ: call.tone_began, AGENT_HZ["anna"]: agent.tone_began}
        await agent.hangup()
        assert await call.ended(5)
    finally:
        caller.tone_hz = CALLER_HZ
    (row,) = await serving.settled()
    assert row.end_reason == CallEnd.COMPLETED_BY_AGENT
    assert row.agent == "anna"
    assert (row.recordings, row.bad_recordings) == (2, 0)
    legs = [file for file in row.files if file.kind == "leg"]
    (mix,) = [file for file in row.files if file.kind == "mix"]
    folder = serving.machine.settings.recordings
    by_offset = sorted(legs, key=lambda file: file.offset_s)
    for file, mine, other in zip(
        by_offset, (CALLER_HZ, AGENT_HZ["anna"]), (AGENT_HZ["anna"], CALLER_HZ), strict=True
    ):
        assert file.state is RecordingState.OK
        sound = samples(folder / file.path)
        talk = sound[len(sound) // 2 :].tobytes()
        assert share(talk, mine) > 0.5, f"{mine} Hz is in {file.path}"
        assert share(talk, other) < 0.01, f"{other} Hz is not in {file.path}"
        really = began[mine] - file.started_at.timestamp()
        assert abs(onset_s(sound, mine) - really) < WITHIN_S
        assert file.sha256 is not None
    both = stereo(folder / mix.path)
    first = by_offset[0].started_at.timestamp()
    for side, mine, other in ((0, CALLER_HZ, AGENT_HZ["anna"]), (1, AGENT_HZ["anna"], CALLER_HZ)):
        sound = np.ascontiguousarray(both[:, side])
        talk = sound[len(sound) * 2 // 3 :].tobytes()
        assert share(talk, mine) > 0.5
        assert share(talk, other) < 0.01
        assert abs(onset_s(sound, mine) - (began[mine] - first)) < WITHIN_S


async def test_keys_leave_no_hole_in_the_recording(
    serving: Serving, phones: dict[str, Phone]
) -> None:
    """A phone sends no audio while it sends a key; what follows must not stand too early."""
    caller = phones["caller1"]
    caller.tone_hz = 0.0
    try:
        call = await caller.dial("101")
        assert await call.hears(5)
        await call.press("2")
        for digit in "4711":
            heard = call.heard.seconds()
            await call.press(digit)
            await call.until(lambda c, heard=heard: c.heard.seconds() > heard + 0.3, 5)
        call.tone_hz = CALLER_HZ
        assert await call.ended(15)
    finally:
        caller.tone_hz = CALLER_HZ
    (row,) = await serving.settled()
    (leg,) = [file for file in row.files if file.kind == "leg"]
    sound = samples(serving.machine.settings.recordings / leg.path)
    really = call.tone_began - leg.started_at.timestamp()
    assert abs(onset_s(sound, CALLER_HZ) - really) < WITHIN_S
    assert row.total_s is not None
    assert abs(len(sound) / RATE - row.total_s) < 2 * WITHIN_S


async def test_a_number_without_recording_leaves_no_file(
    serving: Serving, phones: dict[str, Phone]
) -> None:
    phones["anna"].answer_after_s = phones["boris"].answer_after_s = 0.1
    phones["vera"].answer_after_s = 0.1
    before = set(serving.machine.settings.spool.iterdir())
    call = await phones["caller1"].dial("102")
    assert await call.hears(5, hz=AGENT_HZ["anna"])
    await call.hangup()
    (row,) = await serving.settled()
    assert row.end_reason == CallEnd.COMPLETED_BY_CALLER
    assert row.files == ()
    assert set(serving.machine.settings.spool.iterdir()) == before


async def test_connected_at_once_in_the_middle_of_an_announcement(
    serving: Serving, phones: dict[str, Phone]
) -> None:
    """The agent's tone reaches the caller within half a second of the answer."""
    call = await phones["caller1"].dial("100")
    assert await call.hears(5), "the welcome of the queue is being played"
    anna = phones["anna"]
    assert await anna.rang(1, 5)
    for name in ("anna", "boris", "vera"):
        phones[name].answer_after_s = 0.0
    # The first phone rings on unanswered; the next one picks up in the middle of what is said.
    assert await call.hears(8, hz=AGENT_HZ["boris"], s=0.1)
    heard_at = time.time()
    boris = await phones["boris"].conversation(1)
    assert heard_at - boris.tone_began < 0.5
    await call.hangup()
    (row,) = await serving.settled()
    assert (row.ring_attempts, row.agent) == (2, "boris")
