"""A raw file becomes a verified recording, or a row that says why not."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import struct
import wave
from pathlib import Path

import pytest

from ivr_server.facts import Recording, RecordingState
from ivr_server.storage.recordings import place, settle

from .stories import at

RATE = 8000


def going(**changes: str | None) -> Recording:
    fields: dict[str, str | None] = {"leg_id": "leg-1", "call_id": "call-1", **changes}
    return Recording(
        recording_id="rec-1",
        kind="leg",
        state=RecordingState.RECORDING,
        path="",
        started_at=at(0),
        **fields,  # type: ignore[arg-type]
    )


def wav(path: Path, seconds: float) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(b"\1\2" * int(RATE * seconds))
    return path


def unfinish(path: Path, said: int = 0) -> Path:
    """As Asterisk leaves it while it writes, or when it is killed."""
    with path.open("r+b") as file:
        file.seek(4)
        file.write(struct.pack("<I", said + 36))
        file.seek(40)
        file.write(struct.pack("<I", said))
    return path


async def test_ok(tmp_path: Path) -> None:
    raw = wav(tmp_path / "raw.wav", 10.0)
    content = raw.read_bytes()
    got = await settle(going(), raw=raw, lasted_s=10.5, folder=tmp_path / "recordings")
    assert (got.state, got.detail) == (RecordingState.OK, "")
    assert got.path == "2026/03/02/call-1/leg-1.wav"
    assert (tmp_path / "recordings" / got.path).read_bytes() == content
    assert got.duration_s == 10.0
    assert (got.bytes, got.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert not raw.exists()


@pytest.mark.parametrize(
    ("audio_s", "lasted_s", "state"),
    [
        (4.1, 5.0, RecordingState.OK),  # 0.9 s less, and 1 s is allowed
        (3.9, 5.0, RecordingState.SHORT),
        (91.0, 100.0, RecordingState.OK),  # 9 s less, and 10 % is allowed
        (89.0, 100.0, RecordingState.SHORT),
        (6.0, 5.0, RecordingState.OK),
    ],
)
async def test_short(tmp_path: Path, audio_s: float, lasted_s: float, state: str) -> None:
    raw = wav(tmp_path / "raw.wav", audio_s)
    got = await settle(going(), raw=raw, lasted_s=lasted_s, folder=tmp_path / "recordings")
    assert got.state is state
    assert got.duration_s == audio_s


@pytest.mark.parametrize("content", [None, b""])
async def test_missing(tmp_path: Path, content: bytes | None) -> None:
    raw = tmp_path / "raw.wav"
    if content is not None:
        raw.write_bytes(content)
    got = await settle(going(), raw=raw, lasted_s=5, folder=tmp_path / "recordings", finish_s=0)
    assert got.state is RecordingState.MISSING
    assert got.path == str(raw)
    assert got.detail


async def test_header_alone_is_missing(tmp_path: Path) -> None:
    raw = wav(tmp_path / "raw.wav", 0)
    got = await settle(going(), raw=raw, lasted_s=5, folder=tmp_path / "recordings", finish_s=0)
    assert (got.state, got.duration_s) == (RecordingState.MISSING, 0.0)


@pytest.mark.parametrize("content", [b"hello", b"RIFF\0\0\0\0WAVE", b"RIFF" + b"\xff" * 5000])
async def test_unreadable(tmp_path: Path, content: bytes) -> None:
    raw = tmp_path / "raw.wav"
    raw.write_bytes(content)
    got = await settle(going(), raw=raw, lasted_s=5, folder=tmp_path / "recordings", finish_s=0)
    assert (got.state, got.duration_s) == (RecordingState.UNREADABLE, None)
    assert (tmp_path / "recordings" / got.path).read_bytes() == content


async def test_waits_for_asterisk_to_finish(tmp_path: Path) -> None:
    raw = unfinish(wav(tmp_path / "raw.wav", 2.0))
    settling = asyncio.ensure_future(
        settle(going(), raw=raw, lasted_s=4, folder=tmp_path / "recordings", finish_s=30)
    )
    for _ in range(5):
        await asyncio.sleep(0)
    assert not settling.done()
    wav(raw, 4.0)
    got = await settling
    assert (got.state, got.duration_s, got.detail) == (RecordingState.OK, 4.0, "")


@pytest.mark.parametrize("said", [0, 8000, 0xFFFFFFFF - 36])
async def test_header_never_finished_is_mended(tmp_path: Path, said: int) -> None:
    raw = unfinish(wav(tmp_path / "raw.wav", 3.0), said)
    got = await settle(going(), raw=raw, lasted_s=3, folder=tmp_path / "recordings", finish_s=0)
    assert (got.state, got.duration_s) == (RecordingState.OK, 3.0)
    assert "mended" in got.detail
    with wave.open(str(tmp_path / "recordings" / got.path)) as file:
        assert file.getnframes() == 3 * RATE


async def test_again_after_a_crash(tmp_path: Path) -> None:
    raw = wav(tmp_path / "raw.wav", 2.0)
    first = await settle(going(), raw=raw, lasted_s=2, folder=tmp_path / "recordings")
    again = await settle(going(), raw=raw, lasted_s=2, folder=tmp_path / "recordings")
    assert again == first


async def test_place_that_cannot_be_written_leaves_the_file_where_it_is(tmp_path: Path) -> None:
    raw = wav(tmp_path / "raw.wav", 2.0)
    (tmp_path / "recordings").write_text("a file where a folder should be")
    got = await settle(going(), raw=raw, lasted_s=2, folder=tmp_path / "recordings")
    assert (got.state, got.path) == (RecordingState.RECORDING, str(raw))
    assert "not moved" in got.detail
    assert raw.exists()
    (tmp_path / "recordings").unlink()
    again = await settle(got, raw=raw, lasted_s=2, folder=tmp_path / "recordings")
    assert (again.state, again.detail) == (RecordingState.OK, "")
    assert not raw.exists()


async def test_other_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = wav(tmp_path / "raw.wav", 2.0)
    rename = Path.rename

    def refuses(self: Path, target: Path) -> Path:
        if self == raw:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuses)
    got = await settle(going(), raw=raw, lasted_s=2, folder=tmp_path / "recordings")
    target = tmp_path / "recordings" / got.path
    assert got.sha256 == hashlib.sha256(target.read_bytes()).hexdigest()
    assert [path.name for path in target.parent.iterdir()] == ["leg-1.wav"]
    assert not raw.exists()


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "a\0b", "a..b", "-rf", "é", "a\n"])
async def test_names_that_are_not_plain_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a plain name"):
        place(going(call_id=name), "mix.opus")
    with pytest.raises(ValueError, match="not a plain name"):
        place(going(), name)


def test_place_counts_days_in_utc() -> None:
    assert str(place(going(), "mix.opus")) == "2026/03/02/call-1/mix.opus"
