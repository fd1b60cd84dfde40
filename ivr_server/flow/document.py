"""One YAML file: its data, the place of every value in it, and models made of it.

    text = read(path)                          # ConfigError: encoding, size, no such file
    document = parse(text, file)               # never raises; document.problems
    site = load(text, file, Site)              # or all at once; ConfigError with all problems

Every complaint of pydantic becomes one sentence with line and column (complaints.py). Knows YAML
and pydantic models in general; knows nothing of flows, queues or sites.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ivr_server.errors import ConfigError, Problem
from ivr_server.flow import complaints
from ivr_server.flow.yamltext import MAX_BYTES, Refused, Spot, Step, compose, follow

M = TypeVar("M", bound=BaseModel)

_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")  # an anchor or a tag before a value


@dataclass(frozen=True, eq=False)
class Document:
    """A file as read. `broken` means that reading had to stop and `data` is not complete."""

    file: str
    text: str
    data: dict[str, Any]
    root: Spot
    problems: tuple[Problem, ...] = ()
    broken: bool = False

    def spot(self, path: Iterable[Step]) -> Spot:
        """The value at the path, or the innermost one around it."""
        return [self.root, *(spot for _, spot in follow(self.root, tuple(path)))][-1]

    def at(self, path: Iterable[Step], message: str, *, key: bool = False) -> Problem:
        """A problem with the value at the path, or with its key."""
        place = parent = self.root
        for step, child in follow(self.root, tuple(path)):
            place = parent.keys.get(step, child) if key else child
            parent = child
        return self._problem(place.line, place.column, message)

    def inside(self, path: Iterable[Step], line: int, column: int, message: str) -> Problem:
        """A problem at a line and column (from 1) within the text of a scalar.

        Folded, quoted and block scalars do not look in the file as they read, so the place is
        found by counting characters that are not white space.
        """
        spot = self.spot(path)
        rows = spot.raw.split("\n")
        before = (
            "".join(rows[: line - 1]) + rows[line - 1 if line <= len(rows) else -1][: column - 1]
        )
        wanted = sum(not char.isspace() for char in before)
        index = self._content(spot)
        while index < len(self.text):
            char = self.text[index]
            if not char.isspace():
                if wanted == 0:
                    break
                wanted -= 1
                pair = self.text[index : index + 2]
                if (spot.style == "'" and pair == "''") or (spot.style == '"' and char == "\\"):
                    index += 1
            elif wanted == 0 and before == spot.raw.rstrip():
                break  # at the end of the text
            index += 1
        shown = self.text[:index]
        return self._problem(shown.count("\n") + 1, index - shown.rfind("\n"), message)

    def _content(self, spot: Spot) -> int:
        """Where the characters of a scalar begin, behind its quote or block header."""
        if spot.style in ("'", '"'):
            return self.text.find(spot.style, spot.index) + 1
        if spot.style in ("|", ">"):
            return self.text.find("\n", self.text.find(spot.style, spot.index)) + 1
        before = _PROPERTIES.match(self.text, spot.index)
        return before.end() if before else spot.index

    def _problem(self, line: int, column: int, message: str) -> Problem:
        return Problem(file=self.file, line=line, column=column, message=message)


def read(path: Path) -> str:
    """The text of a file: UTF-8, at most 1 MiB. Raises ConfigError."""

    def refuse(line: int, column: int, message: str) -> ConfigError:
        return ConfigError([Problem(file=str(path), line=line, column=column, message=message)])

    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise refuse(0, 0, f"cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise refuse(0, 0, f"larger than {MAX_BYTES >> 20} MiB: is this the right file?")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        row = before.rpartition(b"\n")[2].decode("utf-8-sig", "replace")
        message = "this is not UTF-8: save the file in the UTF-8 encoding"
        raise refuse(before.count(b"\n") + 1, len(row) + 1, message) from None


def parse(text: str, file: str) -> Document:
    """The document, whatever the text is; what is wrong with it stands in its `problems`."""
    text = text.removeprefix("\ufeff")

    def broken(line: int, column: int, message: str) -> Document:
        problem = Problem(file=file, line=line, column=column, message=message)
        return Document(file, text, {}, Spot(1, 1, 0, {}), (problem,), broken=True)

    if len(text) > MAX_BYTES:
        return broken(0, 0, f"larger than {MAX_BYTES >> 20} MiB: is this the right file?")
    try:
        root, problems = compose(text, file)
    except Refused as refused:
        return broken(refused.line, refused.column, refused.message)
    if not isinstance(root.value, dict):
        found = complaints.described(root)
        return broken(root.line, root.column, f"expected 'name: value' lines, found {found}")
    return Document(file, text, root.value, root, tuple(problems))


def validate(
    document: Document, model: type[M], path: tuple[Step, ...] = ()
) -> tuple[M | None, list[Problem]]:
    """The model made of the value at the path, or every mistake in that value."""
    try:
        return model.model_validate(document.spot(path).value), []
    except ValidationError as error:
        found = [
            document.at((*path, *complaint.path), complaint.message, key=complaint.at_key)
            for complaint in complaints.complaints(error, document.spot(path), model)
        ]
        return None, found


def load(text: str, file: str, model: type[M]) -> M:
    """The model made of a whole file. Raises ConfigError with all its problems."""
    document = parse(text, file)
    made, problems = (None, []) if document.broken else validate(document, model)
    problems = [*document.problems, *problems]
    if made is None or problems:
        raise ConfigError(problems)
    return made
