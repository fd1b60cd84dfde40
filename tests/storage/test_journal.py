"""The journal keeps every fact, whatever happens to the process and to the disk."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr_server.errors import SetupError
from ivr_server.facts import Call, CallEnd, Fact, Leg, LegKind, Recording, RecordingState, Step
from ivr_server.storage import journal as journal_module
from ivr_server.storage.journal import Journal
from ivr_server.storage.lines import clean_text, decode, encode
from ivr_server.storage.segments import Mark, read, segment_numbers, segment_path

from . import stories
from .stories import at, call


def facts_of(folder: Path) -> list[Fact]:
    return list(read(folder, Mark(), 1_000_000).facts)


@pytest.mark.parametrize(
    "story", [stories.self_service, stories.answered, stories.abandoned, stories.second_agent]
)
def test_every_kind_of_fact_comes_back_equal(journal: Journal, story) -> None:
    told = story()
    for fact in told:
        journal.append(fact)
    assert facts_of(journal.folder) == told


def test_numbers_go_on_after_opening_again(tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        journal = Journal.open(tmp_path)
        journal.append(call())
        assert journal.seq == expected
        journal.close()


def test_torn_tail_at_every_byte_of_the_last_record(tmp_path: Path) -> None:
    first, second = call("kept"), call("torn", caller_name="Ґ" * 5)
    whole = encode(1, first) + encode(2, second)
    path = segment_path(tmp_path, 1)
    for size in range(len(encode(1, first)), len(whole)):
        path.write_bytes(whole[:size])
        journal = Journal.open(tmp_path)
        torn = 0 < size - len(encode(1, first)) < len(whole) - len(encode(1, first)) - 1
        only_newline_missing = size == len(whole) - 1
        assert journal.torn == int(torn), size
        journal.append(call("after"))
        journal.close()
        kept = [first, second] if only_newline_missing else [first]
        assert facts_of(tmp_path) == [*kept, call("after")], size


def test_damaged_line_in_the_middle_is_skipped_and_counted(tmp_path: Path) -> None:
    lines = [encode(1, call("a")), b'[2,"Nonsense",{}]\n', b"\0\0\0\n", encode(4, call("b"))]
    segment_path(tmp_path, 1).write_bytes(b"".join(lines))
    journal = Journal.open(tmp_path)
    journal.close()
    assert (journal.damaged, journal.seq, set(journal.open_calls())) == (2, 4, {"a", "b"})


def test_facts_survive_kill_9(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from ivr_server.storage.journal import Journal
from tests.storage.stories import call
journal = Journal.open(Path(sys.argv[1]))
for number in range(10**9):
    journal.append(call(f"c{number}"))
    print(number, flush=True)
"""
    root = Path(__file__).parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for line in child.stdout:
        if line == "200\n":
            break
    child.send_signal(signal.SIGKILL)
    told = [int(line) for line in child.stdout if line.endswith("\n")]
    child.stdout.close()
    child.wait()
    journal = Journal.open(tmp_path)
    assert len(journal.open_calls()) > max(told, default=200)
    journal.close()


