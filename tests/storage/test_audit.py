"""Rows and files against each other."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ivr_server.facts import Recording, RecordingState
from ivr_server.storage import audit

from . import stories
from .place import store

CONTENT = b"what was said"
GOOD = replace(
    stories.recording("call-1", "caller", 0, 2, RecordingState.OK),
    bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)


def put(folder: Path, name: str, content: bytes = CONTENT, *, age_s: float = 3600) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    then = file.stat().st_mtime - age_s
    os.utime(file, (then, then))


async def found(dsn: str, folder: Path, *rows: Recording, hashes: bool = False) -> list[str]:
    await store(dsn, *rows)
    return [one.problem for one in await audit.files(dsn, folder, hashes=hashes)]


async def test_a_row_and_its_file(dsn: str, tmp_path: Path) -> None:
    put(tmp_path, GOOD.path)
    assert await found(dsn, tmp_path, GOOD, hashes=True) == []


async def test_a_row_without_its_file(dsn: str, tmp_path: Path) -> None:
    assert await found(dsn, tmp_path, GOOD) == ["row without its file"]


async def test_a_file_without_a_row_unless_it_has_only_just_come(dsn: str, tmp_path: Path) -> None:
    put(tmp_path, GOOD.path)
    put(tmp_path, "orphans/1700000000.1.wav")
    put(tmp_path, "2026/03/02/new/leg.wav", age_s=0)
    assert await found(dsn, tmp_path, GOOD) == ["file without a row"]


@pytest.mark.parametrize(
    ("content", "hashes", "problems"),
    [
        (b"shorter", False, ["file of another size than its row"]),
        (CONTENT[::-1], False, []),
        (CONTENT[::-1], True, ["file of another content than its row"]),
    ],
)
async def test_a_file_that_was_changed(
    dsn: str, tmp_path: Path, content: bytes, hashes: bool, problems: list[str]
) -> None:
    put(tmp_path, GOOD.path, content)
    assert await found(dsn, tmp_path, GOOD, hashes=hashes) == problems


async def test_a_recording_that_is_known_to_be_missing_is_no_news(dsn: str, tmp_path: Path) -> None:
    missing = replace(GOOD, state=RecordingState.MISSING, path="/spool/x.wav")
    assert await found(dsn, tmp_path, missing) == []
