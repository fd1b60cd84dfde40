"""Reads queries.sql: every SQL statement of the package by its name.

Knows the form of that file and nothing of what the statements mean.
"""

from __future__ import annotations

import re
from importlib.resources import files

_HEAD = re.compile(r"^-- (?P<name>\w+) --\n-- (?P<purpose>[^\n]+)\n", re.MULTILINE)


def parse(text: str) -> dict[str, str]:
    """Statements by name. Raises ValueError when a name is given twice."""
    heads = list(_HEAD.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    found: dict[str, str] = {}
    for head, end in zip(heads, ends, strict=True):
        if head["name"] in found:
            raise ValueError(f"queries.sql names {head['name']} twice")
        found[head["name"]] = text[head.end() : end].strip()
    return found


QUERIES = parse(files("ivr_server.storage").joinpath("queries.sql").read_text(encoding="utf-8"))