def test_two_services_cannot_share_a_journal(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    with pytest.raises(SetupError, match=r"Another ivr-server uses .* stop it"):
        Journal.open(tmp_path)
    journal.close()
    Journal.open(tmp_path).close()


def test_open_calls_hold_the_newest_of_everything(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    story = stories.answered()
    for fact in story[:9]:  # up to the end of the offer; nothing of the ends yet
        journal.append(fact)
    live = journal.open_calls()["answered"]
    journal.close()
    journal = Journal.open(tmp_path)
    read_back = journal.open_calls()["answered"]
    journal.close()
    assert read_back == live
    assert read_back.call == story[0]
    assert read_back.position is not None
    assert read_back.position.node == "sales"
    assert read_back.steps == story[3]
    assert read_back.visits == {"v-answered": story[4]}
    assert read_back.offers["o-anna"].ended_at == at(20)


@pytest.mark.parametrize(
    "story", [stories.self_service, stories.answered, stories.abandoned, stories.second_agent]
)
def test_complete_call_is_not_open(journal: Journal, story) -> None:
    for fact in story():
        journal.append(fact)
    assert journal.open_calls() == {}


def test_call_is_open_until_its_last_leg_and_recording_have_ended(journal: Journal) -> None:
    leg = Leg(leg_id="l", call_id="c", kind=LegKind.CALLER, endpoint="PJSIP/x", started_at=at(0))
    recording = Recording(
        recording_id="r",
        call_id="c",
        leg_id="l",
        kind="leg",
        state=RecordingState.RECORDING,
        path="x.wav",
        started_at=at(0),
    )
    ended = call("c", ended_at=at(9), end_reason=CallEnd.LOST)
    for fact in (call("c"), leg, recording, ended):
        journal.append(fact)
    assert set(journal.open_calls()) == {"c"}
    journal.append(replace(leg, ended_at=at(9)))
    assert set(journal.open_calls()) == {"c"}
    journal.append(replace(recording, state=RecordingState.MISSING))
    assert journal.open_calls() == {}
    journal.append(replace(recording, recording_id="mix", kind="mix"))  # begins after the end
    assert journal.open_calls()["c"].call == ended
    journal.append(replace(recording, recording_id="mix", kind="mix", state=RecordingState.OK))
    assert journal.open_calls() == {}


def test_rotation_keeps_open_calls_and_lets_old_segments_go(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, segment_bytes=4096)
    waiting = call("waiting")
    journal.append(waiting)
    for fact in stories.answered()[:9]:
        journal.append(fact)
    for number in range(100):
        done = call(f"c{number}", ended_at=at(1), end_reason=CallEnd.FLOW_ENDED)
        journal.append(done)
    expected = journal.open_calls()
    journal.close()
    numbers = segment_numbers(tmp_path)
    assert len(numbers) > 3
    for number in numbers[:-1]:
        segment_path(tmp_path, number).unlink()
    journal = Journal.open(tmp_path, segment_bytes=4096)
    assert journal.open_calls() == expected
    assert set(expected) == {"waiting", "answered"}
    journal.close()


def test_numbers_only_grow_across_segments(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, segment_bytes=2048)
    for number in range(50):
        journal.append(call(f"c{number}"))
    journal.close()
    lines = b"".join(segment_path(tmp_path, n).read_bytes() for n in segment_numbers(tmp_path))
    numbers = [decode(line)[0] for line in lines.splitlines()]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == journal.seq


def test_open_calls_larger_than_a_segment_do_not_rotate_at_every_fact(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, segment_bytes=1024)
    for number in range(100):
        journal.append(call(f"c{number}"))
    before = journal.position[0]
    journal.append(call("c0"))
    journal.append(call("c0"))
    assert journal.position[0] - before <= 1
    journal.close()


def test_unfinished_rotation_is_forgotten(tmp_path: Path) -> None:
    segment_path(tmp_path, 1).write_bytes(encode(1, call("a")))
    (tmp_path / "00000002.new").write_bytes(b"[2,")
    journal = Journal.open(tmp_path)
    assert set(journal.open_calls()) == {"a"}
    assert journal.position[0] == 1
    journal.close()


def test_power_cut_that_emptied_the_last_segment_falls_back(tmp_path: Path) -> None:
    segment_path(tmp_path, 1).write_bytes(encode(1, call("a")))
    segment_path(tmp_path, 2).write_bytes(b"")
    journal = Journal.open(tmp_path)
    assert (set(journal.open_calls()), journal.seq) == ({"a"}, 1)
    journal.close()


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """A disk that is full at this size of a file, at the operating system's edge."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_is_reported_once_and_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_RETRY_S", 0.0)
    said: list[str] = []
    journal = Journal.open(tmp_path, on_trouble=said.append)
    journal.append(call("first"))
    with file_size_limit(journal.position[1] + 100):  # room for a part of a line
        for number in range(20):
            journal.append(call(f"c{number}"))
            journal.append(call(f"c{number}", takeovers=1))
        assert journal.pending == 20  # the newest of each
        assert journal.trouble
        assert facts_of(tmp_path) == [call("first")]  # no part of a line is left
    journal.append(call("last"))
    assert (journal.pending, journal.trouble, journal.lost) == (0, "", 0)
    assert len(said) == 1
    assert "free some space" in said[0]
    again = [call(f"c{number}", takeovers=1) for number in range(20)]
    assert facts_of(tmp_path) == [call("first"), *again, call("last")]
    journal.close()


def test_part_of_a_line_that_cannot_be_taken_back_costs_no_fact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_descriptor: int, _size: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def cannot_log(_sentence: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal_module, "_RETRY_S", 0.0)
    monkeypatch.setattr(os, "ftruncate", refuses)
    journal = Journal.open(tmp_path, on_trouble=cannot_log)
    journal.append(call("first"))
    with file_size_limit(journal.position[1] + 100):
        journal.append(call("second"))
    journal.append(call("third"))
    found = read(tmp_path, Mark(), 10)
    assert found.facts == (call("first"), call("second"), call("third"))
    assert found.damaged == 1
    assert (found.mark.segment, found.mark.offset) == journal.position
    journal.close()


def test_full_disk_keeps_a_bounded_number_of_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "PENDING_FACTS", 10)
    journal = Journal.open(tmp_path)
    with file_size_limit(1):
        for number in range(25):
            journal.append(call(f"c{number}"))
        assert (journal.pending, journal.lost) == (10, 15)
    journal.close()
    assert len(facts_of(tmp_path)) == 10


def test_full_disk_while_rotating_stays_on_the_old_segment(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, segment_bytes=1000)
    while journal.position[1] < 1000:
        journal.append(call(f"c{journal.seq}"))
    blocker = tmp_path / "00000002.new"
    blocker.mkdir()  # what no permission stops root from, a folder in the way does
    journal.append(call("more"))
    assert journal.position[0] == 1
    blocker.rmdir()
    while journal.position[0] == 1:
        journal.append(call("still more"))
    assert "more" in journal.open_calls()
    journal.close()


async def test_runs_sync_and_retry_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SYNC_S", 0.0)
    monkeypatch.setattr(journal_module, "_RETRY_S", 0.0)
    synced = asyncio.Event()
    loop = asyncio.get_running_loop()
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        loop.call_soon_threadsafe(synced.set)

    monkeypatch.setattr(os, "fsync", noted)
    journal = Journal.open(tmp_path)
    with file_size_limit(1):
        journal.append(call())
    assert journal.pending == 1
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(journal.run())
        await synced.wait()
        task.cancel()
    assert (journal.pending, facts_of(tmp_path)) == (0, [call()])
    journal.close()


HOSTILE = ["x" * 500, "'; DROP TABLE calls; --", "\x00\x01\x1b[31m", "\ud800 lone", "📞 é", '"\\']


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_kept_in_one_line(journal: Journal, name: str) -> None:
    detail = {name: [name, float("nan"), 2**70, {"set": {name}}, object()]}
    step = replace(stories.step(1, "n", "play", "next", 0, 1), call_id="c", detail=detail)
    journal.append(call("c", caller_name=name))
    journal.append(step)
    told, stepped = facts_of(journal.folder)
    assert isinstance(told, Call)
    assert isinstance(stepped, Step)
    assert clean_text(told.caller_name) == clean_text(name)
    assert len(stepped.detail) == 1


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=50))
def test_any_text_makes_a_line(text: str) -> None:
    _, fact = decode(encode(1, call(caller_name=text)).rstrip(b"\n"))
    assert isinstance(fact, Call)
    assert clean_text(fact.caller_name) == clean_text(text)
    assert "\0" not in clean_text(text)


def test_append_is_fast(journal: Journal) -> None:
    import time

    fact = call()
    times = []
    for _ in range(2000):
        begin = time.perf_counter()
        journal.append(fact)
        times.append(time.perf_counter() - begin)
    # The target is 30 us; the median leaves out the noise of a shared machine.
    assert sorted(times)[len(times) // 2] < 100e-6


def test_several_facts_are_one_write(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between them is impossible: the operating system gets them at once."""
    writes: list[bytes] = []
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        writes.append(data)
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    told = stories.self_service()
    journal.append(*told)
    assert len(writes) == 1
    assert writes[0].count(b"\n") == len(told) == journal.seq
