"""The files of the journal: their names, reading on from a mark, and the mark itself.

A segment is named by its number, `00000001.jsonl`. Reading never changes a file, so it may go on
in another thread while the journal appends. Knows nothing of calls and of Postgres.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ivr_server.facts import Fact
from ivr_server.storage.lines import decode

_MARK = "shipped.json"
_CHUNK = 2**20


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Everything before this place in the journal has been dealt with."""

    segment: int = 0
    offset: int = 0
    seq: int = 0  # of the last fact before the place


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Some facts in order, and the mark after them."""

    facts: tuple[Fact, ...]
    mark: Mark
    damaged: int  # lines that are no facts, skipped


def segment_path(folder: Path, number: int) -> Path:
    """Where a segment lies."""
    return folder / f"{number:08d}.jsonl"


def segment_numbers(folder: Path) -> list[int]:
    """The segments there are, oldest first."""
    stems = (path.stem for path in folder.glob("*.jsonl"))
    return sorted(int(stem) for stem in stems if stem.isdigit())


def load_mark(folder: Path) -> Mark:
    """The mark that was saved; the beginning when there is none or it makes no sense."""
    try:
        mark = msgspec.json.decode((folder / _MARK).read_bytes(), type=Mark)
        path = segment_path(folder, mark.segment)
        with path.open("rb") as file:
            file.seek(mark.offset - 1 if mark.offset > 0 else 0)
            # A host that lost power may have kept less of the segment than the mark says.
            if mark.offset == 0 or file.read(1) == b"\n":
                return mark
        return Mark(segment=mark.segment)
    except (OSError, msgspec.MsgspecError):
        return Mark()  # writing a fact twice changes nothing, so begin anew


def save_mark(folder: Path, mark: Mark) -> None:
    """Replace the saved mark in one step. Raises OSError."""
    fresh = folder / f"{_MARK}.new"
    fresh.write_bytes(msgspec.json.encode(mark))
    fresh.replace(folder / _MARK)


def delete_before(folder: Path, segment: int) -> int:
    """Delete older segments; returns how many."""
    old = [number for number in segment_numbers(folder) if number < segment]
    for number in old:
        with suppress(FileNotFoundError):
            segment_path(folder, number).unlink()
    return len(old)


def read(folder: Path, mark: Mark, limit: int) -> Stretch:
    """Up to `limit` facts after the mark; raises OSError."""
    facts: list[Fact] = []
    damaged = 0
    while len(facts) < limit:
        # Listed before reading: if there is a later segment now, this one grows no more.
        numbers = segment_numbers(folder)
        current = mark.segment if mark.segment in numbers else None
        if current is None:
            later = [number for number in numbers if number > mark.segment]
            if not later:
                break
            mark = Mark(segment=later[0], seq=mark.seq)
            continue
        found, place, seq, bad = _lines(
            segment_path(folder, current), mark.offset, limit - len(facts)
        )
        facts += found
        damaged += bad
        mark = Mark(segment=current, offset=place, seq=seq or mark.seq)
        if len(facts) >= limit:
            break
        later = [number for number in numbers if number > current]
        if not later:
            break
        left = segment_path(folder, current).stat().st_size - place
        damaged += 1 if left else 0  # a last line that was never finished
        mark = Mark(segment=later[0], seq=mark.seq)
    return Stretch(facts=tuple(facts), mark=mark, damaged=damaged)


def _lines(path: Path, offset: int, limit: int) -> tuple[list[Fact], int, int, int]:
    """Facts from the offset on, the offset after them, the last number, and damaged lines."""
    facts: list[Fact] = []
    seq = damaged = 0
    with path.open("rb", buffering=_CHUNK) as file:
        file.seek(offset)
        while len(facts) < limit:
            line = file.readline()
            if not line.endswith(b"\n"):
                break  # the end, or a line that is being written
            offset += len(line)
            try:
                seq, fact = decode(line)
            except ValueError:
                damaged += 1
                continue
            facts.append(fact)
    return facts, offset, seq, damaged


def cut_torn_tail(path: Path) -> int:
    """Mend the end of a segment after a kill; returns how many bytes of a torn line were cut.

    A last line that lacks only its newline is whole and is kept. Raises OSError.
    """
    with path.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        tail = content[whole:]
        if not tail:
            return 0
        try:
            decode(tail)
        except ValueError:
            file.truncate(whole)
            return len(tail)
        file.write(b"\n")
        file.flush()
        os.fsync(file.fileno())
        return 0
