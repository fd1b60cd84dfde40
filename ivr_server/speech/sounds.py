"""Which sound files people have made: recorded prompts of ours, and Asterisk's core sounds.

Knows folders and formats; does not know phrases, nor anything rendered. Looks a file's header up
once and again when the file changes.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ivr_server.audio.wav import UnreadableAudio, open_wav

_CORE_FORMATS = frozenset({".wav", ".gsm", ".ulaw", ".alaw", ".g722", ".sln", ".sln16", ".wav16"})
_TELEPHONE = (8000, 1)  # the only WAV that Asterisk's 'wav' format plays


class Recorded:
    """prompts/<language>/<stem>.wav."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def file(self, language: str, stem: str) -> Path | None:
        """The file, if it is there and Asterisk can play it."""
        path = self.path(language, stem)
        return path if self._state(path) == "" else None

    def fault(self, language: str, stem: str) -> str:
        """Why a file that is there cannot be used; empty when it can, or is not there."""
        return self._state(self.path(language, stem)) or ""

    def files(self, language: str) -> list[Path]:
        """Every recorded file of a language, playable or not."""
        return sorted((self.folder / language).glob("*.wav"))

    def path(self, language: str, stem: str) -> Path:
        return self.folder / language / f"{stem}.wav"

    @staticmethod
    def _state(path: Path) -> str | None:
        try:
            status = path.stat()
        except OSError:
            return None
        return _fault(path, status.st_mtime_ns, status.st_size)


@cache
def _fault(path: Path, _changed_ns: int, _size: int) -> str:
    try:
        wav = open_wav(path)
    except UnreadableAudio as error:
        return str(error)
    if (wav.rate, wav.channels) != _TELEPHONE:
        return (
            f"{path} is {wav.rate} Hz with {wav.channels} channel(s), Asterisk needs 8000 Hz mono: "
            f"ffmpeg -i {path.name} -ar 8000 -ac 1 -c:a pcm_s16le OUT.wav"
        )
    return "" if wav.frames else f"{path} is empty."


class CoreSounds:
    """Asterisk's own sounds: <folder>/<language> or <folder>/<language>_<voice>."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder.resolve() if folder is not None else None
        self._known: dict[str, dict[str, Path]] = {}

    def stem(self, language: str, sound: str) -> Path | None:
        """The absolute path without extension, if the sound is installed."""
        return self._sounds(language).get(sound)

    def installed(self, language: str) -> bool:
        return bool(self._sounds(language))

    def _sounds(self, language: str) -> dict[str, Path]:
        # Listed once: media() runs on the event loop and must not walk folders.
        if language not in self._known:
            self._known[language] = self._listed(language)
        return self._known[language]

    def _listed(self, language: str) -> dict[str, Path]:
        if self._folder is None:
            return {}
        for folder in (self._folder / language, *sorted(self._folder.glob(f"{language}_*"))):
            found = {
                path.relative_to(folder).with_suffix("").as_posix(): path.with_suffix("")
                for path in folder.rglob("*")
                if path.suffix in _CORE_FORMATS
            }
            if found:
                return found
        return {}
