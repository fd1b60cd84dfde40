"""What an utterance sounds like: media URIs for Asterisk, resolved from the catalogue only.

A recorded file wins over a core sound, and that over text-to-speech rendered ahead. Nothing is
rendered during a call, and nothing here raises into one: what cannot be said is left out and
counted in `misses`. Knows no channel and no flow.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ivr_server.errors import Problem, SetupError, nearest
from ivr_server.flow.ports import Prompt, Say, Text, Utterance
from ivr_server.speech.catalogue import Catalogue
from ivr_server.speech.pieces import Piece, alternatives, standard
from ivr_server.speech.sounds import CoreSounds, Recorded
from ivr_server.speech.voice import Progress, Voice, Words

Used = tuple[str, Utterance]  # a language and what is said in it
_SEPARATORS = ",&"  # Asterisk splits lists of sounds at these


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What a build found and made, in pieces of sound."""

    recorded: int
    core: int
    rendered: int  # made by this build
    cached: int  # made by an earlier one
    failed: tuple[str, ...]  # a sentence each
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.recorded} recorded, {self.core} core sounds, {self.cached} rendered before, "
            f"{self.rendered} rendered now, {len(self.failed)} failed in {self.seconds:.1f} s"
        )


@dataclass(frozen=True, kw_only=True)
class ScriptRow:
    """One line of the list for whoever records the prompts."""

    language: str
    file: str  # below the prompts folder
    text: str
    note: str
    source: str  # what callers hear today: 'recorded', 'core', 'rendered' or 'missing'
    used: tuple[str, ...]  # places of the flows; empty for what the system says by itself


@dataclass(frozen=True, kw_only=True)
class Missing:
    """An utterance that cannot be said, and why."""

    language: str
    utterance: Utterance
    message: str


