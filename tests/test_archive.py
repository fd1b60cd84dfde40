"""Recordings after the talk: filed, mixed, tried again, and left to the next service."""

from __future__ import annotations

import asyncio
import wave
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ivr_server import archive as archives
from ivr_server import facts
from ivr_server.archive import RecordingArchive, planned_mix
from ivr_server.facts import LegKind, RecordingState
from ivr_server.storage.journal import Journal

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CALL = facts.Call(call_id="call", started_at=START, dialled="100", caller_number="+7916",
                  language="en", flow="f", flow_version="v")  # fmt: skip
ENDED = replace(CALL, ended_at=START, end_reason=facts.CallEnd.FLOW_ENDED)


class Story:
    """One recorded call in a journal on disk, with an archive beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = Journal.open(folder / "journal")
        self.archive = RecordingArchive(self.journal, folder / "recordings")

    def leg(self, name: str, kind: LegKind = LegKind.CALLER) -> facts.Recording:
        raw = self.folder / f"{name}.raw.wav"
        with wave.open(str(raw), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(b"\1\2" * 16000)
        leg = facts.Leg(leg_id=name, call_id="call", kind=kind, endpoint="x", started_at=START,
                        ended_at=START, end_reason=facts.LegEnd.HUNG_UP)  # fmt: skip
        recording = facts.Recording(recording_id=name, call_id="call", leg_id=name, kind="leg",
                                    state=RecordingState.RECORDING, path=str(raw),
                                    started_at=START)  # fmt: skip
        self.journal.append(leg, recording)
        self.archive.leg_over(recording, kind, 2.0)
        return recording

    def over(self) -> None:
        self.journal.append(ENDED)
        self.archive.call_over("call")

    def next_service(self) -> Story:
        self.journal.close()
        return Story(self.folder)


def rows(story: Story) -> dict[str, RecordingState]:
    (call,) = story.journal.open_calls().values()
    return {name: one.state for name, one in call.recordings.items()}


async def test_a_call_is_complete_when_its_mix_is_made(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.journal.append(CALL, planned_mix("call", START))
    story.leg("caller")
    # Filed before the call has ended, as when the caller hangs up first: it stays open.
    await story.archive.drain()
    story.over()
    assert rows(story)["call-mix"] is RecordingState.RECORDING
    await story.archive.drain()
    assert story.journal.open_calls() == {}
    assert (tmp_path / "recordings/2026/03/02/call/mix.ogg").exists()
    story.journal.close()


async def test_a_mix_that_was_not_made_is_made_by_the_next_service(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.journal.append(CALL, planned_mix("call", START))
    story.leg("caller")
    await story.archive.drain()
    story.archive.close()
    story.over()
    await story.archive.drain()
    later = story.next_service()
    assert rows(later) == {"caller": RecordingState.OK, "call-mix": RecordingState.RECORDING}
    (call,) = later.journal.open_calls().values()
    later.archive.known(call.recordings["caller"], LegKind.CALLER)
    later.archive.call_over("call")
    await later.archive.drain()
    assert later.journal.open_calls() == {}
    later.journal.close()


async def test_a_call_without_audio_has_no_mix_to_wait_for(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.journal.append(CALL)
    recording = story.leg("caller")
    Path(recording.path).unlink()
    story.over()
    await story.archive.drain()
    assert story.journal.open_calls() == {}
    story.journal.close()


async def test_what_could_not_be_moved_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "RETRY_S", 0.05)
    story = Story(tmp_path)
    story.journal.append(CALL)
    folder = tmp_path / "recordings"
    folder.rmdir()
    folder.write_text("no room")
    story.leg("caller")
    story.over()
    await story.archive.drain()
    assert rows(story)["caller"] is RecordingState.RECORDING
    written = story.journal.seq
    async with asyncio.timeout(10):
        while not story.archive._retries:
            await asyncio.sleep(0.01)
    await story.archive.drain()
    assert story.journal.seq == written, "nothing new to say"
    folder.unlink()
    async with asyncio.timeout(10):
        while story.journal.open_calls():
            await asyncio.sleep(0.01)
            await story.archive.drain()
    assert (folder / "2026/03/02/call/caller.wav").exists()
    assert (folder / "2026/03/02/call/mix.ogg").exists()
    assert list(tmp_path.glob("*.raw.wav")) == []
    story.archive.close()
    story.journal.close()


async def test_a_folder_that_was_made_by_somebody_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir(mode=0o750)
    story = Story(tmp_path)
    assert (tmp_path / "recordings").stat().st_mode & 0o777 == 0o750
    story.journal.close()


async def test_recordings_are_for_nobody_else(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.journal.append(CALL)
    story.leg("caller")
    story.over()
    await story.archive.drain()
    folder = tmp_path / "recordings"
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "2026/03/02/call/mix.ogg").stat().st_mode & 0o077 == 0
    story.journal.close()
