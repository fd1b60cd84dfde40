"""YAML text -> plain data, and where in the text each value stands.

Reads the events of ruamel.yaml's parser rather than its constructed objects: every value keeps its
place, all duplicate keys are found in one pass, and depth and size are bounded before anything is
built. The scalars are those of YAML 1.2 (`on`, `no` and `0123` are text); merge keys and
tags are refused. Knows nothing of flows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml import events as yaml_events
from ruamel.yaml.error import YAMLError

from ivr_server.errors import Problem

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_VALUES = 100_000  # after aliases are followed: an anchor bomb ends here

Step = str | int

_NULL = frozenset(["", "~", "null", "Null", "NULL"])
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\Z")  # 0800 is a text: its zeros lead
_HEX = re.compile(r"0(o[0-7]{1,18}|x[0-9a-fA-F]{1,15})\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,2})?\Z")
_UNSPEAKABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_STAR_REMEDY = 'keys are texts: write "*" in quotes'
_STAR_KEY = re.compile(r"(?:^|[{,])\s*(?P<star>\*)\s*:")
_TEXT_TAGS = frozenset(["!", "tag:yaml.org,2002:str"])


@dataclass(slots=True, eq=False)
class Spot:
    """One value and its place; `line` and `column` count from 1, `index` from 0."""

    line: int
    column: int
    index: int
    value: Any = None
    raw: str = ""  # the scalar as written
    style: str = ""  # '' plain, "'", '"', '|' or '>'
    size: int = 1  # values in it, aliases followed
    children: dict[Step, Spot] = field(default_factory=dict)
    keys: dict[Step, Spot] = field(default_factory=dict)


class Refused(Exception):
    """The text is not YAML, or too much of it; reading cannot go on behind this place."""

    def __init__(self, line: int, column: int, message: str) -> None:
        self.line, self.column, self.message = line, column, message
        super().__init__(message)


def scalar(raw: str) -> Any:
    """The value of an unquoted scalar by the core schema of YAML 1.2."""
    if raw in _NULL:
        return None
    if raw in _BOOL:
        return _BOOL[raw]
    if _INT.match(raw):
        return int(raw)
    if _HEX.match(raw):
        return int(raw, 0)
    if _FLOAT.match(raw) and not raw.lstrip("+-").isdigit():
        return float(raw)
    return raw


def compose(text: str, file: str) -> tuple[Spot, list[Problem]]:
    """The root value, and mistakes that did not keep the rest from being read.

    Raises Refused where reading had to stop.
    """
    builder = _Builder(file)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
    except Refused:
        raise
    except YAMLError as error:
        raise _refused(error, text) from None
    # Hostile escapes make ruamel leak OverflowError, ValueError and others: whatever its parser
    # raises, the text is not YAML.
    except Exception as error:
        raise Refused(1, 1, f"this is not YAML: {error}") from None
    return builder.root or Spot(1, 1, 0), builder.problems


def _refused(error: YAMLError, text: str) -> Refused:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None and (star := _unquoted_star(text, mark.line)) is not None:
        return star
    what = getattr(error, "problem", None) or getattr(error, "context", None)
    if mark is not None:
        hint = ": indent with spaces" if r"'\t'" in str(what) else ""
        return Refused(mark.line + 1, mark.column + 1, f"this is not YAML: {what}{hint}")
    position = getattr(error, "position", 0)
    before = text[: position if isinstance(position, int) else 0]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    character = getattr(error, "character", None)
    code = f" U+{character:04X}" if isinstance(character, int) else ""
    return Refused(line, column, f"the character{code} is not allowed in YAML")


def _unquoted_star(text: str, line: int) -> Refused | None:
    """The commonest slip with telephone keys: `*` begins an alias in YAML, `#` a comment."""
    rows = text.split("\n")
    for number in (line, line - 1):
        if 0 <= number < len(rows) and (found := _STAR_KEY.search(rows[number])):
            place = found.start("star") + 1
            return Refused(number + 1, place, _STAR_REMEDY)
    return None


@dataclass(slots=True, eq=False)
class _Open:
    """A list or mapping that is still being read."""

    spot: Spot
    anchor: str | None
    key: Spot | None = None
    awaits_value: bool = False


class _Builder:
    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.root: Spot | None = None
        self._open: list[_Open] = []
        self._anchors: dict[str, Spot | None] = {}
        self._documents = 0

    def take(self, event: Any) -> None:
        mark = event.start_mark
        match event:
            case yaml_events.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise Refused(mark.line + 1, mark.column + 1, "one file holds one document")
            case yaml_events.ScalarEvent():
                self._add(self._scalar(event), event.anchor)
            case yaml_events.AliasEvent():
                self._add(self._alias(event), None)
            case yaml_events.MappingStartEvent() | yaml_events.SequenceStartEvent():
                self._tag(event, frozenset())
                if len(self._open) >= MAX_DEPTH:
                    raise Refused(
                        mark.line + 1, mark.column + 1, f"nested deeper than {MAX_DEPTH} levels"
                    )
                is_mapping = isinstance(event, yaml_events.MappingStartEvent)
                spot = Spot(mark.line + 1, mark.column + 1, mark.index, {} if is_mapping else [])
                if event.anchor:
                    self._anchors[event.anchor] = None
                self._open.append(_Open(spot, event.anchor))
            case yaml_events.MappingEndEvent() | yaml_events.SequenceEndEvent():
                done = self._open.pop()
                self._add(done.spot, done.anchor)

    def _scalar(self, event: Any) -> Spot:
        mark, raw = event.start_mark, event.value
        spot = Spot(mark.line + 1, mark.column + 1, mark.index, raw, raw, event.style or "")
        self._tag(event, _TEXT_TAGS)
        if not spot.style and event.tag is None:
            spot.value = scalar(raw)
        if bad := _UNSPEAKABLE.search(raw):
            self._problem(spot, f"the character U+{ord(bad[0]):04X} is not allowed in a text")
            spot.value = spot.raw = _UNSPEAKABLE.sub("?", raw)
        return spot

    def _alias(self, event: Any) -> Spot:
        mark = event.start_mark
        if event.anchor not in self._anchors:
            message = f"'*{event.anchor}' stands for nothing: there is no '&{event.anchor}' above"
            if event.anchor == ":":
                message = _STAR_REMEDY
            raise Refused(mark.line + 1, mark.column + 1, message)
        spot = self._anchors[event.anchor]
        if spot is None:
            message = f"'*{event.anchor}' stands inside itself"
            raise Refused(mark.line + 1, mark.column + 1, message)
        return spot

    def _tag(self, event: Any, allowed: frozenset[str]) -> None:
        if event.tag is not None and event.tag not in allowed:
            self._problem(event.start_mark, f"tags such as '{event.tag}' are not used here")

    def _add(self, spot: Spot, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = spot
        if not self._open:
            self.root = spot
            return
        parent = self._open[-1]
        if isinstance(parent.spot.value, list):
            index = len(parent.spot.value)
            self._put(parent.spot, index, spot)
        elif not parent.awaits_value:
            parent.key, parent.awaits_value = self._key(parent.spot, spot), True
        else:
            parent.awaits_value = False
            if parent.key is not None:
                if not spot.raw and not spot.style and spot.value is None:
                    # The parser places nothing at the next thing; we, behind the key.
                    quotes = 2 if parent.key.style else 0
                    spot.line = parent.key.line
                    spot.column = parent.key.column + len(parent.key.raw) + quotes + 1
                parent.spot.keys[parent.key.raw] = parent.key
                self._put(parent.spot, parent.key.raw, spot)

    def _put(self, parent: Spot, step: Step, spot: Spot) -> None:
        parent.size += spot.size
        if parent.size > MAX_VALUES:
            raise Refused(spot.line, spot.column, f"more than {MAX_VALUES} values in one file")
        parent.children[step] = spot
        if isinstance(step, str):
            parent.value[step] = spot.value
        else:
            parent.value.append(spot.value)

    def _key(self, parent: Spot, key: Spot) -> Spot | None:
        """The key if its value can be kept. A key that is no text is reported and read as one."""
        if isinstance(key.value, dict | list):
            self._problem(key, "a key is a text, not a list or a mapping")
            return None
        if not isinstance(key.value, str):
            self._problem(key, f'keys are texts: write "{key.raw}" in quotes')
        elif key.raw == "<<" and not key.style:
            self._problem(key, "merge keys ('<<') are not supported: write the values out")
            return None
        if key.raw in parent.children:
            first = parent.keys[key.raw].line
            self._problem(key, f"'{key.raw}' is written twice; the first one is in line {first}")
            return None
        return key

    def _problem(self, place: Any, message: str) -> None:
        if isinstance(place, Spot):
            line, column = place.line, place.column
        else:
            line, column = place.line + 1, place.column + 1
        self.problems.append(Problem(file=self.file, line=line, column=column, message=message))


def follow(root: Spot, path: tuple[Step, ...]) -> Iterator[tuple[Step, Spot]]:
    """The steps of the path that lead somewhere; others are skipped.

    Skipping is what maps a shorthand back to the text: `prompt: welcome` is read as
    `prompt: [{prompt: welcome}]`, and ('prompt', 0, 'prompt') leads to the scalar.
    """
    spot = root
    for step in path:
        child = spot.children.get(step)
        if child is not None:
            yield step, child
            spot = child
