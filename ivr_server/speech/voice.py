"""Text-to-speech ahead of the call: a cache of telephone-ready files, filled by espeak-ng.

Knows texts and files; does not know phrases, flows or which texts are needed. Blocks: the service
renders in a thread, before flows are switched over.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import ivr_server
from ivr_server.audio.clip import SILENCE_DBFS, Clip
from ivr_server.audio.level import levelled, trimmed
from ivr_server.audio.resample import resampled
from ivr_server.audio.wav import UnreadableAudio
from ivr_server.errors import SetupError
from ivr_server.speech.grammar import grammar

RATE = 8000
PACKAGE = "espeakng-loader"
_RECIPE = "1"  # raise it when levelling or filtering changes: everything is rendered anew
_ANSWER_TIMEOUT_S = 30.0
_ENGINE_FILE = "ENGINE"

Progress = Callable[[int, int, str], None]  # done, total, text


@dataclass(frozen=True)
class Words:
    """A text to be spoken in a language."""

    language: str
    text: str


class Voice:
    """The rendered files under one folder: <folder>/<language>/<hash>.wav."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._engine = _installed() or self._last_engine()

    def file(self, words: Words) -> Path:
        """Where this text's sound is, or would be."""
        rules = grammar(words.language)
        parts = (self._engine, _RECIPE, rules.VOICE, str(rules.RATE), words.text)
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        return self.folder / words.language / f"{digest}.wav"

    def render(self, wanted: Sequence[Words], progress: Progress | None = None) -> list[str]:
        """Make the files that are not there yet; returns a sentence per text that failed.

        Starts a process only if something is missing. Raises SetupError without espeak-ng.
        """
        absent = [words for words in dict.fromkeys(wanted) if not self.file(words).exists()]
        if not absent:
            return []
        if not _installed():
            raise SetupError(
                f"{len(absent)} texts have no sound and text-to-speech is not installed: "
                f"run `pip install {PACKAGE}`, or record them (see prompts/README.md)."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / _ENGINE_FILE).write_text(self._engine, encoding="utf-8")
        failures: list[str] = []
        with (
            tempfile.TemporaryDirectory(dir=self.folder, prefix=".raw-") as raw,
            _Engine.started() as engine,
        ):
            waiting = [(words, Path(raw) / f"{n}.wav") for n, words in enumerate(absent)]
            for done, (words, path, error) in enumerate(engine.speak(waiting), start=1):
                error = error or self._finish(words, path)
                if error:
                    failures.append(f"'{words.text[:60]}' ({words.language}): {error}")
                if progress:
                    progress(done, len(absent), words.text)
        return failures

    def _finish(self, words: Words, raw: Path) -> str:
        try:
            clip = levelled(trimmed(resampled(Clip.read(raw), RATE)))
        except UnreadableAudio as unreadable:
            return str(unreadable)
        finally:
            raw.unlink(missing_ok=True)
        if clip.rms_dbfs <= SILENCE_DBFS:
            return "espeak-ng finds nothing to say in it."
        clip.write(self.file(words))
        return ""

    def _last_engine(self) -> str:
        """A host without espeak-ng still finds what was rendered elsewhere and copied here."""
        try:
            return (self.folder / _ENGINE_FILE).read_text(encoding="utf-8").strip()
        except OSError:
            return "none"


def _installed() -> str:
    """The engine and its version; empty when it is not installed."""
    if importlib.util.find_spec(PACKAGE.replace("-", "_")) is None:
        return ""
    return f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"


@dataclass(frozen=True)
class _Engine:
    """The running worker process; it renders the next text while the last one is finished."""

    process: subprocess.Popen[str]
    complaints: IO[bytes]

    @classmethod
    @contextlib.contextmanager
    def started(cls) -> Iterator[_Engine]:
        home = str(Path(ivr_server.__file__).resolve().parent.parent)
        paths = filter(None, (home, os.environ.get("PYTHONPATH", "")))
        with (
            tempfile.TemporaryFile() as complaints,
            subprocess.Popen(
                [sys.executable, "-m", "ivr_server.speech.espeak_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                encoding="utf-8",
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            ) as process,
        ):
            try:
                yield cls(process, complaints)
            finally:
                # It holds nothing worth a farewell, and it must be gone on every way out.
                process.kill()
                # Unsent jobs would raise here and hide the reason.
                with contextlib.suppress(BrokenPipeError):
                    if process.stdin:
                        process.stdin.close()

    def speak(self, jobs: Sequence[tuple[Words, Path]]) -> Iterator[tuple[Words, Path, str]]:
        """Each job again, in order, with its error or ""."""
        for job in jobs[:1]:
            self._send(*job)
        for at, (words, path) in enumerate(jobs):
            for following in jobs[at + 1 : at + 2]:
                self._send(*following)
            yield words, path, self._answer()

    def _send(self, words: Words, path: Path) -> None:
        rules = grammar(words.language)
        job = {
            "lang": words.language,
            "voice": rules.VOICE,
            "rate": rules.RATE,
            "text": words.text,
            "path": str(path),
        }
        # A process that has ended is reported by the missing answer, with its own words.
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(job), file=self.process.stdin, flush=True)

    def _answer(self) -> str:
        assert self.process.stdout is not None
        # A stuck engine must not hold up a reload for ever.
        alarm = threading.Timer(_ANSWER_TIMEOUT_S, self.process.kill)
        alarm.start()
        try:
            line = self.process.stdout.readline()
        finally:
            alarm.cancel()
        if line:
            return str(json.loads(line)["error"])
        self.complaints.seek(0)
        said = self.complaints.read()[-2000:].decode(errors="replace").strip().splitlines()
        raise SetupError(
            f"The espeak-ng process ended ({said[-1] if said else 'no reason given'}): "
            f"run `pip install --force-reinstall {PACKAGE}`."
        )
