"""phrases.yaml: what is read from it, and every mistake with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr_server.errors import ConfigError
from ivr_server.speech.catalogue import Catalogue

from .conftest import PROMPTS

NAMES = {
    "welcome",
    "main_menu",
    "ask_order",
    "order_number_is",
    "order_status_ready",
    "no_input",
    "invalid_key",
    "agents_busy",
    "goodbye",
    "too_many_errors",
    "queue_welcome",
    "thanks_for_holding",
    "exit_hint",
    "apology",
    "connecting",
    "recording_notice",
}


def faults(tmp_path: Path, text: str | bytes, language: str = "en") -> list[str]:
    folder = tmp_path / language
    folder.mkdir()
    content = text if isinstance(text, bytes) else text.encode()
    (folder / "phrases.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Catalogue.load(tmp_path)
    assert all(p.file == str(folder / "phrases.yaml") for p in caught.value.problems)
    return [f"{p.line}:{p.column}: {p.message}" for p in caught.value.problems]


@pytest.mark.parametrize("language", ["ru", "en"])
def test_the_shipped_prompts(language: str) -> None:
    catalogue = Catalogue.load(PROMPTS)
    assert catalogue.names(language) >= NAMES
    assert catalogue.names("ru") == catalogue.names("en")
    assert catalogue.names("../en") == set()


def test_a_phrase_knows_its_place(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "phrases.yaml").write_text(
        "# comment\nbye:\n  text: >\n    Good\n    bye!\n  sound: vm/good-bye\n  note: warm\n"
    )
    phrase = Catalogue.load(tmp_path).phrase("en", "bye")
    assert phrase is not None
    assert (phrase.text, phrase.sound, phrase.note) == ("Good bye!", "vm/good-bye", "warm")
    assert (phrase.line, phrase.column) == (2, 1)


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """\
good: {text: Good.}
Bad-Name: {text: x}
../../etc/passwd: {text: x}
plain: just text
number:
  text: 5
no_text:
  note: x
typo:
  txet: Hello
  text: Hello
empty: {text: '...'}
good: {text: Again.}
outside: {text: Hi, sound: ../../etc/passwd}
absolute: {text: Hi, sound: /etc/passwd}
twice:
  text: a
  text: b
control: {text: "a\\u0007b"}
""",
    )
    assert found == [
        "2:1: 'Bad-Name' is no phrase name: use a-z, 0-9 and _, a letter first.",
        "3:1: '../../etc/passwd' is no phrase name: use a-z, 0-9 and _, a letter first.",
        "4:8: expected 'text:' below 'plain:'.",
        "6:9: text of 'number' must be text; put it in quotes.",
        "7:1: 'no_text' has no text.",
        "10:3: 'typo' cannot have 'txet'; did you mean 'text'?",
        "12:15: the text of 'empty' has no words.",
        "13:1: 'good' is written twice; the first one is in line 1",
        "14:28: '../../etc/passwd' is no core sound name, e.g. 'vm-goodbye'.",
        "15:29: '/etc/passwd' is no core sound name, e.g. 'vm-goodbye'.",
        "18:3: 'text' is written twice; the first one is in line 17",
        "19:17: the character U+0007 is not allowed in a text",
    ]


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a: [1", "1:6: this is not YAML"),
        ("a:\n\ttext: x", "2:1: this is not YAML"),
        ("a: {text: x}\n---\nb: {text: y}", "2:1: one file holds one document"),
        ("- a", "1:1: expected 'name: value' lines, found a list"),
        ("", "1:1: expected 'name: value' lines, found nothing"),
        (b"a: \xff\xfe", "1:4: this is not UTF-8"),
        ("&a : *a", "1:"),
    ],
)
def test_files_that_are_no_phrases(tmp_path: Path, text: str | bytes, start: str) -> None:
    assert faults(tmp_path, text)[0].startswith(start)


def test_a_folder_without_a_grammar(tmp_path: Path) -> None:
    assert faults(tmp_path, "a: {text: x}", "xx") == [
        "0:0: no grammar for language 'xx'; valid: en, ru"
    ]


def test_mistakes_of_all_languages_come_together(tmp_path: Path) -> None:
    for language in ("en", "ru"):
        (tmp_path / language).mkdir()
        (tmp_path / language / "phrases.yaml").write_text("a: 1")
    with pytest.raises(ConfigError) as caught:
        Catalogue.load(tmp_path)
    assert len(caught.value.problems) == 2


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"phrases\.yaml"):
        Catalogue.load(tmp_path)


@given(st.text(max_size=60) | st.text(alphabet="a:{}[]&*!|>-\n \"'#%@,?", max_size=60))
def test_no_text_makes_the_reader_fall_over(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "en").mkdir()
    (folder / "en" / "phrases.yaml").write_bytes(text.encode(errors="replace"))
    try:
        Catalogue.load(folder)
    except ConfigError as error:
        assert error.problems  # noqa: PT017 - loading it without a problem is as good
