"""YAML text to data and places: every mistake has a place, and nothing is converted silently."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from ivr_server.errors import ConfigError
from ivr_server.flow import document
from ivr_server.flow.fields import Duration, Section
from ivr_server.flow.yamltext import scalar


class Sip(Section):
    type: Literal["sip"]
    host: str
    sip: str = ""


class Fax(Section):
    type: Literal["fax"]
    number: str


class Queue(Section):
    agents: list[str] = Field(default_factory=list)
    weight: int = Field(1, ge=1)
    open: bool = True
    ring: Duration = 5.0


class Site(Section):
    name: str
    trunks: list[Annotated[Sip | Fax, Field(discriminator="type")]] = Field(default_factory=list)
    queues: dict[str, Queue] = Field(default_factory=dict)
    limit: int | str = 0


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        document.load(text, "site.yaml", Site)
    return [f"{one.line}:{one.column}: {one.message}" for one in caught.value.problems]


def test_a_good_file() -> None:
    site = document.load("name: a\nqueues:\n  sales: {ring: 2m, open: false}\n", "f", Site)
    assert site.queues["sales"].ring == 120.0
    assert not site.queues["sales"].open


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["1:1: expected 'name: value' lines, found nothing"]),
        ("- a", ["1:1: expected 'name: value' lines, found a list"]),
        ("name: a\nname: b", ["2:1: 'name' is written twice; the first one is in line 1"]),
        ("name: a\n\tqueues: {}", ["2:1: this is not YAML: found character '\\t' that cannot start "
                                   "any token: indent with spaces"]),
        ("name: *x", ["1:7: '*x' stands for nothing: there is no '&x' above"]),
        ("name: &x [*x]", ["1:11: '*x' stands inside itself"]),
        ("name: !!python/object:os.system x",
         ["1:7: tags such as 'tag:yaml.org,2002:python/object:os.system' are not used here"]),
        ("name: a\n---\nname: b", ["2:1: one file holds one document"]),
        ("name: a\x00", ["1:8: the character U+0000 is not allowed in YAML"]),
        ('name: "a\\0"', ["1:7: the character U+0000 is not allowed in a text"]),
        ('name: "\\U99999999"', ["1:1: this is not YAML: Python int too large to convert to C "
                                 "int"]),
        ("name: [" * 40, ["1:113: nested deeper than 32 levels"]),
        ("name: a\n1: b", ['2:1: keys are texts: write "1" in quotes',
                           "2:1: unknown key '1': valid: limit, name, queues, trunks"]),
        ("name: a\n[b]: c", ["2:1: a key is a text, not a list or a mapping"]),
        ("name: a\nqueues: {<<: {}}", ["2:10: merge keys ('<<') are not supported: "
                                        "write the values out"]),
        ("name: 88001234567", ['1:7: expected a text, found the number 88001234567: '
                               'write "88001234567" in quotes']),
        ("name: true", ['1:7: expected a text, found true: write "true" in quotes']),
        ("name:", ["1:6: expected a text, found nothing"]),
        ("nme: a", ["1:1: 'name' is missing", "1:1: unknown key 'nme': did you mean 'name'?"]),
        ("name: a\nqueues:\n  sales:\n    wieght: 2",
         ["4:5: unknown key 'wieght': did you mean 'weight'?"]),
        ("name: a\nqueues: {s: {weight: 0}}",
         ["2:22: the number 0 must be greater than or equal to 1"]),
        ("name: a\nqueues: {s: {weight: '2'}}",
         ["2:22: expected a whole number, found the text '2': write it without quotes"]),
        ("name: a\nqueues: {s: {open: yes}}",
         ["2:20: expected true or false, found the text 'yes': write true or false"]),
        ("name: a\nqueues: {s: {ring: soon}}",
         ["2:20: expected a duration: 5s, 2m, 500ms or a number of seconds"]),
        ("name: a\nqueues: {s: {agents: [anna, 5]}}",
         ['2:29: expected a text, found the number 5: write "5" in quotes']),
        ("name: a\nqueues: [s]", ["2:9: expected 'name: value' lines, found a list"]),
        ("name: a\nlimit: []", ["2:8: expected a whole number, found a list; or expected a text, "
                                 "found a list"]),
        ("name: a\ntrunks:\n  - type: sip\n    hst: x",
         ["3:5: 'host' is missing", "4:5: unknown key 'hst': did you mean 'host'?"]),
        ("name: a\ntrunks:\n  - {type: sip, host: x, sip: 5}",
         ['3:31: expected a text, found the number 5: write "5" in quotes']),
        ("name: a\ntrunks: [{type: sipp}]", ["2:17: unknown type 'sipp': did you mean 'sip'?"]),
        ("name: a\ntrunks: [{host: x}]", ["2:10: 'type' is missing"]),
        ("name: &n {}\nqueues: *n\nlimit: *n",
         ["1:7: expected a text, found 'name: value' lines",
          "1:7: expected a whole number, found 'name: value' lines; or expected a text, found "
          "'name: value' lines"]),
    ],
)  # fmt: skip
def test_problems(text: str, expected: list[str]) -> None:
    found = problems(text)
    if expected[0].startswith("1:7: expected a text, found 'name"):
        expected, found = sorted(expected), sorted(found)
    assert found == expected


def test_an_anchor_bomb_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "more than 100000 values" in problems("\n".join(lines))[0]


def test_an_unhashable_size_is_refused() -> None:
    assert problems("a" * (1 << 21)) == ["0:0: larger than 1 MiB: is this the right file?"]


def test_a_byte_order_mark_moves_nothing() -> None:
    assert problems("\ufeffnme: a")[0].startswith("1:1: ")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"name: a\nqueues: \xff\xfe", "2:9: this is not UTF-8: save the file in the UTF-8"),
        ("имя: ".encode() + b"\xc0", "1:6: this is not UTF-8"),
        (b"x" * (1 << 20) + b"x", "0:0: larger than 1 MiB"),
    ],
)
def test_reading_bytes(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        document.read(path)
    assert f"{path}:{message}" in str(caught.value)


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        document.read(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("", None), ("~", None), ("null", None), ("true", True), ("False", False),
        ("yes", "yes"), ("on", "on"), ("0123", "0123"), ("-5", -5), ("0x1F", 31), ("0o17", 15),
        ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("1:30", "1:30"), ("2026-01-01", "2026-01-01"),
        (".inf", ".inf"), (".nan", ".nan"), ("1e999", "1e999"), ("9" * 30, "9" * 30), (".", "."),
        ("5s", "5s"), ("1_000", "1_000"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(raw: str, value: object) -> None:
    assert scalar(raw) == value
    assert type(scalar(raw)) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "column", "place"),
    [
        ("a: n > m", 1, 5, "1:8"),
        ("a: 'n > m'", 1, 5, "1:9"),
        ("a: \"n == 'm'\"", 1, 6, "1:10"),
        ("a: 'n == ''m'' + o'", 1, 12, "1:18"),
        ('a: "n == \\"m\\" + o"', 1, 12, "1:18"),
        ("a: |\n  n > 1 &&\n  m > 2\n", 2, 1, "3:3"),
        ("a: >-\n    n > 1\n    && m\n", 1, 10, "3:8"),
        ("a: n > 1\n   && m", 1, 10, "2:7"),
        ("a:\n  n\n  +\n  m", 1, 5, "4:3"),
        ("a: 'привет' # ж\nb: n", 1, 1, "1:5"),
        ("a: n +", 1, 4, "1:7"),
        ("a: &x n > m", 1, 5, "1:11"),
    ],
)
def test_places_inside_texts(text: str, line: int, column: int, place: str) -> None:
    problem = document.parse(text, "f").inside(("a",), line, column, "here")
    assert f"{problem.line}:{problem.column}" == place
