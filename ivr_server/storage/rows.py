"""How a fact becomes the parameters of its upsert. Knows no connection and no order of writing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

import msgspec

from ivr_server.facts import Call, Fact, Leg, Offer, Promise, Recording, Step, Visit
from ivr_server.storage.lines import cleaned
from ivr_server.storage.queries import QUERIES

UPSERTS: dict[type[Fact], str] = {
    Call: QUERIES["upsert_call"],
    Leg: QUERIES["upsert_leg"],
    Visit: QUERIES["upsert_visit"],
    Offer: QUERIES["upsert_offer"],
    Promise: QUERIES["upsert_promise"],
    Step: QUERIES["upsert_step"],
    Recording: QUERIES["upsert_recording"],
}
_ORDER = {kind: place for place, kind in enumerate(UPSERTS)}


@dataclass(frozen=True, slots=True)
class Row:
    """A fact and the parameters of its statement, in the order of the fact's fields."""

    fact: Fact
    values: tuple[Any, ...]


def rows(facts: Iterable[Fact]) -> list[Row]:
    """The newest fact of each row, by table, calls first; facts of the journal alone left out."""
    newest = {fact.identity(): fact for fact in facts if type(fact) in UPSERTS}
    ordered = sorted(newest.values(), key=lambda fact: _ORDER[type(fact)])
    return [Row(fact, values(fact)) for fact in ordered]


def values(fact: Fact) -> tuple[Any, ...]:
    """What to bind: enums by their text, objects as JSON, text as Postgres can hold it."""
    fit = cleaned(fact)
    return tuple(_value(getattr(fit, entry.name)) for entry in fields(fit))


def _value(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    return value
