"""One line of the journal: `[seq,"Kind",{...}]`, made from a fact and back.

Knows how to make any value fit for JSON and for Postgres (no NUL, no lone surrogate, no strange
type), because a fact is never refused for what a caller's telephone sent. Knows no files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from enum import Enum
from typing import Any, TypeVar

import msgspec

from ivr_server.facts import KINDS, Fact

FactT = TypeVar("FactT", bound=Fact)

_ENCODER = msgspec.json.Encoder()
_ENVELOPE = msgspec.json.Decoder(tuple[int, str, msgspec.Raw])
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in KINDS.items()}
_DEEPEST = 32
_INT64 = 2**63


def encode(seq: int, fact: Fact) -> bytes:
    """The line, with its newline. Never refuses a fact: what JSON cannot hold is cleaned first."""
    entry = (seq, type(fact).__name__, fact)
    try:
        return _ENCODER.encode(entry) + b"\n"
    except (UnicodeEncodeError, TypeError, ValueError, OverflowError, RecursionError):
        return _ENCODER.encode((seq, type(fact).__name__, cleaned(fact))) + b"\n"


def decode(line: bytes) -> tuple[int, Fact]:
    """The number and the fact of a line; raises ValueError for anything else."""
    try:
        seq, kind, body = _ENVELOPE.decode(line)
        return seq, _DECODERS[kind].decode(body)
    except (msgspec.MsgspecError, KeyError) as error:
        raise ValueError(f"not a line of the journal: {error}") from error


def cleaned(fact: FactT) -> FactT:
    """The same fact with values that both JSON and Postgres can hold; itself when it has them."""
    changed = {}
    for entry in fields(fact):
        value = getattr(fact, entry.name)
        if isinstance(value, str):
            better: Any = value if isinstance(value, Enum) else clean_text(value)
        elif isinstance(value, Mapping):
            better = plain(value)
        else:
            continue
        if better is not value:
            changed[entry.name] = better
    return replace(fact, **changed) if changed else fact


def clean_text(text: str) -> str:
    """Without NUL and lone surrogates, which Postgres does not store."""
    if text.isascii():
        return text.replace("\0", "") if "\0" in text else text
    return text.encode("utf-8", "ignore").decode().replace("\0", "")


def plain(value: Any, depth: int = 0) -> Any:
    """The nearest value made of objects, arrays, text, numbers, true, false and null."""
    if depth > _DEEPEST:
        return "..."
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return plain(value.value, depth)
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, int):
        return int(value) if -_INT64 <= value < _INT64 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean_text(str(key)): plain(entry, depth + 1) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry, depth + 1) for entry in value]
    return clean_text(str(value))
