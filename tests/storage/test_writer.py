"""What is in the journal comes to be in Postgres: once, whole, whatever happens on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest

from ivr_server.errors import SetupError
from ivr_server.facts import Step
from ivr_server.storage import embedded, migrations
from ivr_server.storage import writer as writer_module
from ivr_server.storage.embedded import EmbeddedPostgres
from ivr_server.storage.journal import Journal
from ivr_server.storage.lines import clean_text
from ivr_server.storage.segments import load_mark, segment_numbers
from ivr_server.storage.writer import REFUSED, Writer

from . import stories
from .place import free_port, until
from .stories import call

DRAIN_S = 30.0


@asynccontextmanager
async def running(writer: Writer) -> AsyncIterator[Writer]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(writer.run())
        try:
            yield writer
        finally:
            task.cancel()


async def count(dsn: str, table: str = "calls") -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
    finally:
        await connection.close()


async def contents(dsn: str) -> dict[str, list[tuple[object, ...]]]:
    tables = ("calls", "legs", "visits", "offers", "promises", "flow_steps", "recordings")
    connection = await asyncpg.connect(dsn)
    try:
        return {
            table: [
                tuple(row) for row in await connection.fetch(f"SELECT * FROM {table} ORDER BY 1, 2")
            ]
            for table in tables
        }
    finally:
        await connection.close()


async def test_newest_facts_become_rows(journal: Journal, dsn: str) -> None:
    for fact in stories.answered():
        journal.append(fact)
    async with running(Writer(journal, dsn)) as writer:
        assert await writer.drain(DRAIN_S)
        status = writer.status
    assert (status.connected, status.lag, status.refused, status.last_error) == (True, 0, 0, "")
    assert status.shipped == len(stories.answered())
    sizes = {table: len(rows) for table, rows in (await contents(dsn)).items()}
    assert sizes == {"calls": 1, "legs": 2, "visits": 1, "offers": 1, "promises": 1,
                     "flow_steps": 3, "recordings": 3}  # fmt: skip


async def test_many_batches_and_segments(tmp_path: Path, dsn: str) -> None:
    journal = Journal.open(tmp_path / "journal", segment_bytes=20_000)
    for number in range(1203):
        journal.append(call(f"c{number}", ended_at=stories.at(9)))
    async with running(Writer(journal, dsn, batch=100)) as writer:
        assert await writer.drain(DRAIN_S)
        journal.append(call("one more"))
        assert await writer.drain(DRAIN_S)
    assert await count(dsn) == 1204
    assert segment_numbers(journal.folder) == [journal.position[0]]  # shipped ones are gone
    journal.close()


async def test_replay_changes_nothing(journal: Journal, dsn: str) -> None:
    for fact in [*stories.answered(), *stories.second_agent()]:
        journal.append(fact)
    async with running(Writer(journal, dsn)) as writer:
        assert await writer.drain(DRAIN_S)
    before = await contents(dsn)
    (journal.folder / "shipped.json").unlink()  # as after a crash between commit and mark
    async with running(Writer(journal, dsn)) as writer:
        assert writer.status.lag > 0
        assert await writer.drain(DRAIN_S)
    assert await contents(dsn) == before


async def test_goes_on_from_the_saved_mark(journal: Journal, dsn: str) -> None:
    journal.append(call("first"))
    async with running(Writer(journal, dsn)) as writer:
        assert await writer.drain(DRAIN_S)
    journal.append(call("second"))
    async with running(Writer(journal, dsn)) as writer:
        assert await writer.drain(DRAIN_S)
        assert writer.status.shipped == 1


@pytest.mark.parametrize("mark", ["", "{}", '{"segment":1,"offset":7,"seq":1}', "[", "9" * 40])
async def test_senseless_mark_means_begin_anew(journal: Journal, dsn: str, mark: str) -> None:
    journal.append(call("first"))
    journal.append(call("second"))
    (journal.folder / "shipped.json").write_text(mark)
    async with running(Writer(journal, dsn)) as writer:
        assert await writer.drain(DRAIN_S)
    assert await count(dsn) == 2


async def test_postgres_goes_away_and_comes_back(
    journal: Journal, dsn: str, server: EmbeddedPostgres
) -> None:
    journal.append(call("before"))
    async with running(Writer(journal, dsn, jitter=lambda: 0.0)) as writer:
        assert await writer.drain(DRAIN_S)
        await asyncio.to_thread(server.stop)
        try:
            await until(lambda: not writer.status.connected)
            for number in range(50):
                journal.append(call(f"during-{number}"))
            await until(lambda: "cannot be reached" in writer.status.last_error)
            assert writer.status.lag == 50
            assert not await writer.drain(0.01)
            assert writer.status.last_error.endswith("start it or correct IVR_DATABASE_URL.")
            assert server.password not in writer.status.last_error
        finally:
            back = await asyncio.to_thread(
                embedded.start, server.folder, server.port, server.password, fast=True
            )
        assert back.port == server.port
        assert await writer.drain(DRAIN_S)
        assert writer.status.last_error == ""
    assert await count(dsn) == 51


async def test_postgres_absent_at_start(journal: Journal) -> None:
    journal.append(call())
    dsn = f"postgresql://ivr:secret@127.0.0.1:{free_port()}/ivr"
    async with running(Writer(journal, dsn)) as writer:
        await until(lambda: bool(writer.status.last_error))
        status = writer.status
    assert (status.connected, status.lag) == (False, 1)
    assert "secret" not in status.last_error


async def test_connection_is_cut_in_the_middle(journal: Journal, dsn: str) -> None:
    async with running(Writer(journal, dsn, batch=50, jitter=lambda: 0.0)) as writer:
        await until(lambda: writer.status.connected)
        killer = await asyncpg.connect(dsn)
        for round_ in range(5):
            for number in range(200):
                journal.append(call(f"c{round_}-{number}"))
            await until(lambda: writer.status.lag < 150)
            await killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'ivr-server'"
            )
        assert await writer.drain(DRAIN_S)
        await killer.close()
    assert await count(dsn) == 1000


async def test_schema_missing_waits_and_says_what_to_do(
    journal: Journal, server: EmbeddedPostgres
) -> None:
    journal.append(call())
    async with running(Writer(journal, server.dsn)) as writer:
        await until(lambda: "ivr-server migrate up" in writer.status.last_error)
        assert (writer.status.lag, writer.status.refused) == (1, 0)


async def test_wrong_password_says_what_to_do(journal: Journal, dsn: str) -> None:
    journal.append(call())
    wrong = dsn.replace("ivr:", "ivr:no", 1)
    async with running(Writer(journal, wrong)) as writer:
        await until(lambda: "the password in IVR_DATABASE_URL" in writer.status.last_error)


async def test_poison_rows_do_not_hold_up_the_others(journal: Journal, dsn: str) -> None:
    for number in range(300):
        journal.append(call(f"c{number}"))
        if number == 77:  # more than the column holds; found by asyncpg
            journal.append(call("poison-client", takeovers=2**40))
        if number == 200:  # a kind the CHECK does not know; found by Postgres
            bad = stories.recording("c1", "x", 0, 1, stories.RecordingState.OK)
            journal.append(replace(bad, kind="video"))
    async with running(Writer(journal, dsn)) as writer:
        assert await writer.drain(DRAIN_S)
        status = writer.status
    assert (status.refused, status.lag, status.connected) == (2, 0, True)
    assert await count(dsn) == 300
    lines = (journal.folder / REFUSED).read_text().splitlines()
    refused = [json.loads(line) for line in lines]
    assert [entry["kind"] for entry in refused] == ["Call", "Recording"]
    assert refused[0]["fact"]["call_id"] == "poison-client"
    assert "recordings_kind_check" in refused[1]["error"]


HOSTILE = ["x" * 500, "x" * 100_000, "'; DROP TABLE calls; --", "\x00\x01\x1b[31m\x7f",
           "\ud800 lone \udfff", "📞 é الو", '"\\{}$1%s', "\x00"]  # fmt: skip


async def test_hostile_names_are_stored(journal: Journal, dsn: str) -> None:
    for number, name in enumerate(HOSTILE):
        journal.append(call(f"c{number}", caller_name=name, caller_number=name, dialled=name))
        step: Step = replace(
            stories.step(1, name, "menu", name, 0, 1), call_id=f"c{number}", detail={name: [name]}
        )
        journal.append(step)
    async with running(Writer(journal, dsn)) as writer:
        assert await writer.drain(DRAIN_S)
        assert writer.status.refused == 0
    connection = await asyncpg.connect(dsn)
    found = await connection.fetch("SELECT caller_name, dialled FROM calls ORDER BY call_id")
    details = await connection.fetch("SELECT detail FROM flow_steps ORDER BY call_id")
    shown = await connection.fetch("SELECT path FROM cdr ORDER BY call_id")
    await connection.close()
    clean = [clean_text(name) for name in HOSTILE]
    assert [row["caller_name"] for row in found] == clean
    assert [row["dialled"] for row in found] == clean
    assert [json.loads(row["detail"]) for row in details] == [{name: [name]} for name in clean]
    assert [row["path"] for row in shown] == [f"{name}({name})" for name in clean]


async def test_damaged_line_is_passed_over(journal: Journal, dsn: str) -> None:
    journal.append(call("a"))
    journal.close()
    with (journal.folder / "00000001.jsonl").open("ab") as file:
        file.write(b"\0\0\0\0\n")
    again = Journal.open(journal.folder)
    again.append(call("b"))
    async with running(Writer(again, dsn)) as writer:
        assert await writer.drain(DRAIN_S)
        assert (writer.status.damaged, writer.status.lag) == (1, 0)
    assert await count(dsn) == 2
    assert (load_mark(again.folder).segment, load_mark(again.folder).offset) == again.position
    again.close()


async def test_a_server_that_lets_us_in_but_has_no_tables_is_not_asked_without_pause(
    journal: Journal, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schema was not brought up to date: pauses that grow, and one sentence."""
    at: list[float] = []
    monkeypatch.setattr(writer_module, "BACKOFF_S", (0.05, 0.4))
    real = writer_module.connect

    def counted(dsn: str) -> object:
        at.append(asyncio.get_running_loop().time())
        return real(dsn)

    monkeypatch.setattr(writer_module, "connect", counted)
    writer = Writer(journal, server.dsn, jitter=lambda: 1.0)
    journal.append(call())
    async with running(writer):
        await until(lambda: len(at) > 5)
        status = writer.status
    pauses = [later - earlier for earlier, later in pairwise(at)]
    for pause, least in zip(pauses, (0.1, 0.2, 0.4, 0.4, 0.4), strict=True):
        assert pause >= least, pauses
    assert not status.connected
    assert "bring the schema up to date with `ivr-server migrate up`" in status.last_error


@pytest.mark.parametrize(
    "dsn", ["postgresql://ivr:12/34secret@db/ivr", "postgresql://ivr:se#cret@db/ivr",
            "postgresql://ivr:my secret@db/ivr", "postgresql://ivr:secret@db:port/ivr"],
)  # fmt: skip
async def test_a_password_that_breaks_the_address_is_never_repeated(
    journal: Journal, dsn: str
) -> None:
    writer = Writer(journal, dsn)
    journal.append(call())
    async with running(writer):
        await until(lambda: bool(writer.status.last_error))
        said = writer.status.last_error
    with pytest.raises(SetupError) as refused:
        migrations.status(dsn)
    for sentence in (said, str(refused.value)):
        assert "cret" not in sentence
        assert "12" not in sentence
        assert "IVR_DATABASE_URL" in sentence
