"""What the fields of flow files are made of: durations, names of things, phrases, formulas.

A field's type also says what it refers to (`Refers`) or that it is computed (`Computed`), so the
checks find every reference of every node without knowing the nodes. Knows no node and no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from ivr_server.flow.yamltext import Step


class Section(BaseModel):
    """A mapping of the file: unknown keys are refused, and nothing is converted silently."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, populate_by_name=False, hide_input_in_errors=True
    )


class Kind(StrEnum):
    """What a name in a flow refers to."""

    NODE = "node"  # a node of the same flow
    FLOW = "flow"
    QUEUE = "queue"  # a queue of the site
    DESTINATION = "destination"  # a destination or an agent of the site
    PROMPT = "prompt"  # a phrase of the catalogue in the flow's language
    VARIABLE = "variable"  # a variable of the same flow, being written


@dataclass(frozen=True)
class Refers:
    """Marks a name of something."""

    kind: Kind


@dataclass(frozen=True)
class Computed:
    """Marks a CEL expression and the types its result may have; none = judged by the node."""

    wants: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mention:
    """One reference or expression found in a section."""

    mark: Refers | Computed
    value: str
    path: tuple[Step, ...]
    is_key: bool = False


_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h)\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST_S = 24 * 3600.0
_NODE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\Z")
_VARIABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_KEYS = re.compile(r"[0-9A-D*#]{1,10}\Z")


def seconds(value: Any) -> float:
    """Seconds of a duration: `5s`, `2m`, `500ms`, `1h`, or a number of seconds.

    >>> seconds("500ms")
    0.5
    """
    if isinstance(value, str) and (match := _DURATION.match(value)):
        value = float(match[1]) * _SECONDS[match[2]]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("expected a duration: 5s, 2m, 500ms or a number of seconds")
    if not 0 <= value <= _LONGEST_S:
        raise ValueError("a duration must be between 0 and 24h")
    return float(value)


def _positive(value: float) -> float:
    if value < 0.1:
        raise ValueError("must be at least 100ms")
    return value


def _name(value: str) -> str:
    if not _NODE_NAME.match(value):
        raise ValueError(
            f"'{value}' is not a name: a Latin letter, then letters, digits, '_' or '-'"
        )
    return value


def _variable_name(value: str) -> str:
    if not _VARIABLE_NAME.match(value):
        raise ValueError(
            f"'{value}' is not a name of a variable: a small Latin letter, then small letters, "
            "digits or '_'"
        )
    return value


def _keys(value: str) -> str:
    if not _KEYS.match(value):
        raise ValueError(f"'{value}' cannot be typed on a phone: use 0-9, *, # and A-D")
    return value


def _key(value: str) -> str:
    if len(_keys(value)) != 1:
        raise ValueError(f"'{value}' is more than one key")
    return value


def _language(value: str) -> str:
    if not re.fullmatch(r"[a-z]{2,3}(-[A-Z]{2})?", value):
        raise ValueError(f"'{value}' is not a language: write ru, uk, ro, zh, fa or en")
    return value


