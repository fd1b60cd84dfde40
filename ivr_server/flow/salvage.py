"""What can be used of a section with mistakes, so that one mistake does not hide the next.

The wrong values are taken out and the rest is read again, in the end with nothing required. Knows
sections in general; whoever uses what remains must not complain about what may have been taken.
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Annotated, Any, TypeVar, get_origin

from pydantic import Field, ValidationError, create_model

from ivr_server.errors import Problem
from ivr_server.flow.document import Document, validate
from ivr_server.flow.fields import Section
from ivr_server.flow.yamltext import Step

S = TypeVar("S", bound=Section)


def salvaged(
    document: Document, model: type[S], path: tuple[Step, ...]
) -> tuple[S | None, list[Problem], bool]:
    """The section at the path and whether it is whole; else what remains without its mistakes."""
    made, problems = validate(document, model, path)
    if made is not None:
        return made, problems, True
    data = deepcopy(document.spot(path).value)
    if not isinstance(data, dict):
        return None, problems, False
    for attempt in (model, _roughened(model)):
        try:
            return attempt.model_validate(data), problems, False
        except ValidationError as error:
            _drop(data, [entry["loc"] for entry in error.errors()])
    try:
        return _roughened(model).model_validate(data), problems, False
    except ValidationError:
        return None, problems, False


@cache
def _roughened(model: type[S]) -> type[S]:
    """The model with nothing required: names that are missing are None, lists are empty."""
    optional: dict[str, Any] = {}
    for name, entry in model.model_fields.items():
        if entry.is_required():
            origin = get_origin(entry.annotation)
            empty = origin if origin in (dict, list, tuple) else type(None)
            kind: Any = entry.annotation
            for mark in entry.metadata:
                kind = Annotated[kind, mark]
            optional[name] = (kind, Field(default_factory=empty))
    return create_model(f"Rough{model.__name__}", __base__=model, **optional)


def _drop(data: dict[str, Any], places: list[tuple[str | int, ...]]) -> None:
    """Take out the innermost named value at each place; a list goes as a whole."""
    doomed: list[tuple[dict[str, Any], str]] = []
    for place in places:
        inner: Any = data
        last: tuple[dict[str, Any], str] | None = None
        for step in place:
            if isinstance(inner, dict) and isinstance(step, str) and step in inner:
                last, inner = (inner, step), inner[step]
            else:
                break  # elements of a list cannot go: the others would move up
        if last is not None:
            doomed.append(last)
    for holder, name in doomed:
        holder.pop(name, None)
