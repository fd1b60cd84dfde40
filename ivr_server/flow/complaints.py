"""Pydantic's validation errors as sentences for the author of a YAML file.

Knows how pydantic names the place of an error (with labels of unions and tags in between) and
finds the value that is meant; knows nothing of files and flows. Models need no help from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ivr_server.errors import nearest
from ivr_server.flow.yamltext import Spot, Step

_EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "'name: value' lines",
    "mapping_type": "'name: value' lines",
    "model_type": "'name: value' lines",
    "model_attributes_type": "'name: value' lines",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
}
_LISTS = (list, tuple, set, frozenset)
_NO_BOOL = frozenset(["yes", "no", "on", "off"])


@dataclass(frozen=True)
class Complaint:
    """One mistake: the path of the value, or of its key, and the sentence."""

    path: tuple[Step, ...]
    message: str
    at_key: bool = False


def complaints(error: ValidationError, root: Spot, model: type[BaseModel]) -> list[Complaint]:
    """Every error of pydantic, the alternatives of a union joined into one sentence."""
    found: dict[tuple[tuple[Step, ...], bool, Any], list[str]] = {}
    for entry in error.errors(include_url=False):
        path, spot = _meant(root, entry)
        complaint = _complaint(entry, path, spot, root, model)
        missing = entry["loc"][-1] if entry["type"] == "missing" else None
        messages = found.setdefault((complaint.path, complaint.at_key, missing), [])
        if complaint.message not in messages:
            messages.append(complaint.message)
    return [
        Complaint(path, "; or ".join(messages), at) for (path, at, _), messages in found.items()
    ]


def described(spot: Spot) -> str:
    """What stands there, in words."""
    match spot.value:
        case None:
            return "nothing"
        case bool():
            return spot.raw
        case int() | float():
            return f"the number {spot.raw}"
        case str():
            shown = spot.value if len(spot.value) <= 40 else spot.value[:37] + "..."
            return f"the text '{shown}'"
        case list():
            return "a list"
        case _:
            return "'name: value' lines"


def _complaint(
    entry: ErrorDetails, path: tuple[Step, ...], spot: Spot, root: Spot, model: type[BaseModel]
) -> Complaint:
    kind, context, last = entry["type"], entry.get("ctx", {}), entry["loc"][-1:]
    if kind == "missing":
        return Complaint(path, f"'{last[0]}' is missing", at_key=True)
    if kind == "extra_forbidden":
        valid = _keys_at(model, path[:-1], root)
        return Complaint(path, f"unknown key '{path[-1]}': {nearest(str(path[-1]), valid)}", True)
    if kind == "union_tag_not_found":
        name = str(context.get("discriminator", "type")).strip("'")
        return Complaint(path, f"'{name}' is missing", at_key=True)
    if kind == "union_tag_invalid":
        name = str(context.get("discriminator", "type")).strip("'")
        hint = _choice(str(context.get("tag")), str(context.get("expected_tags")))
        return Complaint((*path, name), f"unknown {name} '{context.get('tag')}': {hint}")
    at_key = last == ("[key]",)
    if kind in ("literal_error", "enum"):
        hint = _choice(str(entry["input"]), str(context.get("expected")))
        return Complaint(path, f"{described(spot)} is not possible here: {hint}", at_key)
    if kind in ("value_error", "assertion_error"):
        return Complaint(path, str(context.get("error", entry["msg"])), at_key)
    if kind in _EXPECTED:
        return Complaint(path, _mismatch(_EXPECTED[kind], spot), at_key)
    if kind in ("too_short", "too_long"):
        bound = f"least {context['min_length']}" if "min_length" in context else ""
        bound = bound or f"most {context.get('max_length')}"
        return Complaint(path, f"expected at {bound} here, found {context.get('actual_length')}")
    message = entry["msg"].removeprefix("Input ").replace("Value error, ", "")
    message = re.sub(r"^should ", "must ", message[:1].lower() + message[1:])
    return Complaint(
        path, f"{described(spot)} {message}" if message.startswith("must") else message
    )


def _mismatch(expected: str, spot: Spot) -> str:
    if expected == "a text" and spot.raw and not isinstance(spot.value, str | dict | list):
        return f'expected a text, found {described(spot)}: write "{spot.raw}" in quotes'
    if expected == "true or false" and str(spot.value).lower() in _NO_BOOL:
        return f"expected true or false, found {described(spot)}: write true or false"
    if isinstance(spot.value, str) and spot.style in ("'", '"') and "number" in expected:
        return f"expected {expected}, found {described(spot)}: write it without quotes"
    return f"expected {expected}, found {described(spot)}"


def _choice(word: str, expected: str) -> str:
    return nearest(word, re.findall(r"'([^']*)'", expected) or [expected])


def _meant(root: Spot, entry: ErrorDetails) -> tuple[tuple[Step, ...], Spot]:
    """The path in the document that pydantic's location means.

    A step may also be a label (of a union's member, of a tag) that happens to equal a key. Of
    all readings the one is taken that leads to the value pydantic complains about, then the
    deepest.
    """
    steps = [step for step in entry["loc"] if step != "[key]"]
    is_missing = entry["type"] == "missing"
    if is_missing:
        steps = steps[:-1]

    def readings(spot: Spot, rest: list[Step]) -> Iterator[tuple[tuple[Step, ...], Spot]]:
        if not rest:
            yield (), spot
            return
        child = spot.children.get(rest[0])
        if child is not None:
            for path, end in readings(child, rest[1:]):
                yield (rest[0], *path), end
        if child is None or rest[0] in child.children:
            yield from readings(spot, rest[1:])

    found = list(readings(root, steps))
    value = entry["input"]
    return max(found, key=lambda reading: (_same(reading[1].value, value), len(reading[0])))


def _same(one: Any, other: Any) -> bool:
    return one is other or (type(one) is type(other) and one == other)


def _keys_at(model: type[BaseModel], path: tuple[Step, ...], root: Spot) -> set[str]:
    """The keys that models accept at this path."""
    reached: list[Any] = [model]
    spot = root
    for step in path:
        reached = [inner for outer in reached for inner in _within(outer, step, spot.value)]
        spot = spot.children[step]
    models = [one for outer in reached for one in _models(outer, spot.value)]
    return {key for one in models for key in _fields(one)}


def _fields(model: type[BaseModel]) -> Mapping[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _parts(annotation: Any, value: Any) -> list[Any]:
    """The members of a union, through Annotated; of a list, if one thing stands for a list."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _parts(arguments[0], value)
    if origin in (Union, UnionType):
        return [part for member in arguments for part in _parts(member, value)]
    if origin in _LISTS and not isinstance(value, list):
        return _parts(arguments[0], value)
    return [annotation]


def _models(annotation: Any, value: Any) -> Iterator[type[BaseModel]]:
    """The models that the value may be meant for: literals such as `type` have to fit."""
    for part in _parts(annotation, value):
        if isinstance(part, type) and issubclass(part, BaseModel):
            literals = (
                (key, get_args(kind))
                for key, kind in _fields(part).items()
                if get_origin(kind) is Literal
            )
            if not isinstance(value, dict) or all(
                value.get(key, allowed[0]) in allowed for key, allowed in literals
            ):
                yield part


def _within(annotation: Any, step: Step, value: Any) -> Iterator[Any]:
    for part in _parts(annotation, value):
        if get_origin(part) is dict:
            yield get_args(part)[1]
        elif get_origin(part) in _LISTS:
            yield get_args(part)[0]
        for model in _models(part, value):
            if step in _fields(model):
                yield _fields(model)[str(step)]
