"""The phrases of prompts/<language>/phrases.yaml, by name, with all mistakes at once.

Knows texts and names; does not know which files exist or how they are made. A name that is not in
here does not exist: nothing a caller or a flow says ever becomes a path in another way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ivr_server.errors import ConfigError, Problem, nearest
from ivr_server.flow.document import parse
from ivr_server.flow.document import read as read_text
from ivr_server.flow.yamltext import Spot
from ivr_server.speech import grammar

PHRASES = "phrases.yaml"
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
# A core sound may live in a subfolder ("digits/1"); each part starts with a letter or digit.
SOUND = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(/[A-Za-z0-9][A-Za-z0-9_-]*)*")
LONGEST_TEXT = 2000
_KEYS = ("text", "sound", "note")


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """One named phrase in one language, and where it is written."""

    name: str
    text: str
    sound: str | None = None  # a core sound of Asterisk that says the same
    note: str = ""  # for whoever records it
    file: str = ""
    line: int = 0
    column: int = 0

    def problem(self, message: str) -> Problem:
        return Problem(file=self.file, line=self.line, column=self.column, message=message)


@dataclass(frozen=True)
class Catalogue:
    """Phrases by language and name."""

    phrases: Mapping[str, Mapping[str, Phrase]]

    @classmethod
    def load(cls, prompts_folder: Path) -> Catalogue:
        """Read every <language>/phrases.yaml. Raises ConfigError with all problems found."""
        problems: list[Problem] = []
        phrases = {
            path.parent.name: _File(path, problems).phrases()
            for path in sorted(prompts_folder.glob(f"*/{PHRASES}"))
        }
        if not phrases:
            text = f"there is no <language>/{PHRASES} in this folder."
            problems.append(Problem(file=str(prompts_folder), line=0, column=0, message=text))
        if problems:
            raise ConfigError(problems)
        return cls(phrases)

    @property
    def languages(self) -> frozenset[str]:
        return frozenset(self.phrases)

    def names(self, language: str) -> set[str]:
        """The names of all phrases of a language; empty for an unknown one."""
        return set(self.phrases.get(language, {}))

    def phrase(self, language: str, name: str) -> Phrase | None:
        return self.phrases.get(language, {}).get(name)


@dataclass
class _File:
    """One phrases.yaml while it is read."""

    path: Path
    problems: list[Problem]
    seen: dict[str, Phrase] = field(default_factory=dict)

    def phrases(self) -> dict[str, Phrase]:
        language = self.path.parent.name
        if language not in grammar.languages():
            hint = nearest(language, grammar.languages())
            self.report_at(0, 0, f"no grammar for language '{language}'; {hint}")
        try:
            read = parse(read_text(self.path), str(self.path))
        except ConfigError as error:
            self.problems += error.problems
            return {}
        self.problems += read.problems
        for name, value in read.root.children.items():
            self.entry(str(name), read.root.keys[name], value)
        return self.seen

    def entry(self, name: str, key: Spot, value: Spot) -> None:
        if not NAME.fullmatch(name):
            self.report(key, f"'{name}' is no phrase name: use a-z, 0-9 and _, a letter first.")
            return
        if not isinstance(value.value, dict):
            self.report(value, f"expected 'text:' below '{name}:'.")
            return
        given: dict[str, str] = {}
        for word, field_value in value.children.items():
            self.field(name, str(word), value.keys[word], field_value, given)
        if "text" not in value.children:
            self.report(key, f"'{name}' has no text.")
        # Also half-right phrases are remembered, so that one mistake is not reported twice.
        self.seen[name] = Phrase(
            name=name,
            text=given.get("text", ""),
            sound=given.get("sound"),
            note=given.get("note", ""),
            file=str(self.path),
            line=key.line,
            column=key.column,
        )

    def field(self, name: str, word: str, key: Spot, value: Spot, given: dict[str, str]) -> None:
        if word not in _KEYS:
            self.report(key, f"'{name}' cannot have '{word}'; {nearest(word, _KEYS)}")
        elif not isinstance(value.value, str):
            self.report(value, f"{word} of '{name}' must be text; put it in quotes.")
        else:
            given[word] = text = " ".join(value.value.split())
            if word == "text" and not any(sign.isalnum() for sign in text):
                self.report(value, f"the text of '{name}' has no words.")
            elif not text.isprintable() or len(text) > LONGEST_TEXT:
                self.report(
                    value,
                    f"{word} of '{name}' must be at most {LONGEST_TEXT} characters "
                    "without control characters.",
                )
            elif word == "sound" and not SOUND.fullmatch(text):
                self.report(value, f"'{text}' is no core sound name, e.g. 'vm-goodbye'.")

    def report(self, spot: Spot, message: str) -> None:
        self.report_at(spot.line, spot.column, message)

    def report_at(self, line: int, column: int, message: str) -> None:
        self.problems.append(
            Problem(file=str(self.path), line=line, column=column, message=message)
        )