class Speech:
    """The catalogue together with the folders its sounds are in."""

    def __init__(
        self,
        catalogue: Catalogue,
        sounds_folder: Path,
        rendered_folder: Path,
        core_sounds_folder: Path | None = None,
    ) -> None:
        """`sounds_folder` is prompts/. A language is looked up in it and in the core sounds."""
        for folder in filter(None, (sounds_folder, rendered_folder, core_sounds_folder)):
            if any(sign in str(folder.resolve()) for sign in _SEPARATORS):
                raise SetupError(f"Asterisk cannot play from {folder}: rename it without , or &.")
        self.catalogue = catalogue
        self.misses: Counter[tuple[str, str]] = Counter()
        self._recorded = Recorded(sounds_folder)
        self._core = CoreSounds(core_sounds_folder)
        self._voice = Voice(rendered_folder.resolve())
        for language in catalogue.languages:
            self._core.installed(language)  # reads the folder now, not in the first call

    def media(self, language: str, utterances: Iterable[Utterance]) -> list[str]:
        """URIs to play one after another; shorter, down to empty, where something is missing."""
        spoken = self.language(language)
        uris: list[str] = []
        for what in utterances:
            for way in alternatives(self.catalogue, spoken, what):
                stems = [self._stem(spoken, piece) for piece in way]
                if None not in stems:
                    uris += [f"sound:{stem}" for stem in stems]
                    break
            else:
                self.misses[spoken, _label(what)] += 1
        return uris

    def words(self, language: str, utterances: Iterable[Utterance]) -> str:
        """The same as text, for logs, promises and the simulator."""
        spoken = self.language(language)
        ways = (alternatives(self.catalogue, spoken, what) for what in utterances)
        return " ".join(", ".join(piece.text for piece in way[0]) for way in ways if way)

    def language(self, wanted: str) -> str:
        """The nearest language that exists: 'ru-RU' is 'ru', an unknown one is the first."""
        known = self.catalogue.languages
        short = wanted.replace("_", "-").partition("-")[0].lower()
        return wanted if wanted in known else short if short in known else min(known)

    def build(self, used: Iterable[Used], progress: Progress | None = None) -> BuildReport:
        """Render all that has no sound yet: phrases, standard values, and what flows say.

        Blocks for seconds when much is new. Raises SetupError if espeak-ng is needed and absent;
        what cannot be said at all is a sentence in `failed`.
        """
        began = time.monotonic()
        used = list(used)
        sources: Counter[str] = Counter()
        unsaid: dict[Words, None] = {}
        for language, piece in dict.fromkeys(self._needed(used)):
            source = self._source(language, piece)
            sources[source] += 1
            if source == "missing":
                unsaid[Words(language, piece.text)] = None
        failed = self._voice.render(list(unsaid), progress)
        failed += [absent.message for absent in self.missing(used)]
        return BuildReport(
            recorded=sources["recorded"],
            core=sources["core"],
            cached=sources["rendered"],
            rendered=sum(self._voice.file(words).exists() for words in unsaid),
            failed=tuple(failed),
            seconds=time.monotonic() - began,
        )

    def missing(self, used: Iterable[Used], *, on_disk: bool = False) -> list[Missing]:
        """What can never be said; with `on_disk` also what has no sound file yet."""
        return [
            Missing(language=language, utterance=what, message=message)
            for language, what in used
            if (message := self._fault(language, what, on_disk=on_disk))
        ]

    def problems(self) -> list[Problem]:
        """Core sounds that are not installed, and recorded files that cannot be played."""
        found = []
        for language, phrases in self.catalogue.phrases.items():
            for phrase in phrases.values():
                faults = [self._recorded.fault(language, phrase.name)]
                absent = phrase.sound and not self._core.stem(language, phrase.sound)
                if absent and self._core.installed(language):
                    faults.append(f"Asterisk has no core sound '{phrase.sound}' in '{language}'.")
                found += [phrase.problem(fault) for fault in faults if fault]
        return found + self._faulty_files()

    def _faulty_files(self) -> list[Problem]:
        """Recorded files of what has no name in the catalogue: digits, places, waits, texts."""
        found = []
        for language, phrases in self.catalogue.phrases.items():
            for file in self._recorded.files(language):
                fault = None if file.stem in phrases else self._recorded.fault(language, file.stem)
                if fault:
                    found.append(Problem(file=str(file), line=0, column=0, message=fault))
        return found

    def unspoken(self) -> list[str]:
        """What the system says by itself (digits, places, waits) and has no sound on disk yet."""
        return [
            f"'{piece.text}' has no sound in '{language}': run `ivr-server prompts build`."
            for language, piece in dict.fromkeys(self._needed(()))
            if self._source(language, piece) == "missing"
        ]

    def script(self, used: Iterable[tuple[str, Utterance, str]] = ()) -> list[ScriptRow]:
        """All that could be recorded. `used`: language, utterance, place it is used at."""
        places: dict[tuple[str, Piece], list[str]] = {}
        for language, piece in self._needed(()):
            places.setdefault((language, piece), [])
        for language, what, place in used:
            for way in alternatives(self.catalogue, language, what)[:1]:
                for piece in way:
                    places.setdefault((language, piece), []).append(place)
        return [
            ScriptRow(
                language=language,
                file=f"{language}/{piece.stem}.wav",
                text=piece.text,
                note=self._note(language, piece),
                source=self._source(language, piece),
                used=tuple(dict.fromkeys(where)),
            )
            for (language, piece), where in places.items()
        ]

    def _needed(self, used: Iterable[Used]) -> Iterator[tuple[str, Piece]]:
        for language in sorted(self.catalogue.languages):
            for name in sorted(self.catalogue.names(language)):
                for way in alternatives(self.catalogue, language, Prompt(name)):
                    yield from ((language, piece) for piece in way)
            yield from ((language, piece) for piece in standard(language))
        for language, what in used:
            for way in alternatives(self.catalogue, language, what):
                yield from ((language, piece) for piece in way)

    def _fault(self, language: str, what: Utterance, *, on_disk: bool) -> str:
        if language not in self.catalogue.languages:
            hint = nearest(language, self.catalogue.languages)
            return f"there are no prompts in language '{language}'; {hint}"
        ways = alternatives(self.catalogue, language, what)
        if not ways:
            return self._unknown(language, what)
        if on_disk and not any(self._complete(language, way) for way in ways):
            return f"{_label(what)} has no sound in '{language}': run `ivr-server prompts build`."
        return ""

    def _unknown(self, language: str, what: Utterance) -> str:
        match what:
            case Prompt(name):
                hint = nearest(name, self.catalogue.names(language))
                return f"there is no prompt '{name}' in '{language}'; {hint}"
            case Text(text):
                return f"the text '{text[:40]}' is empty or too long to be spoken."
            case Say(kind, value):
                return f"'{value[:40]}' cannot be spoken as '{kind}' in '{language}'."

    def _note(self, language: str, piece: Piece) -> str:
        phrase = self.catalogue.phrase(language, piece.stem)
        return phrase.note if phrase else ""

    def _complete(self, language: str, way: Sequence[Piece]) -> bool:
        return all(self._stem(language, piece) is not None for piece in way)

    def _stem(self, language: str, piece: Piece) -> Path | None:
        return self._found(language, piece)[1]

    def _source(self, language: str, piece: Piece) -> str:
        return self._found(language, piece)[0]

    def _found(self, language: str, piece: Piece) -> tuple[str, Path | None]:
        if recorded := self._recorded.file(language, piece.stem):
            return "recorded", recorded.with_suffix("")
        if piece.sound and (core := self._core.stem(language, piece.sound)):
            return "core", core
        rendered = self._voice.file(Words(language, piece.text))
        return ("rendered", rendered.with_suffix("")) if rendered.exists() else ("missing", None)


def _label(what: Utterance) -> str:
    """Bounded by what engineers write: values come from callers and would grow for ever."""
    match what:
        case Prompt(name):
            return f"prompt '{name[:64]}'"
        case Text(text):
            return f"text '{text[:64]}'"
        case Say(kind, _):
            return f"say {kind[:16]}"
