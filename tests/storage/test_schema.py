"""facts.py, queries.sql and the migrations agree, column by column."""

from __future__ import annotations

import re
import types
from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

import asyncpg
import pytest

from ivr_server.facts import KINDS, Fact
from ivr_server.storage.queries import QUERIES, parse
from ivr_server.storage.rows import UPSERTS

TABLES = [kind for kind in KINDS.values() if kind.table]
TYPES = {
    str: "text",
    int: "integer",
    float: "double precision",
    datetime: "timestamp with time zone",
    dict: "jsonb",
}
BIG = {("recordings", "bytes")}  # a file may be larger than 2 GB


def test_every_table_has_an_upsert_and_only_those() -> None:
    assert set(UPSERTS) == set(TABLES)


@pytest.mark.parametrize("kind", TABLES)
def test_upsert_names_every_field_in_order(kind: type[Fact]) -> None:
    names = [entry.name for entry in fields(kind)]
    found = re.fullmatch(
        r"INSERT INTO (?P<table>\w+) \((?P<columns>[^)]+)\) VALUES \((?P<values>[^)]+)\)\s+"
        r"ON CONFLICT \((?P<key>[^)]+)\) DO UPDATE SET(?P<sets>.+);",
        UPSERTS[kind],
        re.DOTALL,
    )
    assert found is not None
    assert found["table"] == kind.table
    assert re.split(r",\s*", found["columns"].strip()) == names
    assert found["values"].split(", ") == [f"${n}" for n in range(1, len(names) + 1)]
    assert tuple(found["key"].split(", ")) == kind.key
    sets = [line.strip() for line in found["sets"].split(",")]
    assert sets == [f"{name} = EXCLUDED.{name}" for name in names if name not in kind.key]


@pytest.mark.parametrize("kind", TABLES)
async def test_table_has_the_columns_of_the_fact(
    postgres: asyncpg.Connection, kind: type[Fact]
) -> None:
    hints = get_type_hints(kind)
    expected = []
    for entry in fields(kind):
        optional, base = _split(hints[entry.name])
        sort = TYPES[str if issubclass(base, StrEnum) else base]
        sort = "bigint" if (kind.table, entry.name) in BIG else sort
        expected.append((entry.name, sort, optional))
    found = await postgres.fetch(
        "SELECT column_name, data_type, is_nullable = 'YES' FROM information_schema.columns "
        "WHERE table_schema = 'public' AND table_name = $1 ORDER BY ordinal_position",
        kind.table,
    )
    assert [tuple(row) for row in found] == expected
    key = await postgres.fetchval(
        "SELECT array_agg(attname::text ORDER BY array_position(indkey::int2[], attnum)) "
        "FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey) "
        "WHERE indisprimary AND indrelid = $1::text::regclass",
        kind.table,
    )
    assert tuple(key) == kind.key


@pytest.mark.parametrize("kind", TABLES)
async def test_checks_list_the_members_of_the_enums(
    postgres: asyncpg.Connection, kind: type[Fact]
) -> None:
    hints = get_type_hints(kind)
    expected = {
        entry.name: {member.value for member in base}
        for entry in fields(kind)
        if issubclass(base := _split(hints[entry.name])[1], StrEnum)
    }
    if kind.table == "recordings":
        expected["kind"] = {"leg", "mix"}
    found = await postgres.fetch(
        "SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint "
        "WHERE contype = 'c' AND conrelid = $1::text::regclass",
        kind.table,
    )
    checks = {}
    for row in found:
        column = re.match(r"CHECK \(\((\w+) = ANY", row["text"])
        assert column is not None, row["text"]
        checks[column[1]] = set(re.findall(r"'(\w+)'::text", row["text"]))
    assert checks == expected


async def test_every_table_view_and_column_is_explained(postgres: asyncpg.Connection) -> None:
    silent = await postgres.fetch(
        "SELECT relname, attname FROM pg_class "
        "JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped "
        "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') "
        "AND relname <> 'schema_migrations' AND (col_description(attrelid, attnum) IS NULL "
        "OR obj_description(pg_class.oid, 'pg_class') IS NULL)"
    )
    assert [tuple(row) for row in silent] == []


async def test_every_query_is_understood_by_the_server(postgres: asyncpg.Connection) -> None:
    for query in QUERIES.values():
        await postgres.prepare(query)


def test_every_query_has_a_name_and_a_purpose() -> None:
    assert parse("-- one --\n-- Why.\nSELECT 1;\n\n-- two --\n-- Why.\nSELECT 2;") == {
        "one": "SELECT 1;",
        "two": "SELECT 2;",
    }
    with pytest.raises(ValueError, match="twice"):
        parse("-- one --\n-- Why.\nSELECT 1;\n-- one --\n-- Why.\nSELECT 2;")


def _split(hint: Any) -> tuple[bool, type]:
    """Whether None is allowed, and the type without it."""
    if get_origin(hint) in (Union, types.UnionType):
        base = next(entry for entry in get_args(hint) if entry is not type(None))
        return True, get_origin(base) or base
    return False, get_origin(hint) or hint