def _formula(value: Any) -> Any:
    """A number or true/false in YAML is a CEL expression too."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _short(value: str) -> str:
    if not value.strip():
        raise ValueError("there is no text here")
    if len(value) > 2000:
        raise ValueError("longer than 2000 characters")
    return value


def _words(value: str) -> str:
    if not any(sign.isalnum() for sign in _short(value)):
        raise ValueError("there are no words here: nothing would be heard")
    return value


def _no_leading_zero(value: str) -> str:
    if re.fullmatch(r"0[0-9]+", value.strip()):
        raise ValueError(
            f"as a number {value.strip()} loses its zeros: write '\"{value.strip()}\"', in quotes "
            "of both kinds"
        )
    return value


_DURATION_SCHEMA = WithJsonSchema(
    {
        "description": "A duration: 5s, 2m, 500ms, 1h or a number of seconds.",
        "anyOf": [
            {"type": "number", "minimum": 0},
            {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*(ms|s|m|h)$"},
        ],
    }
)
Duration = Annotated[float, BeforeValidator(seconds), _DURATION_SCHEMA]
Timeout = Annotated[float, BeforeValidator(seconds), AfterValidator(_positive), _DURATION_SCHEMA]

Name = Annotated[str, AfterValidator(_name)]
NodeName = Annotated[str, AfterValidator(_name), Refers(Kind.NODE)]
FlowName = Annotated[str, AfterValidator(_name), Refers(Kind.FLOW)]
QueueName = Annotated[str, AfterValidator(_name), Refers(Kind.QUEUE)]
DestinationName = Annotated[str, AfterValidator(_name), Refers(Kind.DESTINATION)]
PromptName = Annotated[str, AfterValidator(_name), Refers(Kind.PROMPT)]
NewVariable = Annotated[str, AfterValidator(_variable_name)]
VariableName = Annotated[str, AfterValidator(_variable_name), Refers(Kind.VARIABLE)]
Key = Annotated[str, AfterValidator(_key)]
Keys = Annotated[str, AfterValidator(_keys)]

_Formula = Annotated[
    str, BeforeValidator(_formula, json_schema_input_type=str | int | float | bool),
    AfterValidator(_short),
]  # fmt: skip
Formula = Annotated[_Formula, Computed()]
Condition = Annotated[_Formula, Computed(("bool",))]
Spoken = Annotated[_Formula, AfterValidator(_no_leading_zero), Computed(("int", "string"))]
Words = Annotated[str, AfterValidator(_words)]
Language = Annotated[str, AfterValidator(_language)]
SayKind = Literal["number", "digits", "place", "wait"]


def _phrase(value: Any) -> Any:
    if isinstance(value, str):
        return {"prompt": value}
    if not isinstance(value, dict):
        raise ValueError("expected the name of a prompt, {text: ...} or {say: ..., value: ...}")
    return value


class Phrase(Section):
    """One thing to be heard: a prompt by name, a literal text, or a computed value."""

    prompt: PromptName | None = Field(
        None, description="A phrase of the catalogue.", examples=["welcome"]
    )
    text: Words | None = Field(
        None,
        description="A literal text, rendered to speech when the flow is loaded.",
        examples=["The office is closed today."],
    )
    say: SayKind | None = Field(
        None,
        description="How `value` is spoken: a number, digits one by one, a place in the queue, "
        "or a wait in whole minutes.",
    )
    value: Spoken | None = Field(
        None,
        description="With `say`: a CEL expression, an int or a string of digits.",
        examples=["order", "attempts + 1"],
    )

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return _phrase(value)

    @model_validator(mode="after")
    def _one_of_three(self) -> Phrase:
        kinds = (self.prompt, self.text, self.say)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("a phrase has exactly one of 'prompt', 'text' and 'say'")
        if (self.say is None) != (self.value is None):
            raise ValueError("'say' and 'value' go together: {say: digits, value: order}")
        return self


def _phrases(value: Any) -> Any:
    if value == []:
        raise ValueError("an empty list: nothing would be heard")
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Phrases = Annotated[
    tuple[Phrase, ...],
    BeforeValidator(_phrases, json_schema_input_type=str | Phrase | list[str | Phrase]),
]


def mentions(section: Section, path: tuple[Step, ...] = ()) -> Iterator[Mention]:
    """Every reference and expression in a section and the sections in it."""
    for name, field in type(section).model_fields.items():
        inner = (*path, field.alias or name)
        yield from _mentions(getattr(section, name), field.annotation, field.metadata, inner)


def _mentions(
    value: Any, annotation: Any, marks: Any, path: tuple[Step, ...], is_key: bool = False
) -> Iterator[Mention]:
    if value is None:
        return
    for mark in marks:
        if isinstance(mark, Refers | Computed):
            yield Mention(mark, value, path, is_key)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _mentions(value, arguments[0], arguments[1:], path, is_key)
    elif origin in (Union, UnionType):
        for member in arguments:
            yield from _mentions(value, member, (), path, is_key)
    elif origin is dict:
        for key, item in value.items():
            yield from _mentions(key, arguments[0], (), (*path, key), True)
            yield from _mentions(item, arguments[1], (), (*path, key))
    elif origin in (list, tuple):
        for index, item in enumerate(value):
            yield from _mentions(item, arguments[0], (), (*path, index))
    elif isinstance(value, Section):
        yield from mentions(value, path)
